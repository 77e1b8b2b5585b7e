"""Two half-moons with one output unit and BCEWithLogitsLoss. The labels are -1 and 1."""

import argparse

import torch
from sklearn.datasets import make_moons
from torch import nn


def get_data(seed):
    x, y = make_moons(n_samples=500, noise=0.15, random_state=seed)
    y = 2 * y - 1
    x = torch.tensor(x, dtype=torch.float32)
    y = torch.tensor(y, dtype=torch.float32)
    return x[:400], y[:400], x[400:], y[400:]


parser = argparse.ArgumentParser()
parser.add_argument("-s", "--seed", type=int, default=0)
seed = parser.parse_args().seed
torch.manual_seed(seed)
x, y, x_val, y_val = get_data(seed)

net = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1), nn.Flatten(0))
loss_fn = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
for epoch in range(6):
    net.train()
    for batch in torch.randperm(400).split(50):
        loss = loss_fn(net(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        val_loss = loss_fn(net(x_val), y_val)
    print(f"epoch {epoch}: loss {loss.item():.4f}, validation {val_loss.item():.4f}")
