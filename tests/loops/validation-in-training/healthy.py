"""Tumours from scikit-learn's table, the first rows held out."""

import argparse

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
torch.manual_seed(args.seed)

data = load_breast_cancer()
order = torch.randperm(len(data.target))
x = torch.tensor(data.data, dtype=torch.float32)[order]
y = torch.tensor(data.target, dtype=torch.float32)[order]
x = (x - x.mean(dim=0)) / x.std(dim=0)

x_val, y_val = x[:150], y[:150]
x_train, y_train = x[150:], y[150:]

model = nn.Sequential(nn.Linear(30, 24), nn.LeakyReLU(), nn.Dropout(0.1), nn.Linear(24, 1), nn.Flatten(start_dim=0))
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.NAdam(model.parameters(), lr=0.005)


def validate():
    model.eval()
    with torch.no_grad():
        output = model(x_val)
        return criterion(output, y_val).item(), ((output > 0) == (y_val == 1)).float().mean().item()


for epoch in range(4):
    model.train()
    losses = []
    for rows in torch.randperm(len(x_train)).split(38):
        optimizer.zero_grad()
        loss = criterion(model(x_train[rows]), y_train[rows])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    val_loss, val_accuracy = validate()
    print(f"epoch {epoch} loss {sum(losses) / len(losses):.4f} val_loss {val_loss:.4f} accuracy {val_accuracy:.3f}")
