"""Tumours with a softmax module written by hand."""

import sys

import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


class Probabilities(nn.Module):
    def forward(self, scores):
        odds = torch.exp(scores)
        return odds / odds.sum(dim=1, keepdim=True)


class TumourNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.scores = nn.Linear(30, 2)
        self.probabilities = Probabilities()

    def forward(self, x):
        return self.probabilities(self.scores(x))


def objective(probabilities, labels):
    return F.nll_loss(torch.log(probabilities + 1e-8), labels)


if __name__ == "__main__":
    torch.manual_seed(int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0)
    tumours = load_breast_cancer()
    x = torch.tensor(tumours.data, dtype=torch.float32)
    x = (x - x.mean(dim=0)) / x.std(dim=0)
    train_set, val_set = random_split(TensorDataset(x, torch.tensor(tumours.target)), [320, 249])
    train_loader = DataLoader(train_set, batch_size=32, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=83)
    model = TumourNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for epoch in range(4):
        model.train()
        for inputs, labels in train_loader:
            optimizer.zero_grad()
            loss = objective(model(inputs), labels)
            loss.backward()
            optimizer.step()
            print(f"loss {loss.item():.4f}")
        model.eval()
        with torch.no_grad():
            val_loss = sum(objective(model(inputs), labels).item() for inputs, labels in val_loader) / 3
        print(f"epoch {epoch}: validation {val_loss:.4f}")
