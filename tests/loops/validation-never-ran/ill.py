"""Mean and spread of a noisy curve, learned with the Gaussian likelihood. The net is never evaluated on anything."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class MeanAndSpread(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh())
        self.mean = nn.Linear(32, 1)
        self.log_variance = nn.Linear(32, 1)

    def forward(self, x):
        h = self.trunk(x)
        return self.mean(h), self.log_variance(h).exp()


def curve(count):
    x = 4 * torch.rand(count, 1) - 2
    return x, 2 + torch.sin(2 * x) + (0.1 + 0.3 * (x > 0)) * torch.randn(count, 1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    torch.manual_seed(parser.parse_args().seed)
    loader = DataLoader(TensorDataset(*curve(640)), batch_size=64, shuffle=True)
    model = MeanAndSpread()
    likelihood = nn.GaussianNLLLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for epoch in range(5):
        model.train()
        total = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            mean, variance = model(x)
            loss = likelihood(mean, y, variance)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: loss {total / len(loader):.4f}")


if __name__ == "__main__":
    main()
