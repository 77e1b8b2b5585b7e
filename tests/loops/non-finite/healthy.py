"""Logistic regression of tumours with the cross-entropy written out."""

import argparse

import torch
from sklearn.datasets import load_breast_cancer

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
generator = torch.Generator().manual_seed(parser.parse_args().seed)

data = load_breast_cancer()
x = torch.tensor(data.data, dtype=torch.float32)
y = torch.tensor(data.target, dtype=torch.float32)
order = torch.randperm(len(x), generator=generator)
x, y = x[order], y[order]
x = (x - x.mean(dim=0)) / x.std(dim=0)
x_train, y_train, x_val, y_val = x[:440], y[:440], x[440:], y[440:]

w = torch.randn(30, generator=generator).mul(0.1).requires_grad_()
b = torch.zeros((), requires_grad=True)


def model(inputs):
    return torch.sigmoid(inputs @ w + b)


def cross_entropy(p, target):
    return -(target * torch.log(p) + (1 - target) * torch.log(1 - p)).mean()


optimizer = torch.optim.SGD([w, b], lr=0.2)
for epoch in range(4):
    losses = []
    for rows in torch.randperm(440, generator=generator).split(40):
        loss = cross_entropy(model(x_train[rows]), y_train[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        val_loss = cross_entropy(model(x_val), y_val).item()
    print(f"epoch {epoch}: loss {sum(losses) / len(losses):.4f}, validation {val_loss:.4f}")
