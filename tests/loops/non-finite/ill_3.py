"""A deep perceptron fits a bent plane with SGD. The learning rate is far too high."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def make_net(width, depth):
    layers = [nn.Linear(8, width), nn.ReLU()]
    for _ in range(depth - 1):
        layers += [nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 1))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lr", type=float, default=50.0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    x = torch.randn(900, 8)
    y = 2 * x[:, :1] - x[:, 1:2] + x[:, 2:3].abs() + 3
    loader = DataLoader(TensorDataset(x[:768], y[:768]), batch_size=64, shuffle=True)
    net = make_net(32, 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=args.lr)
    mse = nn.MSELoss()
    for epoch in range(4):
        net.train()
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = mse(net(inputs), targets)
            loss.backward()
            optimizer.step()
            print(f"loss {loss.item():.4g}")
        net.eval()
        with torch.no_grad():
            print(f"epoch {epoch} held out {mse(net(x[768:]), y[768:]).item():.4g}")


if __name__ == "__main__":
    main()
