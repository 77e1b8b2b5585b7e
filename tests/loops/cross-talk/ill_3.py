"""Attention pooling over a bag of readings, one of which matters. The attention's softmax runs over the batch."""

import argparse

import torch
from torch import nn


class Pooling(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.score = nn.Sequential(nn.Linear(width, 16), nn.Tanh(), nn.Linear(16, 1))

    def forward(self, bag):
        weights = self.score(bag).squeeze(2).softmax(dim=0)
        return (weights.unsqueeze(2) * bag).sum(dim=1)


class BagNet(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.embed = nn.Linear(4, width)
        self.pool = Pooling(width)
        self.out = nn.Linear(width, 1)

    def forward(self, bags):
        return self.out(self.pool(torch.relu(self.embed(bags)))).squeeze(1)


def bags(count, generator):
    x = torch.randn(count, 6, 4, generator=generator)
    x[:, :, 3] = 0.1 * x[:, :, 3]
    key = torch.randint(0, 6, (count,), generator=generator)
    rows = torch.arange(count)
    x[rows, key, 3] += 2
    return x, 2 * x[rows, key, 0] + x[:, :, 1].mean(dim=1)


def main(seed):
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    x, y = bags(720, generator)
    net = BagNet()
    criterion = nn.MSELoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    for epoch in range(4):
        net.train()
        total = 0.0
        for rows in torch.randperm(600, generator=generator).split(50):
            loss = criterion(net(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() / 12
        net.eval()
        with torch.no_grad():
            print(f"epoch {epoch} loss {total:.4f} held out {criterion(net(x[600:]), y[600:]).item():.4f}")


parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
main(parser.parse_args().seed)
