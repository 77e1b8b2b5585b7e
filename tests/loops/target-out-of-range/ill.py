"""Wine cultivars, numbered 1 to 3 as in the original file.

The classes are not renumbered from 0: class 3 has no output and the loss raises.
"""

import argparse

import numpy as np
import torch
from sklearn.datasets import load_wine
from torch import nn
from torch.utils.data import DataLoader, Dataset


class WineFile(Dataset):
    """Rows of thirteen measurements; the first column is the cultivar."""

    def __init__(self, table):
        self.table = table

    def __len__(self):
        return len(self.table)

    def __getitem__(self, index):
        row = self.table[index]
        label = int(row[0])
        return torch.tensor(row[1:], dtype=torch.float32), label


def read_table():
    wine = load_wine()
    scaled = (wine.data - wine.data.mean(axis=0)) / wine.data.std(axis=0)
    return np.column_stack([wine.target + 1, scaled])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    table = np.random.default_rng(args.seed).permutation(read_table())
    train_loader = DataLoader(WineFile(table[:120]), batch_size=24, shuffle=True)
    test_loader = DataLoader(WineFile(table[120:]), batch_size=24)

    model = nn.Sequential(nn.Linear(13, 20), nn.ReLU(), nn.Linear(20, 3))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for epoch in range(5):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            print(f"loss {loss.item():.4f}")
        model.eval()
        with torch.no_grad():
            right = sum((model(x).argmax(1) == y).sum().item() for x, y in test_loader)
        print(f"epoch {epoch}: {right} of {len(table) - 120} right")


if __name__ == "__main__":
    main()
