"""A residual multilayer perceptron tells malignant from benign tumours. Its blocks are kept in a tuple."""

import argparse

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn


class ResidualMLP(nn.Module):
    def __init__(self, inputs, width=24, depth=3):
        super().__init__()
        self.stem = nn.Linear(inputs, width)
        self.blocks = tuple(nn.Linear(width, width) for _ in range(depth))
        self.out = nn.Linear(width, 1)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = x + torch.relu(block(x))
        return self.out(x).squeeze(1)


class Trainer:
    def __init__(self, model, lr):
        self.model = model
        self.optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        self.criterion = nn.BCEWithLogitsLoss()

    def fit_epoch(self, x, y, batch_size=48):
        self.model.train()
        losses = []
        for rows in torch.randperm(len(x)).split(batch_size):
            self.optimizer.zero_grad()
            loss = self.criterion(self.model(x[rows]), y[rows])
            loss.backward()
            self.optimizer.step()
            losses.append(loss.item())
        return sum(losses) / len(losses)

    @torch.no_grad()
    def score(self, x, y):
        self.model.eval()
        return ((self.model(x) > 0) == (y > 0.5)).float().mean().item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    torch.manual_seed(parser.parse_args().seed)
    data = load_breast_cancer()
    x = torch.tensor(data.data, dtype=torch.float32)
    y = torch.tensor(data.target, dtype=torch.float32)
    order = torch.randperm(len(x))
    x, y = x[order], y[order]
    x = (x - x[:432].mean(0)) / x[:432].std(0)
    trainer = Trainer(ResidualMLP(30), lr=3e-3)
    for epoch in range(4):
        loss = trainer.fit_epoch(x[:432], y[:432])
        print(f"epoch {epoch}: loss {loss:.4f}, held-out accuracy {trainer.score(x[432:], y[432:]):.3f}")


main()
