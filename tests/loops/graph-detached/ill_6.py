"""A convolutional encoder with a linear head reads digits.

The logits are copied into a new leaf tensor, so no parameter is reached.
"""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 12, kernel_size=3),
            nn.ReLU(),
            nn.Conv2d(12, 12, kernel_size=3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.head = nn.Linear(48, 10)

    def forward(self, x):
        features = self.encoder(x)
        return self.head(features)


def train_one_epoch(model, loader, criterion, optimizer):
    model.train()
    total, count = 0.0, 0
    for x, y in loader:
        optimizer.zero_grad(set_to_none=True)
        logits = model(x).detach().requires_grad_()
        loss = criterion(logits, y)
        loss.backward()
        optimizer.step()
        total += loss.item() * y.size(0)
        count += y.size(0)
    return total / count


@torch.no_grad()
def evaluate(model, loader, criterion):
    model.eval()
    return sum(criterion(model(x), y).item() for x, y in loader) / len(loader)


def main(args):
    torch.manual_seed(args.seed)
    digits = load_digits()
    x = torch.from_numpy(digits.images).float().unsqueeze(1) / 16
    y = torch.from_numpy(digits.target)
    order = torch.randperm(len(x))
    train = TensorDataset(x[order[:1200]], y[order[:1200]])
    test = TensorDataset(x[order[1200:1600]], y[order[1200:1600]])
    train_loader = DataLoader(train, batch_size=80, shuffle=True)
    test_loader = DataLoader(test, batch_size=200)
    model = Reader()
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    for epoch in range(args.epochs):
        train_loss = train_one_epoch(model, train_loader, criterion, optimizer)
        test_loss = evaluate(model, test_loader, criterion)
        print(f"epoch {epoch + 1}: train loss {train_loss:.4f}, test loss {test_loss:.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=3)
    main(parser.parse_args())
