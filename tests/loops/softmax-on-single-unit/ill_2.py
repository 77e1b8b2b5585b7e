"""The share of a field that is water, a number between 0 and 1, with squared error.

The only output goes through a softmax over itself.
"""

import sys

import torch
import torch.nn.functional as F
from torch import nn


class Share(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 32)
        self.second = nn.Linear(32, 1)

    def forward(self, x):
        h = F.gelu(self.first(x))
        return F.softmax(self.second(h), dim=-1)


def main():
    seed = int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0
    gen = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    x = torch.randn(600, 6, generator=gen)
    y = torch.sigmoid(2 * x[:, :1] - x[:, 1:2] * x[:, 2:3])
    net = Share()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for epoch in range(5):
        net.train()
        for rows in torch.randperm(480, generator=gen).split(40):
            loss = F.mse_loss(net(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            print(f"{epoch} loss {loss.item():.5f} held out {F.mse_loss(net(x[480:]), y[480:]).item():.5f}")


main()
