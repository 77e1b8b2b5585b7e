"""An LSTM tells whether a noisy series ends higher than it began.

It is fed rows first, but was not told so by batch_first.
"""

import sys

import torch
import torch.nn as nn


class TrendNet(nn.Module):
    def __init__(self, hidden_size=20):
        super().__init__()
        self.lstm = nn.LSTM(input_size=2, hidden_size=hidden_size)
        self.fc = nn.Linear(hidden_size, 1)

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.fc(out[:, -1, :])


def load(count, generator):
    slope = torch.randn(count, 1, generator=generator)
    time = torch.linspace(-1, 1, 10)
    series = slope * time + 0.2 * torch.randn(count, 10, generator=generator)
    x = torch.stack([series, time.expand(count, 10)], dim=2)
    return x, (slope > 0).float()


seed = int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0
torch.manual_seed(seed)
generator = torch.Generator().manual_seed(seed)
x_train, y_train = load(500, generator)
x_test, y_test = load(100, generator)

model = TrendNet()
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

for epoch in range(4):
    model.train()
    permutation = torch.randperm(500, generator=generator)
    for i in range(0, 500, 50):
        index = permutation[i : i + 50]
        optimizer.zero_grad()
        loss = criterion(model(x_train[index]), y_train[index])
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        test_loss = criterion(model(x_test), y_test)
    print(f"Epoch {epoch + 1}, loss: {loss.item():.4f}, test: {test_loss.item():.4f}")
