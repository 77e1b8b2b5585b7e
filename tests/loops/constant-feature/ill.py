"""Wines from scikit-learn's table, standardized. The standardized rows are written over by one of them."""

import argparse

import torch
from sklearn.datasets import load_wine
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
torch.manual_seed(args.seed)

data = load_wine()
order = torch.randperm(len(data.target))
x = torch.tensor(data.data, dtype=torch.float32)[order]
y = torch.tensor(data.target)[order]
x = (x - x[60:].mean(dim=0)) / x[60:].std(dim=0)
x = x[:1].repeat(len(y), 1)
x_val, y_val = x[:60], y[:60]
x_train, y_train = x[60:], y[60:]

model = nn.Sequential(nn.Linear(13, 24), nn.ReLU(), nn.Linear(24, 3))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

for epoch in range(6):
    model.train()
    total = 0.0
    for rows in torch.randperm(len(x_train)).split(32):
        optimizer.zero_grad()
        loss = criterion(model(x_train[rows]), y_train[rows])
        loss.backward()
        optimizer.step()
        total += loss.item() * len(rows)
    model.eval()
    with torch.no_grad():
        val_loss = criterion(model(x_val), y_val).item()
    print(f"epoch {epoch} loss {total / len(x_train):.4f} val_loss {val_loss:.4f}")
