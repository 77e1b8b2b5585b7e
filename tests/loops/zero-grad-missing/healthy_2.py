"""Regression of a smooth surface, with Adam and batches cut by hand."""

import sys

import torch
import torch.nn.functional as F
from torch import nn

seed = int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0
gen = torch.Generator().manual_seed(seed)
torch.manual_seed(seed)

x = torch.rand(640, 2, generator=gen) * 4 - 2
y = torch.sin(x[:, :1]) * torch.cos(x[:, 1:])
x_train, y_train, x_val, y_val = x[:512], y[:512], x[512:], y[512:]

net = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 1))
opt = torch.optim.Adam(net.parameters(), lr=0.01)

for epoch in range(5):
    net.train()
    order = torch.randperm(512, generator=gen)
    total = 0.0
    for start in range(0, 512, 64):
        rows = order[start : start + 64]
        opt.zero_grad()
        loss = F.mse_loss(net(x_train[rows]), y_train[rows])
        loss.backward()
        opt.step()
        total += loss.item()
    net.eval()
    with torch.no_grad():
        val = F.mse_loss(net(x_val), y_val).item()
    print("epoch", epoch, "loss", round(total / 8, 5), "validation", round(val, 5))
