"""Regression of a temperature from six readings.

The output unit is a ReLU, and half of the temperatures are negative.
"""

import sys

import torch
from torch import nn


def build_model():
    layers = [
        nn.Linear(6, 24),
        nn.ReLU(),
        nn.Linear(24, 1),
        nn.ReLU(),
    ]
    return nn.Sequential(*layers)


seed = int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0
torch.manual_seed(seed)
readings = torch.randn(700, 6)
temperature = readings[:, :1] - 2 * readings[:, 1:2] + readings[:, 2:3] * readings[:, 3:4]

model = build_model()
criterion = nn.MSELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
for epoch in range(4):
    model.train()
    total = 0.0
    for rows in torch.randperm(600).split(50):
        loss = criterion(model(readings[rows]), temperature[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() / 12
    model.eval()
    with torch.no_grad():
        test = criterion(model(readings[600:]), temperature[600:]).item()
    print(f"epoch {epoch} loss {total:.4f} test {test:.4f}")
