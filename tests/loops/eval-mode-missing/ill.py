"""Tumours with a perceptron that has dropout. The net stays in training mode while it is evaluated."""

import argparse

import torch
import torch.nn as nn
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler


def build():
    return nn.Sequential(
        nn.Linear(30, 32),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(32, 16),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(16, 2),
    )


def test(model, x, y):
    with torch.no_grad():
        output = model(x)
        loss = nn.functional.cross_entropy(output, y).item()
        correct = (output.argmax(dim=1) == y).sum().item()
    print(f"  test: loss {loss:.4f}, {correct}/{len(y)} right")


def train(model, x, y, optimizer, epoch):
    model.train()
    batches = torch.randperm(len(x)).split(50)
    losses = []
    for batch in batches:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print(f"epoch {epoch}: loss {sum(losses) / len(losses):.4f}")


parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
seed = parser.parse_args().seed
torch.manual_seed(seed)

inputs, targets = load_breast_cancer(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(inputs, targets, test_size=0.3, random_state=seed)
scaler = StandardScaler().fit(x_train)
x_train = torch.tensor(scaler.transform(x_train), dtype=torch.float32)
x_test = torch.tensor(scaler.transform(x_test), dtype=torch.float32)
y_train, y_test = torch.tensor(y_train), torch.tensor(y_test)

model = build()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for epoch in range(1, 5):
    train(model, x_train, y_train, optimizer, epoch)
    test(model, x_test, y_test)
