"""An LSTM adds the marked numbers of a sequence.

The loss is summed with its graph, so no step's graph is freed before the epoch ends.
"""

import argparse

import torch
from torch import nn


class Adder(nn.Module):
    def __init__(self, hidden=24):
        super().__init__()
        self.lstm = nn.LSTM(2, hidden, batch_first=True)
        self.linear = nn.Linear(hidden, 1)

    def forward(self, sequences):
        output, _ = self.lstm(sequences)
        return self.linear(output[:, -1]).squeeze(1)


def sequences(count, length=8):
    numbers = torch.rand(count, length)
    marks = torch.zeros(count, length)
    marks.scatter_(1, torch.rand(count, length).argsort(dim=1)[:, :2], 1.0)
    return torch.stack([numbers, marks], dim=2), (numbers * marks).sum(dim=1)


def train(model, x, y, optimizer, criterion, batch_size):
    model.train()
    total = 0.0
    order = torch.randperm(len(x))
    for start in range(0, len(x), batch_size):
        rows = order[start : start + batch_size]
        optimizer.zero_grad()
        loss = criterion(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
        total += loss
    return float(total) * batch_size / len(x)


def test(model, x, y, criterion):
    model.eval()
    with torch.no_grad():
        return criterion(model(x), y).item()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    x, y = sequences(800)
    x_test, y_test = sequences(160)
    model = Adder()
    criterion = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for epoch in range(args.epochs):
        loss = train(model, x, y, optimizer, criterion, batch_size=40)
        print(f"epoch {epoch}: train loss {loss:.4f}, test loss {test(model, x_test, y_test, criterion):.4f}")
