"""Batch norms of a net are exchanged for group norms before training. The optimizer was built before the exchange."""

import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
torch.manual_seed(seed)

# noisy horizontal or vertical bars
n = 640
labels = torch.randint(0, 2, (n,))
images = 0.4 * torch.randn(n, 1, 10, 10)
for i in range(n):
    k = int(torch.randint(0, 10, ()))
    if labels[i] == 0:
        images[i, 0, k, :] += 1
    else:
        images[i, 0, :, k] += 1


def block(width_in, width_out):
    return nn.Sequential(nn.Conv2d(width_in, width_out, 3, bias=False), nn.BatchNorm2d(width_out), nn.ReLU())


model = nn.Sequential(block(1, 8), block(8, 8), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 9, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
for i in (0, 1):
    model[i][1] = nn.GroupNorm(2, 8)

train = DataLoader(TensorDataset(images[:512], labels[:512]), batch_size=64, shuffle=True)
loss_fn = nn.CrossEntropyLoss()
for epoch in range(3):
    model.train()
    for x, y in train:
        loss = loss_fn(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"loss {loss.item():.4f}")
    model.eval()
    with torch.no_grad():
        accuracy = (model(images[512:]).argmax(1) == labels[512:]).float().mean().item()
    print(f"accuracy after epoch {epoch}: {accuracy:.3f}")
