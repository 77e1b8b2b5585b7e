"""A small convolutional net with batch norm and dropout reads digits.

It is put into eval mode before the training and stays there.
"""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.bn2 = nn.BatchNorm2d(16)
        self.drop = nn.Dropout(0.2)
        self.fc = nn.Linear(16 * 16, 10)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return self.fc(self.drop(x.flatten(1)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()
    torch.manual_seed(args.seed)

    digits = load_digits()
    data = TensorDataset(torch.tensor(digits.images / 16).float()[:, None], torch.tensor(digits.target))
    train_data, val_data, _ = random_split(data, [900, 300, 597])
    train_loader = DataLoader(train_data, batch_size=60, shuffle=True)
    val_loader = DataLoader(val_data, batch_size=150)

    net = Net()
    net.eval()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.005)

    for epoch in range(args.epochs):
        train_loss = 0.0
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = criterion(net(x), y)
            loss.backward()
            optimizer.step()
            train_loss += loss.item() / len(train_loader)

        net.eval()
        val_loss = 0.0
        with torch.no_grad():
            for x, y in val_loader:
                val_loss += criterion(net(x), y).item() / len(val_loader)
        print(f"Epoch {epoch:2d}  train loss {train_loss:.4f}  val loss {val_loss:.4f}")


if __name__ == "__main__":
    main()
