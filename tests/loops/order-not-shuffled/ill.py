"""Four clouds of points, made one after the other, told apart by a perceptron.

They are trained on in that order, class after class.
"""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def clouds(per_class, generator):
    points, labels = [], []
    for label, centre in enumerate([(0, 0), (1.5, 1.5), (0, 3), (-1.5, 1.5)]):
        points.append(torch.tensor(centre) + 0.5 * torch.randn(per_class, 2, generator=generator))
        labels.append(torch.full((per_class,), label))
    return TensorDataset(torch.cat(points), torch.cat(labels))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    train_loader = DataLoader(clouds(128, generator), batch_size=32)
    test_loader = DataLoader(clouds(50, generator), batch_size=50)

    model = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 4))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for epoch in range(3):
        model.train()
        train_loss = 0.0
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            train_loss += loss.item() * len(x)
        model.eval()
        right = 0
        with torch.no_grad():
            for x, y in test_loader:
                right += (model(x).argmax(dim=1) == y).sum().item()
        print(f"epoch {epoch}: loss {train_loss / 512:.4f}, right {right} of 200")


if __name__ == "__main__":
    main()
