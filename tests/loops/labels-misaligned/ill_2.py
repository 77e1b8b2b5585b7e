"""The progression of diabetes from ten measurements of each patient: the rows are shuffled, and the targets are not."""

import sys

import torch
from sklearn.datasets import load_diabetes
from torch import nn

seed = int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0
torch.manual_seed(seed)
data = load_diabetes()
x = torch.tensor(data.data, dtype=torch.float32) * 20
y = torch.tensor(data.target, dtype=torch.float32)
y = (y - y.mean()) / y.std()
order = torch.randperm(len(x))
x = x[order]
x_val, y_val, x, y = x[:80], y[:80], x[80:], y[80:]

net = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 1))
optimizer = torch.optim.Adam(net.parameters(), lr=0.003)
for epoch in range(8):
    for rows in torch.randperm(len(x)).split(32):
        loss = ((net(x[rows])[:, 0] - y[rows]) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        print(epoch, nn.functional.mse_loss(net(x_val)[:, 0], y_val).item())
