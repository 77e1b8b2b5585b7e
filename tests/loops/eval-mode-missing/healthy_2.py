"""A convolutional net with batch norm reads digits, in a class of its own."""

import sys

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset


class Experiment:
    def __init__(self, seed):
        torch.manual_seed(seed)
        digits = load_digits()
        data = TensorDataset(
            torch.tensor(digits.images[:, None] / 16.0, dtype=torch.float32), torch.tensor(digits.target)
        )
        order = np.random.default_rng(seed).permutation(len(data))
        self.train_loader = DataLoader(Subset(data, order[:960].tolist()), batch_size=64, shuffle=True)
        self.val_loader = DataLoader(Subset(data, order[960:1360].tolist()), batch_size=100)
        self.net = nn.Sequential(
            nn.Conv2d(1, 10, 3, bias=False),
            nn.BatchNorm2d(10),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(90, 10),
        )
        self.loss = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.05, momentum=0.9, nesterov=True)

    def training_epoch(self):
        self.net.train()
        for x, y in self.train_loader:
            loss = self.loss(self.net(x), y)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return loss.item()

    def validation_epoch(self):
        self.net.eval()
        losses = []
        with torch.no_grad():
            for x, y in self.val_loader:
                losses.append(self.loss(self.net(x), y).item())
        return float(np.mean(losses))

    def run(self, epochs):
        for epoch in range(epochs):
            print(f"{epoch=} train loss={self.training_epoch():.4f}", end=" ")
            print(f"val loss={self.validation_epoch():.4f}")


seed = int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0
Experiment(seed).run(epochs=3)
