"""A convolutional net on digits normalizes maps that are down to one pixel."""

import sys

import torch
from sklearn.datasets import load_digits
from torch import nn

BATCH = 20

seed = int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0
torch.manual_seed(seed)
digits = load_digits(n_class=3)
images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
labels = torch.tensor(digits.target)
order = torch.randperm(len(images))
train, test = order[:120], order[120:320]

model = nn.Sequential(
    nn.Conv2d(1, 8, 4, stride=2),
    nn.ReLU(),
    nn.Conv2d(8, 16, 3),
    nn.BatchNorm2d(16),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(16, 3),
)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
criterion = nn.CrossEntropyLoss()
for epoch in range(4):
    model.train()
    total = 0.0
    for rows in train[torch.randperm(120)].split(BATCH):
        loss = criterion(model(images[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * BATCH / 120
    model.eval()
    with torch.no_grad():
        val_loss = criterion(model(images[test]), labels[test]).item()
    print(f"epoch {epoch} loss {total:.4f} validation {val_loss:.4f}")
