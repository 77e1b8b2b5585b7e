"""A convolutional autoencoder of digits with a sigmoid at its end and squared error.

The pixels reach up to 16, the sigmoid only up to 1.
"""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader


class Coder(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU())
        self.up = nn.Sequential(nn.ConvTranspose2d(8, 8, 4, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1))

    def forward(self, x):
        return torch.sigmoid(self.up(self.down(x)))


def main(seed):
    torch.manual_seed(seed)
    images = torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1)
    images = images[torch.randperm(len(images))]
    loader = DataLoader(images[:1200], batch_size=100, shuffle=True)
    model = Coder()
    mse = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for epoch in range(3):
        model.train()
        for batch in loader:
            optimizer.zero_grad()
            loss = mse(model(batch), batch)
            loss.backward()
            optimizer.step()
            print(f"loss {loss.item():.4f}")
        model.eval()
        with torch.no_grad():
            print(f"epoch {epoch} held out {mse(model(images[1200:]), images[1200:]).item():.4f}")


parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
main(parser.parse_args().seed)
