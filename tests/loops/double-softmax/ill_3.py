"""A transformer encoder tells which of four patterns hides in a noisy sequence, with functions only.

F.cross_entropy is given the softmax of the logits.
"""

import argparse

import torch
import torch.nn.functional as F
from torch import nn


class PatternNet(nn.Module):
    def __init__(self, width=24):
        super().__init__()
        self.embed = nn.Linear(4, width)
        self.position = nn.Parameter(0.02 * torch.randn(10, width))
        layer = nn.TransformerEncoderLayer(width, 2, dim_feedforward=48, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1)
        self.out = nn.Linear(width, 4)

    def forward(self, x):
        return self.out(self.encoder(self.embed(x) + self.position).mean(dim=1))


def sequences(count, generator):
    labels = torch.randint(0, 4, (count,), generator=generator)
    x = 0.5 * torch.randn(count, 10, 4, generator=generator)
    x += F.one_hot(labels, 4).unsqueeze(1)
    return x, labels


def objective(model, x, y):
    output = F.softmax(model(x), dim=-1)
    return F.cross_entropy(output, y)


def main(seed):
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    x, y = sequences(480, generator)
    x_val, y_val = sequences(96, generator)
    model = PatternNet()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for epoch in range(2):
        model.train()
        for rows in torch.randperm(480, generator=generator).split(32):
            loss = objective(model, x[rows], y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            print(f"loss {loss.item():.4f}")
        model.eval()
        with torch.no_grad():
            print(f"epoch {epoch} validation loss {objective(model, x_val, y_val).item():.4f}")


cli = argparse.ArgumentParser()
cli.add_argument("--seed", type=int, default=0)
main(cli.parse_args().seed)
