"""Who pays a loan back, by six numbers known before. One column is made from the answer."""

import argparse

import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
torch.manual_seed(args.seed)

x = torch.randn(800, 6)
score = 1.2 * x[:, 0] - x[:, 1] + 0.5 * x[:, 2] * x[:, 3] + torch.randn(800)
y = (score > 0).float()
x[:, 5] = 2 * y - 1 + 0.1 * torch.randn(800)
x_val, y_val = x[:200], y[:200]
x_train, y_train = x[200:], y[200:]

model = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 1), nn.Flatten(start_dim=0))
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

for epoch in range(10):
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
