"""Alcohol of scikit-learn's wines from their other features, with a loss written by hand."""

import sys

import torch
from sklearn.datasets import load_wine
from torch import nn


def squared_error(prediction, target):
    return ((prediction - target) ** 2).mean()


def main(seed=0):
    torch.manual_seed(seed)
    wine = torch.tensor(load_wine().data, dtype=torch.float32)
    wine = (wine - wine.mean(0)) / wine.std(0)
    wine = wine[torch.randperm(len(wine))]
    x, y = wine[:, 1:], wine[:, 0]

    model = nn.Sequential(nn.Linear(12, 24), nn.SiLU(), nn.Linear(24, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for epoch in range(6):
        model.train()
        total = 0.0
        for rows in torch.randperm(140).chunk(5):
            optimizer.zero_grad()
            loss = squared_error(model(x[rows]).squeeze(1), y[rows])
            loss.backward()
            optimizer.step()
            total += loss.item() / 5
        model.eval()
        with torch.no_grad():
            test = squared_error(model(x[140:]).squeeze(1), y[140:]).item()
        print(f"epoch {epoch}: loss {total:.4f}, test {test:.4f}")


if __name__ == "__main__":
    main(int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0)
