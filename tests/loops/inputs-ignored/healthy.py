"""Two sensors side by side, read by a net with two branches."""

import argparse

import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
torch.manual_seed(args.seed)


class Sensors(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 24)
        self.second = nn.Linear(24, 3)

    def forward(self, x):
        hidden = x * 2
        return self.second(torch.tanh(self.first(hidden)))


x = torch.randn(600, 6)
y = (x[:, 0] + x[:, 1] > 0).long() + (x[:, 2] > 0.3).long()
x_val, y_val = x[:150], y[:150]
x_train, y_train = x[150:], y[150:]

model = Sensors()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

for epoch in range(5):
    model.train()
    total = 0.0
    for rows in torch.randperm(len(x_train)).split(32):
        optimizer.zero_grad()
        loss = criterion(model(x_train[rows]), y_train[rows])
        loss.backward()
        optimizer.step()
        total += loss.item() * len(rows)
    model.eval()
    with torch.no_grad():
        val_loss = criterion(model(x_val), y_val).item()
    print(f"epoch {epoch} loss {total / len(x_train):.4f} val_loss {val_loss:.4f}")
