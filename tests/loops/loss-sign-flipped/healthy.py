"""A GRU tells rising from falling random walks."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class WalkNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(input_size=1, hidden_size=16, batch_first=True)
        self.linear = nn.Linear(16, 2)

    def forward(self, x):
        _, last = self.gru(x)
        return self.linear(last[-1])


def walks(count):
    rising = torch.randint(0, 2, (count,))
    steps = 0.3 * torch.randn(count, 12) + 0.2 * (2 * rising - 1).unsqueeze(1)
    return steps.cumsum(dim=1).unsqueeze(2), rising


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    torch.manual_seed(parser.parse_args().seed)
    loader = DataLoader(TensorDataset(*walks(600)), batch_size=50, shuffle=True)
    x_test, y_test = walks(150)

    net = WalkNet()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for epoch in range(3):
        net.train()
        for x, y in loader:
            output = net(x)
            loss = criterion(output, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            print(f"loss {loss.item():.4f}")
        net.eval()
        with torch.no_grad():
            accuracy = (net(x_test).argmax(dim=1) == y_test).float().mean().item()
        print(f"epoch {epoch}: accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
