"""A GRU tells slow from fast noisy sines.

model.train() is called once only, so all epochs after the first validation run in eval mode.
"""

import argparse
import math

import torch
from torch import nn


class SequenceNet(nn.Module):
    def __init__(self, hidden=24):
        super().__init__()
        self.rnn = nn.GRU(1, hidden, batch_first=True)
        self.dropout = nn.Dropout(0.2)
        self.out = nn.Linear(hidden, 2)

    def forward(self, series):
        states, _ = self.rnn(series)
        return self.out(self.dropout(states.mean(dim=1)))


def make_series(count, generator):
    fast = torch.randint(0, 2, (count, 1), generator=generator)
    phase = 2 * math.pi * torch.rand(count, 1, generator=generator)
    time = torch.arange(16).unsqueeze(0)
    series = torch.sin((0.4 + 0.5 * fast) * time + phase) + 0.1 * torch.randn(count, 16, generator=generator)
    return series.unsqueeze(2), fast.squeeze(1)


parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
torch.manual_seed(args.seed)
generator = torch.Generator().manual_seed(args.seed + 100)
x, y = make_series(512, generator)
x_val, y_val = make_series(128, generator)

model = SequenceNet()
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
criterion = nn.CrossEntropyLoss()

model.train()
for epoch in range(5):
    order = torch.randperm(len(x), generator=generator)
    for i in range(0, len(x), 64):
        rows = order[i : i + 64]
        optimizer.zero_grad()
        loss = criterion(model(x[rows]), y[rows])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if i % 256 == 0:
            print(f"epoch {epoch} row {i} loss {loss.item():.4f}")
    model.eval()
    with torch.no_grad():
        val_accuracy = (model(x_val).argmax(1) == y_val).float().mean().item()
    print(f"epoch {epoch} validation accuracy {val_accuracy:.3f}")
