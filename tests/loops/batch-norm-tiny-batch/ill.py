"""Wines through a perceptron with batch norm. The batches have two rows each."""

import argparse

import torch
from sklearn.datasets import load_wine
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


class WineNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(13, 24)
        self.bn1 = nn.BatchNorm1d(24)
        self.fc2 = nn.Linear(24, 3)

    def forward(self, x):
        return self.fc2(torch.relu(self.bn1(self.fc1(x))))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=2)
    args = parser.parse_args()
    torch.manual_seed(args.seed)

    wine = load_wine()
    x = torch.tensor(wine.data, dtype=torch.float32)
    x = (x - x.mean(dim=0)) / x.std(dim=0)
    train, test = random_split(TensorDataset(x, torch.tensor(wine.target)), [128, 50])
    loader = DataLoader(train, batch_size=args.batch_size, shuffle=True)
    net = WineNet()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.5)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(4):
        net.train()
        losses = []
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = criterion(net(inputs), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        net.eval()
        with torch.no_grad():
            inputs, labels = next(iter(DataLoader(test, batch_size=50)))
            accuracy = (net(inputs).argmax(dim=1) == labels).float().mean().item()
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):.4f}, accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
