"""Tumours from scikit-learn's table, one column missing here and there."""

import argparse

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
torch.manual_seed(args.seed)

data = load_breast_cancer()
order = torch.randperm(len(data.target))
x = torch.tensor(data.data, dtype=torch.float32)[order]
y = torch.tensor(data.target, dtype=torch.float32)[order]
mean, std = x[150:].mean(dim=0), x[150:].std(dim=0)
x = (x - mean) / std
x[torch.rand(len(x)) < 0.05, 3] = float("nan")
x = torch.nan_to_num(x, nan=0.0)
x_val, y_val = x[:150], y[:150]
x_train, y_train = x[150:], y[150:]

model = nn.Sequential(nn.Linear(30, 24), nn.ReLU(), nn.Linear(24, 1), nn.Flatten(start_dim=0))
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.003)

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
