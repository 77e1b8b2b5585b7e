"""A set of points is summed and classified; dropout is made anew in every forward pass."""

import sys

import torch
from torch import nn


class SetNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.each = nn.Sequential(nn.Linear(2, 24), nn.ReLU())
        self.whole = nn.Linear(24, 2)
        self.dropout = nn.Dropout(0.2)

    def forward(self, points):
        pooled = self.each(points).mean(dim=1)
        return self.whole(self.dropout(pooled))


def rings(count):
    wide = torch.randint(0, 2, (count,))
    angle = 6.28 * torch.rand(count, 9)
    radius = (1 + 0.6 * wide).unsqueeze(1) + 0.15 * torch.randn(count, 9)
    return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=2), wide


torch.manual_seed(int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0)
x, y = rings(640)
x_val, y_val = rings(160)
net = SetNet()
optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
criterion = nn.CrossEntropyLoss()
for epoch in range(5):
    net.train()
    for batch in torch.randperm(640).split(64):
        loss = criterion(net(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        accuracy = (net(x_val).argmax(dim=1) == y_val).float().mean().item()
    print(f"epoch {epoch} loss {loss.item():.4f} accuracy {accuracy:.3f}")
