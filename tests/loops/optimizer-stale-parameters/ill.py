"""A digits net gets a new last layer for the first five digits.

The optimizer was built before the layer was replaced.
"""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn


class DigitNet(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.ReLU(),
        )
        self.fc = nn.Linear(16, classes)

    def forward(self, x):
        return self.fc(self.features(x).amax(dim=(2, 3)))


def load(seed):
    digits = load_digits(n_class=5)
    x = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    y = torch.tensor(digits.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    return x[order], y[order]


if __name__ == "__main__":
    cli = argparse.ArgumentParser()
    cli.add_argument("--seed", type=int, default=0)
    seed = cli.parse_args().seed
    torch.manual_seed(seed)
    x, y = load(seed)
    x_train, y_train, x_test, y_test = x[:700], y[:700], x[700:], y[700:]

    model = DigitNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    model.fc = nn.Linear(16, 5)
    criterion = nn.CrossEntropyLoss()

    for epoch in range(4):
        model.train()
        losses = []
        for batch in torch.randperm(len(x_train)).split(70):
            optimizer.zero_grad()
            loss = criterion(model(x_train[batch]), y_train[batch])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            test_loss = criterion(model(x_test), y_test).item()
        print(f"epoch {epoch} train loss {sum(losses) / len(losses):.4f} test loss {test_loss:.4f}")
