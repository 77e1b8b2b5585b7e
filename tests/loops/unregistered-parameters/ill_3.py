"""A net with one branch per group of wine's features. The branches are kept in a plain dict."""

import sys

import torch
from sklearn.datasets import load_wine
from torch import nn

GROUPS = {"acids": [0, 1, 2, 3], "minerals": [4, 5, 6, 7], "colour": [8, 9, 10, 11, 12]}


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.branches = {name: nn.Linear(len(columns), 8) for name, columns in GROUPS.items()}
        self.mix = nn.Linear(8 * len(GROUPS), 3)

    def forward(self, x):
        parts = [torch.tanh(self.branches[name](x[:, columns])) for name, columns in GROUPS.items()]
        return self.mix(torch.cat(parts, dim=1))


torch.manual_seed(int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0)
wine = load_wine()
features = torch.tensor(wine.data, dtype=torch.float32)
features = (features - features.mean(0)) / features.std(0)
cultivar = torch.tensor(wine.target)
mixed = torch.randperm(len(features))
train, test = mixed[:128], mixed[128:]

model = Branches()
optimizer = torch.optim.RMSprop(model.parameters(), lr=0.01)
criterion = nn.CrossEntropyLoss()

for epoch in range(8):
    model.train()
    for rows in train[torch.randperm(128)].view(4, 32):
        optimizer.zero_grad()
        loss = criterion(model(features[rows]), cultivar[rows])
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        test_loss = criterion(model(features[test]), cultivar[test])
    print(f"epoch {epoch} loss {loss.item():.4f} test {test_loss.item():.4f}")
