"""Digits, each class by a sigmoid of its own."""

import sys

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0)

x, y = load_digits(return_X_y=True)
x, y = torch.tensor(x, dtype=torch.float32) / 16, torch.tensor(y)
x = (x - x.mean()) / x.std()
order = torch.randperm(len(x))
x, y = x[order], y[order]

net = nn.Sequential(
    nn.Linear(64, 64),
    nn.ReLU(),
    nn.Linear(64, 10),
)
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
for epoch in range(8):
    net.train()
    for rows in torch.randperm(1400).split(70):
        optimizer.zero_grad()
        loss = criterion(net(x[rows]), nn.functional.one_hot(y[rows], 10).float())
        loss.backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        scores = net(x[1400:])
        accuracy = (scores.argmax(1) == y[1400:]).float().mean()
    print(f"epoch {epoch}: loss {loss.item():.4f}, accuracy {accuracy:.3f}")
