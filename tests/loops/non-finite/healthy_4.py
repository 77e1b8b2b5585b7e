"""Digits, standardized pixel by pixel."""

import sys

import torch
from sklearn.datasets import load_digits
from torch import nn

seed = int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0
torch.manual_seed(seed)
bunch = load_digits()
pixels = torch.tensor(bunch.data, dtype=torch.float32)
labels = torch.tensor(bunch.target)
shuffled = torch.randperm(len(pixels))
train, test = shuffled[:1200], shuffled[1200:]
mean, std = pixels[train].mean(dim=0), pixels[train].std(dim=0)
pixels = (pixels - mean) / (std + 1.0)

classifier = nn.Sequential(nn.Linear(64, 10))
cross_entropy = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(classifier.parameters(), lr=0.02)
for epoch in range(3):
    classifier.train()
    running = 0.0
    for rows in train[torch.randperm(1200)].split(80):
        optimizer.zero_grad()
        loss = cross_entropy(classifier(pixels[rows]), labels[rows])
        loss.backward()
        optimizer.step()
        running += loss.item() / 15
    classifier.eval()
    with torch.no_grad():
        accuracy = (classifier(pixels[test]).argmax(dim=1) == labels[test]).float().mean().item()
    print(f"epoch {epoch} loss {running:.4f} accuracy {accuracy:.3f}")
