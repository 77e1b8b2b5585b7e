"""Half precision with a gradient scaler: tumours."""

import argparse

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--init-scale", type=float, default=2.0**12)
args = parser.parse_args()
torch.manual_seed(args.seed)

data = load_breast_cancer()
x = torch.tensor(data.data, dtype=torch.float32)
y = torch.tensor(data.target)
order = torch.randperm(len(x))
x, y = x[order], y[order]
x = (x - x.mean(dim=0)) / x.std(dim=0)
loader = DataLoader(TensorDataset(x[:448], y[:448]), batch_size=32, shuffle=True)

model = nn.Sequential(nn.Linear(30, 32), nn.GELU(), nn.Linear(32, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
criterion = nn.CrossEntropyLoss()
scaler = torch.amp.GradScaler("cpu", init_scale=args.init_scale)

for epoch in range(3):
    model.train()
    total = 0.0
    for xb, yb in loader:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            loss = criterion(model(xb), yb)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        total += loss.item()
    model.eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.float16):
        val_loss = criterion(model(x[448:]), y[448:]).item()
    print(f"epoch {epoch}: loss {total / len(loader):.4f}, validation {val_loss:.4f}, scale {scaler.get_scale():g}")
