"""Regression with a perceptron on synthetic data."""

import argparse

import torch
from torch import nn


def friedman(count, generator):
    x = torch.rand(count, 5, generator=generator)
    y = torch.sin(torch.pi * x[:, 0] * x[:, 1]) + 2 * (x[:, 2] - 0.5) ** 2 + x[:, 3] - 0.5 * x[:, 4]
    return x, y.unsqueeze(1)


class Regressor(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x):
        return self.layers(x)


parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--batch-size", type=int, default=64)
args = parser.parse_args()
torch.manual_seed(args.seed)
generator = torch.Generator().manual_seed(args.seed)

x, y = friedman(1024, generator)
x_test, y_test = friedman(200, generator)
model = Regressor()
criterion = nn.MSELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.005)

for epoch in range(3):
    model.train()
    order = torch.randperm(len(x), generator=generator)
    running = 0.0
    for start in range(0, len(x), args.batch_size):
        rows = order[start : start + args.batch_size]
        prediction = model(x[rows])
        loss = criterion(prediction, y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        running += loss.item() * len(rows)
    model.eval()
    with torch.no_grad():
        test_loss = criterion(model(x_test), y_test).item()
    print(f"epoch {epoch} loss {running / len(x):.5f} test {test_loss:.5f}")
