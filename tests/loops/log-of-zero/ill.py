"""Logistic regression of tumours with the cross-entropy written out.

The sigmoid of a score over 17 is exactly 1 in float32, and the logarithm of 1 - 1 is taken.
"""

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
x_train, y_train, x_val, y_val = x[:440], y[:440], x[440:], y[440:]
mean, std = x_train.mean(dim=0), x_train.std(dim=0)
x_train, x_val = (x_train - mean) / std, (x_val - mean) / std

torch.manual_seed(parser.parse_args().seed)
model = torch.nn.Linear(30, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)


def cross_entropy(inputs, target):
    p = torch.sigmoid(model(inputs).squeeze(1))
    return -(target * torch.log(p) + (1 - target) * torch.log(1 - p)).mean()


for epoch in range(6):
    losses = []
    for rows in torch.randperm(440, generator=generator).split(40):
        loss = cross_entropy(x_train[rows], y_train[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    with torch.no_grad():
        val_loss = cross_entropy(x_val, y_val).item()
    model.train()
    print(f"epoch {epoch}: loss {sum(losses) / len(losses):.4f}, validation {val_loss:.4f}")
