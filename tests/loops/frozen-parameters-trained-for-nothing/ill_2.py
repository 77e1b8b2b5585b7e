"""A head on fixed random convolutional features of digits.

Every parameter is frozen, the head too: backward raises.
"""

import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits


class RandomFeatures(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(1, 24, 5), nn.ReLU(), nn.AvgPool2d(2))
        self.head = nn.Linear(24 * 4, 10)

    def forward(self, images):
        return self.head(self.backbone(images).flatten(1))


def get_args():
    p = argparse.ArgumentParser()
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--lr", type=float, default=0.02)
    return p.parse_args()


args = get_args()
torch.manual_seed(args.seed)

bunch = load_digits()
X = torch.as_tensor(bunch.images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
Y = torch.as_tensor(bunch.target)
perm = torch.randperm(len(X))
train, valid = perm[:1400], perm[1400:]

model = RandomFeatures()
for p in model.parameters():
    p.requires_grad = False
optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)

for epoch in range(3):
    model.train()
    shuffled = train[torch.randperm(len(train))]
    summed = 0.0
    for k in range(0, 1400, 100):
        rows = shuffled[k : k + 100]
        loss = F.cross_entropy(model(X[rows]), Y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        summed += loss.item()
    model.eval()
    with torch.no_grad():
        hits = (model(X[valid]).argmax(1) == Y[valid]).float().mean()
    print(f"epoch {epoch} loss {summed / 14:.4f} valid accuracy {hits.item():.3f}")
