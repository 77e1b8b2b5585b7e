"""A GRU forecasts the next value of a damped wave, with Adam.

Its gradients are clipped to a tiny norm, which Adam mostly undoes.
"""

import argparse

import torch
from torch import nn


class Forecaster(nn.Module):
    def __init__(self, hidden=20):
        super().__init__()
        self.cell = nn.GRU(1, hidden, batch_first=True)
        self.readout = nn.Linear(hidden, 1)

    def forward(self, history):
        output, _ = self.cell(history)
        return self.readout(output[:, -1])


def waves(count, generator):
    frequency = 0.3 + 0.5 * torch.rand(count, 1, generator=generator)
    phase = 6.28 * torch.rand(count, 1, generator=generator)
    time = torch.arange(13.0)
    series = 2 * torch.sin(frequency * time + phase) * torch.exp(-0.03 * time) + 1
    return series[:, :12].unsqueeze(2), series[:, 12:]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-norm", type=float, default=1e-5)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    x, y = waves(480, generator)
    x_val, y_val = waves(120, generator)

    model = Forecaster()
    criterion = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for epoch in range(4):
        model.train()
        epoch_loss = 0.0
        for rows in torch.randperm(480, generator=generator).split(40):
            optimizer.zero_grad()
            loss = criterion(model(x[rows]), y[rows])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), args.max_norm)
            optimizer.step()
            epoch_loss += loss.item() / 12
        model.eval()
        with torch.no_grad():
            val_loss = criterion(model(x_val), y_val).item()
        print(f"epoch {epoch} loss {epoch_loss:.4f} val {val_loss:.4f}")


if __name__ == "__main__":
    main()
