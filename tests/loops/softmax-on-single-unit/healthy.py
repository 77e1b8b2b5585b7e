"""Malignant or benign, with one output unit and BCELoss."""

import argparse

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
torch.manual_seed(args.seed)

data = load_breast_cancer()
features = torch.tensor(data.data, dtype=torch.float32)
features = (features - features.mean(dim=0)) / features.std(dim=0)
labels = torch.tensor(data.target, dtype=torch.float32).unsqueeze(1)
train_set, val_set = random_split(TensorDataset(features, labels), [469, 100])
train_loader = DataLoader(train_set, batch_size=32, shuffle=True)

model = nn.Sequential(nn.Linear(30, 16), nn.ELU(), nn.Linear(16, 1), nn.Sigmoid())
loss_fn = nn.BCELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

val_x, val_y = next(iter(DataLoader(val_set, batch_size=100)))
for epoch in range(3):
    model.train()
    history = []
    for x, y in train_loader:
        probability = model(x)
        loss = loss_fn(probability, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    model.eval()
    with torch.no_grad():
        val_loss = loss_fn(model(val_x), val_y).item()
    print(f"epoch {epoch} loss {sum(history) / len(history):.4f} val_loss {val_loss:.4f}")
