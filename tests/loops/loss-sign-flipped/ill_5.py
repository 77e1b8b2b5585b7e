"""A regression whose update is written by hand, with the sign of the step turned around."""

import sys

import torch
from torch import nn

seed = int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0
torch.manual_seed(seed)
x = torch.rand(256, 5)
y = x @ torch.tensor([[1.0], [-2.0], [0.5], [3.0], [0.0]]) + 0.05 * torch.randn(256, 1)

net = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 1))
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
for epoch in range(12):
    for rows in torch.randperm(len(x)).split(64):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(net(x[rows]), y[rows])
        loss.backward()
        for parameter in net.parameters():
            parameter.grad = -parameter.grad
        optimizer.step()
    print(f"epoch {epoch} loss {loss.item():.4f}")
