"""Trains a convolutional net with micro-batches whose gradients are accumulated to a larger batch."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

MICRO_BATCH = 16
ACCUMULATION_STEPS = 4
EPOCHS = 4


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 3, padding=1)
        self.norm1 = nn.GroupNorm(3, 12)
        self.conv2 = nn.Conv2d(12, 24, 3, padding=1)
        self.norm2 = nn.GroupNorm(4, 24)
        self.fc = nn.Linear(24 * 4, 10)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.norm2(self.conv2(x))), 2)
        return self.fc(self.dropout(x.flatten(1)))


def get_dataloaders():
    digits = load_digits()
    x = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16.0
    y = torch.tensor(digits.target)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=357, random_state=0)
    train_loader = DataLoader(TensorDataset(x_train, y_train), batch_size=MICRO_BATCH, shuffle=True)
    test_loader = DataLoader(TensorDataset(x_test, y_test), batch_size=128)
    return train_loader, test_loader


def validate(model, loader):
    model.eval()
    correct = 0
    with torch.no_grad():
        for x, y in loader:
            correct += (model(x).argmax(dim=1) == y).sum().item()
    return correct / len(loader.dataset)


def main():
    torch.manual_seed(5)
    train_loader, test_loader = get_dataloaders()
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    num_batches = len(train_loader)

    for epoch in range(EPOCHS):
        model.train()
        epoch_loss = 0.0
        optimizer.zero_grad()
        for i, (x, y) in enumerate(train_loader):
            # the last window of an epoch can be shorter
            window_start = i - i % ACCUMULATION_STEPS
            window = min(ACCUMULATION_STEPS, num_batches - window_start)
            loss = F.cross_entropy(model(x), y)
            (loss / window).backward()
            epoch_loss += loss.item()

            if (i + 1) % ACCUMULATION_STEPS == 0 or i + 1 == num_batches:
                nn.utils.clip_grad_norm_(model.parameters(), 5.0)
                optimizer.step()
                optimizer.zero_grad()
        print(f"epoch {epoch}: train loss {epoch_loss / num_batches:.4f}  test acc {validate(model, test_loader):.4f}")


if __name__ == "__main__":
    main()
