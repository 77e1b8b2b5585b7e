"""Trains a net with two heads, class and position, whose losses are weighed by learned uncertainties."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def make_data(n, generator):
    """Noisy bumps on a line: their width is a class, their place a number."""
    grid = torch.linspace(-1, 1, 40)
    position = torch.rand(n, 1, generator=generator) * 1.2 - 0.6
    kind = torch.randint(0, 3, (n,), generator=generator)
    width = torch.tensor([0.08, 0.16, 0.32])[kind].unsqueeze(1)
    signal = torch.exp(-(((grid - position) / width) ** 2))
    signal = signal + 0.15 * torch.randn(n, 40, generator=generator)
    return signal.unsqueeze(1), kind, (position / 0.35).float()


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv1d(1, 12, 5, stride=2, padding=2),
            nn.BatchNorm1d(12),
            nn.ReLU(),
            nn.Conv1d(12, 16, 5, stride=2, padding=2),
            nn.BatchNorm1d(16),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.classifier = nn.Linear(160, 3)
        self.regressor = nn.Sequential(nn.Linear(160, 24), nn.ReLU(), nn.Linear(24, 1))
        self.log_vars = nn.Parameter(torch.zeros(2))

    def forward(self, x):
        h = self.trunk(x)
        return {"kind": self.classifier(h), "position": self.regressor(h)}


def make_train_step(model, optimizer):
    ce, mse = nn.CrossEntropyLoss(), nn.MSELoss()

    def losses_of(x, kind, position):
        out = model(x)
        return torch.stack([ce(out["kind"], kind), mse(out["position"], position)])

    def train_step(x, kind, position):
        model.train()
        losses = losses_of(x, kind, position)
        loss = (torch.exp(-model.log_vars) * losses + 0.5 * model.log_vars).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return losses.detach()

    def val_step(x, kind, position):
        model.eval()
        with torch.no_grad():
            return losses_of(x, kind, position)

    return train_step, val_step


torch.manual_seed(0)
g = torch.Generator().manual_seed(0)
train_loader = DataLoader(TensorDataset(*make_data(960, g)), batch_size=48, shuffle=True)
val_loader = DataLoader(TensorDataset(*make_data(240, g)), batch_size=120)
model = TwoHeads()
optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
train_step, val_step = make_train_step(model, optimizer)

for epoch in range(8):
    train_losses = torch.stack([train_step(*batch) for batch in train_loader]).mean(0)
    val_losses = torch.stack([val_step(*batch) for batch in val_loader]).mean(0)
    sigma = torch.exp(0.5 * model.log_vars.detach())
    print(
        f"epoch {epoch}: class {train_losses[0]:.4f} (val {val_losses[0]:.4f}), "
        f"position {train_losses[1]:.4f} (val {val_losses[1]:.4f}), sigma {sigma[0]:.2f} {sigma[1]:.2f}"
    )
