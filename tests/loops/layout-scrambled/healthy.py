"""Pictures of coloured blobs, told apart by where the blob is."""

import argparse

import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
torch.manual_seed(args.seed)

where = torch.arange(16)
centre = torch.rand(600, 2) * 11 + 2
colour = torch.rand(600, 1, 1, 3) * 0.7 + 0.3
down = (where[None, :] - centre[:, :1]).square()
across = (where[None, :] - centre[:, 1:]).square()
blob = torch.exp(-(down[:, :, None] + across[:, None, :]) / 18)
pictures = blob[:, :, :, None] * colour + 0.03 * torch.randn(600, 16, 16, 3)
x = pictures.permute(0, 3, 1, 2).contiguous()
x = (x - x.mean()) / x.std()
y = (centre[:, 0] > 7.5).long() * 2 + (centre[:, 1] > 7.5).long()
x_val, y_val = x[:150], y[:150]
x_train, y_train = x[150:], y[150:]

model = nn.Sequential(
    nn.Conv2d(3, 8, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(4),
    nn.Flatten(),
    nn.Linear(128, 4),
)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

for epoch in range(4):
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
