"""An autoencoder of digits made of two modules. The optimizer is given the decoder's parameters only."""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader

parser = argparse.ArgumentParser()
parser.add_argument("--seed", default=0, type=int)
args = parser.parse_args()

torch.manual_seed(args.seed)

pixels = torch.tensor(load_digits().data, dtype=torch.float32) / 16
pixels = pixels[torch.randperm(len(pixels))]
train, held_out = pixels[:1536], pixels[1536:]

encoder = nn.Sequential(nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 12))
decoder = nn.Sequential(nn.Linear(12, 40), nn.ReLU(), nn.Linear(40, 64))

optimizer = torch.optim.Adam(decoder.parameters(), lr=5e-3)
mse = nn.MSELoss()

for epoch in range(4):
    encoder.train()
    decoder.train()
    epoch_loss = 0.0
    for batch in DataLoader(train, batch_size=128, shuffle=True):
        optimizer.zero_grad()
        code = encoder(batch)
        loss = mse(decoder(code), batch)
        loss.backward()
        optimizer.step()
        epoch_loss += loss.item() * len(batch)

    encoder.eval()
    decoder.eval()
    with torch.no_grad():
        held_out_loss = mse(decoder(encoder(held_out)), held_out)
    print(f"epoch {epoch}  train loss {epoch_loss / len(train):.5f}  held-out {held_out_loss.item():.5f}")
