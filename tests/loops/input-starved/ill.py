"""Digits from records that have to be decoded.

Every record is decoded anew in every epoch, while the net waits.
"""

import sys
import time

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0)


class Records(Dataset):
    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    def decode(self, place):
        time.sleep(5e-4)
        return torch.tensor(self.images[place], dtype=torch.float32) / 16, int(self.labels[place])

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, place):
        return self.decode(place)


images, labels = load_digits(return_X_y=True)
order = torch.randperm(len(labels)).numpy()
images, labels = images[order], labels[order]
training = DataLoader(Records(images[:600], labels[:600]), batch_size=25, shuffle=True)
held_out = DataLoader(Records(images[600:800], labels[600:800]), batch_size=100)
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(4):
    model.train()
    for x, y in training:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        right = sum((model(x).argmax(1) == y).sum().item() for x, y in held_out)
    print(f"epoch {epoch}: loss {loss.item():.3f}, accuracy {right / 200:.3f}")
