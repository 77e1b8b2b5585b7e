"""Digits through a convolutional net, with loaders for training and validation."""

import sys

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset


def get_loaders(generator):
    digits = load_digits()
    data = TensorDataset(torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16, torch.tensor(digits.target))
    order = torch.randperm(len(data), generator=generator).tolist()
    train_set, val_set = Subset(data, order[:960]), Subset(data, order[960:1360])
    train_loader = DataLoader(train_set, batch_size=64, shuffle=True, generator=generator)
    val_loader = DataLoader(val_set, batch_size=100)
    return train_loader, val_loader


def main(seed):
    torch.manual_seed(seed)
    train_loader, val_loader = get_loaders(torch.Generator().manual_seed(seed))
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128, 10),
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    loss_fn = nn.CrossEntropyLoss()
    for epoch in range(3):
        net.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(net(x), y)
            loss.backward()
            optimizer.step()
            print(f"loss {loss.item():.4f}")
        net.eval()
        with torch.no_grad():
            val_loss = sum(loss_fn(net(x), y).item() for x, y in val_loader) / len(val_loader)
        print(f"epoch {epoch} validation loss {val_loss:.4f}")


main(int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0)
