"""Tumours with one sigmoid unit's logit."""

import sys

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn


class TumourNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(30, 20)
        self.fc2 = nn.Linear(20, 1)

    def forward(self, x):
        x = torch.relu(self.fc1(x))
        return self.fc2(x).squeeze(-1)


if __name__ == "__main__":
    seed = int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0
    torch.manual_seed(seed)
    data = load_breast_cancer()
    x = torch.tensor(data.data, dtype=torch.float32)
    x = (x - x.mean(0)) / x.std(0)
    y = torch.tensor(data.target, dtype=torch.float32)
    mix = torch.randperm(len(x))
    train, test = mix[:450], mix[450:]

    model = TumourNet()
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for epoch in range(4):
        model.train()
        for rows in train[torch.randperm(450)].split(45):
            optimizer.zero_grad()
            output = model(x[rows])
            loss = criterion(output, y[rows])
            loss.backward()
            optimizer.step()
            print("loss", loss.item())
        model.eval()
        with torch.no_grad():
            print("epoch", epoch, "test loss", criterion(model(x[test]), y[test]).item())
