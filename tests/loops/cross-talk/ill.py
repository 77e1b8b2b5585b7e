"""A GRU over time steps, whose states are laid out for a linear readout.

The states are reshaped, not transposed, so rows of the batch are mixed.
"""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

LENGTH, HIDDEN = 8, 12


class StepsNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, HIDDEN)
        self.readout = nn.Linear(LENGTH * HIDDEN, 2)

    def forward(self, x):
        states, _ = self.gru(x.transpose(0, 1))
        flat = states.reshape(x.shape[0], LENGTH * HIDDEN)
        return self.readout(flat)


def make(count):
    x = torch.randn(count, LENGTH, 3)
    y = (x[:, :, 0].sum(dim=1) > x[:, :, 1].sum(dim=1)).long()
    return TensorDataset(x, y)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    torch.manual_seed(parser.parse_args().seed)
    train_loader = DataLoader(make(640), batch_size=64, shuffle=True)
    test_loader = DataLoader(make(128), batch_size=64)
    model = StepsNet()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for epoch in range(5):
        model.train()
        epoch_loss = 0.0
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            epoch_loss += loss.item() / len(train_loader)
        model.eval()
        with torch.no_grad():
            right = sum((model(x).argmax(dim=1) == y).sum().item() for x, y in test_loader)
        print(f"epoch {epoch}: loss {epoch_loss:.4f}, right {right} of 128")


if __name__ == "__main__":
    main()
