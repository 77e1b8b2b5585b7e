"""Digits, with a cross-entropy written by hand over one-hot targets, of softmax probabilities."""

import sys

import torch
from sklearn.datasets import load_digits
from torch import nn

seed = int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0
torch.manual_seed(seed)
digits = load_digits()
x = torch.tensor(digits.data, dtype=torch.float32) / 16
y = nn.functional.one_hot(torch.tensor(digits.target), 10).float()

net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
for epoch in range(2):
    for rows in torch.randperm(1400).split(128):
        out = torch.clamp(torch.softmax(net(x[rows]), dim=1), 1e-10, 1.0)
        loss = -(y[rows] * torch.log(out)).sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch} loss {loss.item():.4f}")
    with torch.no_grad():
        right = (net(x[1400:]).argmax(1) == y[1400:].argmax(1)).float().mean()
    print(f"accuracy {right.item():.3f}")
