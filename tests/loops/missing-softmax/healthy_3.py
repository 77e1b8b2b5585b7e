"""Inside or outside of a circle, with BCELoss."""

import sys

import torch
from torch import nn

torch.manual_seed(int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0)

points = 6 * torch.rand(700, 2) - 3
inside = (points.norm(dim=1, keepdim=True) < 2.4).float()


class Circle(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x):
        return torch.sigmoid(self.body(x))


net = Circle()
bce = nn.BCELoss()
adam = torch.optim.Adam(net.parameters(), lr=0.02)
for epoch in range(5):
    net.train()
    for rows in torch.randperm(600).split(60):
        adam.zero_grad()
        loss = bce(net(points[rows]), inside[rows])
        loss.backward()
        adam.step()
    net.eval()
    with torch.no_grad():
        held_out = bce(net(points[600:]), inside[600:])
    print(f"epoch {epoch}: loss {loss.item():.4f}, held-out loss {held_out.item():.4f}")
