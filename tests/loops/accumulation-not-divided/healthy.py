"""A small convolutional net on digits, gradients accumulated over four micro-batches."""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser(description="digits with gradient accumulation")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--accumulate", type=int, default=4)
options = parser.parse_args()
torch.manual_seed(options.seed)

digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 8 - 1
labels = torch.tensor(digits.target)
order = torch.randperm(len(images))
train_rows, test_rows = order[:1024], order[1024:1424]
loader = DataLoader(TensorDataset(images[train_rows], labels[train_rows]), batch_size=16, shuffle=True)


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 12, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(12 * 16, 10)

    def forward(self, x):
        x = self.pool(torch.relu(self.conv(x)))
        return self.fc(x.flatten(1))


model = ConvNet()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

for epoch in range(options.epochs):
    model.train()
    losses = []
    optimizer.zero_grad()
    for i, (x, y) in enumerate(loader):
        loss = criterion(model(x), y)
        losses.append(loss.item())
        (loss / options.accumulate).backward()
        if (i + 1) % options.accumulate == 0:
            optimizer.step()
            optimizer.zero_grad()
    model.eval()
    with torch.no_grad():
        guesses = model(images[test_rows]).argmax(1)
    accuracy = (guesses == labels[test_rows]).float().mean().item()
    print(f"[{epoch + 1}/{options.epochs}] loss: {sum(losses) / len(losses):.4f} test accuracy: {accuracy:.3f}")
