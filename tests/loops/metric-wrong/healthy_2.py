"""Three labels at once."""

import argparse

import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
torch.manual_seed(args.seed)

x = torch.randn(900, 12)
y = (x @ torch.randn(12, 3) + 0.5 * torch.randn(900, 3) > 0.8).float()
loader = DataLoader(TensorDataset(x[:700], y[:700]), batch_size=50, shuffle=True)
held_out = DataLoader(TensorDataset(x[700:], y[700:]), batch_size=100)


def main():
    net = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 3))
    loss_of = nn.BCEWithLogitsLoss()
    optimizer = optim.Adam(net.parameters(), lr=5e-3)
    for epoch in range(6):
        net.train()
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = loss_of(net(inputs), labels)
            loss.backward()
            optimizer.step()
        net.eval()
        right = count = 0
        with torch.no_grad():
            for inputs, labels in held_out:
                predictions = torch.round(torch.sigmoid(net(inputs)))
                right += (predictions == labels).sum().item()
                count += labels.numel()
        print(f"epoch {epoch}: loss {loss.item():.3f}, right {right / count:.3f}")


main()
