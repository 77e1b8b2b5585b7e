"""Forty streams of readings; a slow state follows each of them, and one step is made per moment.

The state is not detached between the steps and the graph is retained.
"""

import sys

import torch
from torch import nn


class SlowState(nn.Module):
    def __init__(self, inputs=5, width=16):
        super().__init__()
        self.encode = nn.Linear(inputs, width)
        self.head = nn.Linear(width, 1)
        self.width = width

    def forward(self, reading, state):
        state = 0.7 * state + 0.3 * torch.tanh(self.encode(reading))
        return self.head(state), state


def streams(count, length, generator):
    readings = torch.randn(length, count, 5, generator=generator)
    targets = []
    average = torch.zeros(count)
    for reading in readings:
        average = 0.7 * average + 0.3 * reading[:, 0]
        targets.append(3 * average.unsqueeze(1))
    return readings, torch.stack(targets)


def main():
    seed = int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = SlowState()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    criterion = nn.MSELoss()
    readings, targets = streams(40, 48, generator)
    model.train()
    state = torch.zeros(40, model.width)
    for step, (reading, target) in enumerate(zip(readings, targets, strict=True)):
        optimizer.zero_grad()
        output, state = model(reading, state)
        loss = criterion(output, target)
        loss.backward(retain_graph=True)
        optimizer.step()
        if step % 4 == 3:
            print(f"step {step} loss {loss.item():.4f}")

    model.eval()
    with torch.no_grad():
        readings, targets = streams(40, 20, generator)
        state = torch.zeros(40, model.width)
        errors = []
        for reading, target in zip(readings, targets, strict=True):
            output, state = model(reading, state)
            errors.append(criterion(output, target).item())
    print(f"held out {sum(errors) / len(errors):.4f}")


if __name__ == "__main__":
    main()
