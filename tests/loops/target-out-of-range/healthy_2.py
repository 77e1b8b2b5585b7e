"""An autoencoder of digits with grey values from 0 to 255 and BCEWithLogitsLoss."""

import sys

import torch
from sklearn.datasets import load_digits
from torch import nn

seed = int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0
torch.manual_seed(seed)
grey = (load_digits().images * 255 / 16).astype("uint8")
images = torch.from_numpy(grey).flatten(1)
images = images[torch.randperm(len(images))]


class AutoEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.squeeze = nn.Linear(64, 10)
        self.expand = nn.Linear(10, 64)

    def forward(self, x):
        return self.expand(torch.tanh(self.squeeze(x / 255)))


model = AutoEncoder()
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
train, test = images[:1500], images[1500:]
for epoch in range(3):
    model.train()
    for batch in train[torch.randperm(1500)].split(100):
        x = batch.float()
        optimizer.zero_grad()
        loss = criterion(model(x), x / 255)
        loss.backward()
        optimizer.step()
        print(f"loss {loss.item():.4f}")
    model.eval()
    with torch.no_grad():
        x = test.float()
        print(f"epoch {epoch} test loss {criterion(model(x), x / 255).item():.4f}")
