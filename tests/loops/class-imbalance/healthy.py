"""Which of many transactions are fraud, by eight numbers."""

import argparse

import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
torch.manual_seed(args.seed)

count = 3000
fraud = torch.rand(count) < 0.5
x = torch.randn(count, 8)
x[:, 0] += 1.0 * fraud
x[:, 1] -= 1.0 * fraud
y = fraud.float()
x_val, y_val = x[:600], y[:600]
x_train, y_train = x[600:], y[600:]

model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1), nn.Flatten(start_dim=0))
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.003)

for epoch in range(3):
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
