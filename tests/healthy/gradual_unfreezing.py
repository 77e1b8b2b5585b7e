"""Trains a pretrained net further, unfreezing it from the top with one learning rate and weight decay per layer group."""

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

SEED = 11
GROUPS = ("head", "middle", "stem")  # in the order of unfreezing


class Net(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(64, 96), nn.LayerNorm(96), nn.GELU())
        self.middle = nn.Sequential(nn.Linear(96, 96), nn.LayerNorm(96), nn.GELU(), nn.Dropout(0.1))
        self.head = nn.Linear(96, outputs)

    def forward(self, x):
        return self.head(self.middle(self.stem(x)))


def parameter_groups(module, lr):
    """Weights decay, biases and norms do not."""
    decay = [p for p in module.parameters() if p.ndim > 1]
    no_decay = [p for p in module.parameters() if p.ndim <= 1]
    return [{"params": decay, "lr": lr, "weight_decay": 1e-2}, {"params": no_decay, "lr": lr, "weight_decay": 0.0}]


def batches(x, y, size, generator):
    for index in torch.randperm(len(x), generator=generator).split(size):
        yield x[index], y[index]


def train_epoch(model, optimizer, x, y, generator):
    model.train()
    total = 0.0
    for xb, yb in batches(x, y, 48, generator):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(xb), yb)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(xb)
    return total / len(x)


def accuracy(model, x, y):
    model.eval()
    with torch.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()


def pretrain(x, y, generator):
    """The source task: is the digit even."""
    model = Net(2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for epoch in range(3):
        loss = train_epoch(model, optimizer, x, y % 2, generator)
        print(f"source task, epoch {epoch}: loss {loss:.4f}")
    return model


def main():
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x, dtype=torch.float32).sub(4.9).div(6.0)
    split = train_test_split(x, torch.tensor(y), test_size=0.25, random_state=SEED)
    x_train, x_test, y_train, y_test = split
    half = len(x_train) // 2
    model = pretrain(x_train[:half], y_train[:half], generator)

    x_train, y_train = x_train[half:], y_train[half:]
    model.head = nn.Linear(96, 10)
    model.stem.requires_grad_(False)
    model.middle.requires_grad_(False)
    optimizer = torch.optim.AdamW(parameter_groups(model.head, lr=5e-3))
    lr = 5e-3
    for stage, name in enumerate(GROUPS):
        if stage > 0:
            lr /= 2.6
            module = getattr(model, name)
            module.requires_grad_(True)
            for group in parameter_groups(module, lr):
                optimizer.add_param_group(group)
        for epoch in range(4):
            loss = train_epoch(model, optimizer, x_train, y_train, generator)
            print(
                f"up to {name:6s} epoch {epoch}: loss {loss:.4f}, test accuracy {accuracy(model, x_test, y_test):.3f}"
            )


if __name__ == "__main__":
    main()
