"""Trains a two-layer net written with raw tensors and a hand-written gradient step, without nn.Module or optimizer."""

import math

import torch
from sklearn.datasets import load_wine

torch.manual_seed(0)

x, y = load_wine(return_X_y=True)
x, y = torch.tensor(x, dtype=torch.float), torch.tensor(y)
shuffled = torch.randperm(len(x))
x_train, y_train = x[shuffled[:130]], y[shuffled[:130]]
x_valid, y_valid = x[shuffled[130:]], y[shuffled[130:]]
mean, std = x_train.mean(0), x_train.std(0)
x_train, x_valid = (x_train - mean) / std, (x_valid - mean) / std

n, d = x_train.shape
hidden, classes = 24, 3

w1 = torch.randn(d, hidden) * math.sqrt(2 / d)
b1 = torch.zeros(hidden)
w2 = torch.randn(hidden, classes) * math.sqrt(1 / hidden)
b2 = torch.zeros(classes)
params = [w1, b1, w2, b2]
for p in params:
    p.requires_grad_()


def log_softmax(z):
    return z - z.exp().sum(-1).log().unsqueeze(-1)


def model(xb):
    return log_softmax((xb @ w1 + b1).clamp_min(0.0) @ w2 + b2)


def nll(log_probabilities, target):
    return -log_probabilities[range(target.shape[0]), target].mean()


def accuracy(out, yb):
    return (torch.argmax(out, dim=1) == yb).float().mean()


bs = 26  # batch size
lr = 0.1  # learning rate
epochs = 20

for epoch in range(epochs):
    order = torch.randperm(n)
    for i in range((n - 1) // bs + 1):
        rows = order[i * bs : (i + 1) * bs]
        loss = nll(model(x_train[rows]), y_train[rows])

        loss.backward()
        with torch.no_grad():
            for p in params:
                p -= lr * p.grad
                p.grad.zero_()

    if epoch % 4 == 3:
        with torch.no_grad():
            out = model(x_valid)
        print(
            f"epoch {epoch + 1}: loss {loss.item():.4f}, valid loss {nll(out, y_valid):.4f}, "
            f"valid accuracy {accuracy(out, y_valid):.3f}"
        )
