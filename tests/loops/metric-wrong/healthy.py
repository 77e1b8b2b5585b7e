"""Tells benign from malignant."""

import sys

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn

torch.manual_seed(int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0)

x, y = load_breast_cancer(return_X_y=True)
x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
order = torch.randperm(len(x))
x, y = x[order], y[order]
x = (x - x[:450].mean(0)) / x[:450].std(0)

model = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1))
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)


def accuracy(inputs, labels):
    model.eval()
    with torch.no_grad():
        outputs = model(inputs)
        predicted = outputs.squeeze(1) > 0
    return (predicted == labels.bool()).float().mean().item()


for epoch in range(8):
    model.train()
    for rows in torch.randperm(450).split(30):
        optimizer.zero_grad()
        loss = criterion(model(x[rows]), y[rows, None])
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: loss {loss.item():.3f}, accuracy {accuracy(x[450:], y[450:]):.3f}")
