"""A perceptron learns scikit-learn's wine cultivars.

Its last layer is a tanh, and CrossEntropyLoss makes probabilities of that.
"""

import argparse

import torch
from sklearn.datasets import load_wine
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

ap = argparse.ArgumentParser()
ap.add_argument("--seed", type=int, default=0)
ns = ap.parse_args()
torch.manual_seed(ns.seed)

X, Y = load_wine(return_X_y=True)
X = torch.tensor(X, dtype=torch.float32)
Y = torch.tensor(Y, dtype=torch.long)
shuffled = torch.randperm(len(X))
X, Y = X[shuffled], Y[shuffled]
mean, std = X[:120].mean(dim=0), X[:120].std(dim=0)
X = (X - mean) / std

train_dl = DataLoader(TensorDataset(X[:120], Y[:120]), batch_size=20, shuffle=True)
valid_dl = DataLoader(TensorDataset(X[120:], Y[120:]), batch_size=29)

model = nn.Sequential(
    nn.Linear(13, 32),
    nn.ReLU(),
    nn.Linear(32, 3),
    nn.Tanh(),
)
loss_func = nn.CrossEntropyLoss()
opt = torch.optim.Adam(model.parameters(), lr=0.01)

for epoch in range(6):
    model.train()
    train_loss = 0
    for xb, yb in train_dl:
        loss = loss_func(model(xb), yb)
        loss.backward()
        opt.step()
        opt.zero_grad()
        train_loss += loss.item()

    model.eval()
    with torch.no_grad():
        valid_loss = sum(loss_func(model(xb), yb).item() for xb, yb in valid_dl)
    print(epoch, "train loss", train_loss / len(train_dl), "valid loss", valid_loss / len(valid_dl))
