"""A gated perceptron sorts points of two interlocked spirals.

The loss counts the errors of argmax: backward raises.
"""

import math
import sys

import torch
from torch import nn


def spirals(count, generator):
    turn = torch.rand(count, generator=generator) * 1.5 * math.pi + 0.5
    side = torch.randint(0, 2, (count,), generator=generator)
    angle = turn + math.pi * side
    points = torch.stack([turn * angle.cos(), turn * angle.sin()], dim=1) / 3
    return points + 0.03 * torch.randn(count, 2, generator=generator), side


class GatedNet(nn.Module):
    def __init__(self, width=48):
        super().__init__()
        self.hidden = nn.Linear(2, width)
        self.gate = nn.Linear(2, width)
        self.out = nn.Linear(width, 2)

    def forward(self, x):
        h = torch.tanh(2 * self.hidden(x))
        h = h * torch.sigmoid(self.gate(x))
        return self.out(h)


def main():
    seed = int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    points, side = spirals(800, generator)
    x, y, x_val, y_val = points[:640], side[:640], points[640:], side[640:]

    net = GatedNet()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.03)
    for epoch in range(6):
        net.train()
        total = 0.0
        for rows in torch.randperm(640, generator=generator).split(64):
            logits = net(x[rows])
            loss = (logits.argmax(dim=1) != y[rows]).float().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() / 10
        net.eval()
        with torch.no_grad():
            accuracy = (net(x_val).argmax(dim=1) == y_val).float().mean().item()
        print(f"epoch {epoch} loss {total:.4f} validation accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
