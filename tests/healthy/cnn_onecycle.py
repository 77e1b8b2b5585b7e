"""Trains a residual convolutional net with batch norm and dropout on small pictures of shapes, with a one-cycle schedule."""

import math
import random

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class CFG:
    seed = 42
    epochs = 5
    batch_size = 48
    max_lr = 0.1
    weight_decay = 5e-4
    classes = ("disc", "square", "cross", "stripes")


def seed_everything(seed):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class ShapesDataset(Dataset):
    """Pictures of 12 x 12 with one shape each, at a random place and with noise."""

    def __init__(self, n, rng):
        self.labels = np.arange(n) % len(CFG.classes)
        yy, xx = np.mgrid[:12, :12]
        self.images = np.empty((n, 1, 12, 12), dtype=np.float32)
        for i, label in enumerate(self.labels):
            cy, cx = rng.integers(4, 8, size=2)
            r = rng.integers(3, 5)
            shape = [
                (yy - cy) ** 2 + (xx - cx) ** 2 <= r * r,
                np.maximum(abs(yy - cy), abs(xx - cx)) < r,
                (abs(yy - cy) < 1) | (abs(xx - cx) < 1),
                (yy + cy) % 3 == 0,
            ][label]
            self.images[i, 0] = shape + 0.2 * rng.standard_normal((12, 12))

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, idx):
        return torch.from_numpy(self.images[idx]), int(self.labels[idx])


class ResidualBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x
        return self.relu(out)


def get_model():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        ResidualBlock(16),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(16, len(CFG.classes)),
    )


def train_fn(model, loader, criterion, optimizer, scheduler):
    model.train()
    losses = []
    for images, labels in loader:
        optimizer.zero_grad(set_to_none=True)
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    return np.mean(losses)


def valid_fn(model, loader, criterion):
    model.eval()
    losses, preds, targets = [], [], []
    for images, labels in loader:
        with torch.no_grad():
            outputs = model(images)
        losses.append(criterion(outputs, labels).item())
        preds.append(outputs.softmax(1).numpy())
        targets.append(labels.numpy())
    accuracy = (np.concatenate(preds).argmax(1) == np.concatenate(targets)).mean()
    return np.mean(losses), accuracy


if __name__ == "__main__":
    seed_everything(CFG.seed)
    rng = np.random.default_rng(CFG.seed)
    train_loader = DataLoader(ShapesDataset(960, rng), batch_size=CFG.batch_size, shuffle=True, drop_last=True)
    valid_loader = DataLoader(ShapesDataset(200, rng), batch_size=2 * CFG.batch_size)

    model = get_model()
    criterion = nn.CrossEntropyLoss(label_smoothing=0.05)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=CFG.weight_decay)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=CFG.max_lr, epochs=CFG.epochs, steps_per_epoch=len(train_loader)
    )

    best_score = -math.inf
    for epoch in range(CFG.epochs):
        avg_loss = train_fn(model, train_loader, criterion, optimizer, scheduler)
        avg_val_loss, score = valid_fn(model, valid_loader, criterion)
        best_score = max(best_score, score)
        lr = scheduler.get_last_lr()[0]
        print(
            f"Epoch {epoch + 1} - avg_train_loss: {avg_loss:.4f}  avg_val_loss: {avg_val_loss:.4f}"
            f"  accuracy: {score:.4f}  lr: {lr:.5f}"
        )
    print(f"best accuracy {best_score:.4f}")
