"""Sorts curves by their shape, with a normalization of its own."""

import sys

import torch
from torch import nn

torch.manual_seed(int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0)


class Normalize(nn.Module):
    """Each row at mean 0 and variance 1."""

    def forward(self, x):
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).square().mean(1, keepdim=True)
        return (x - mean) / (variance + 1e-5).sqrt()


class Calibrate(nn.Module):
    """Counts to kelvin."""

    def forward(self, x):
        return 1000.0 + 0.05 * x


time = torch.linspace(0, 6.28, 32)
labels = torch.randint(3, (900,))
phase = 0.6 * torch.randn(900, 1)
curves = torch.sin((labels[:, None] + 1) * time + phase) + 0.2 * torch.randn(900, 32)

model = nn.Sequential(Calibrate(), Normalize(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(6):
    model.train()
    for rows in torch.randperm(700).split(35):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(curves[rows]), labels[rows])
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        accuracy = (model(curves[700:]).argmax(1) == labels[700:]).float().mean()
    print(f"epoch {epoch}: loss {loss.item():.4f}, accuracy {accuracy:.3f}")
