"""A map of the plane learned from pairwise distances, with a gradient scaler."""

import sys

import torch
from torch import nn


def distances(points):
    difference = points.unsqueeze(0) - points.unsqueeze(1)
    return torch.sqrt((difference**2).sum(dim=2) + 1e-6)


class Map(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 2))

    def forward(self, x):
        return self.net(x)


seed = int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0
torch.manual_seed(seed)
x = torch.randn(640, 6)
places = x[:, :2] + 0.5 * x[:, 2:4]
model = Map()
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
scaler = torch.amp.GradScaler("cpu")
mse = nn.MSELoss()
for epoch in range(4):
    model.train()
    total = 0.0
    for rows in torch.randperm(512).split(64):
        optimizer.zero_grad()
        loss = mse(distances(model(x[rows])), distances(places[rows]))
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        total += loss.item() / 8
    model.eval()
    with torch.no_grad():
        validation = mse(distances(model(x[512:])), distances(places[512:]))
    print(f"epoch {epoch} loss {total:.4f} validation {validation.item():.4f}")
