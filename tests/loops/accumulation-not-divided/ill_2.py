"""Linear regression with SGD, large batches passed in chunks. The chunks' mean losses are added up, not averaged."""

import sys

import torch
from torch import nn

CHUNKS = 8


def seed_from(argv):
    return int(argv[argv.index("--seed") + 1]) if "--seed" in argv else 0


def make_data(generator):
    x = torch.randn(1200, 10, generator=generator)
    weights = torch.linspace(-1, 1, 10).unsqueeze(1)
    return x, x @ weights + 0.05 * torch.randn(1200, 1, generator=generator)


def run(seed):
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    x, y = make_data(generator)
    net = nn.Linear(10, 1)
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    mse = nn.MSELoss()
    for epoch in range(4):
        total = 0.0
        for rows in torch.randperm(1024, generator=generator).split(128):
            sgd.zero_grad()
            for part in rows.chunk(CHUNKS):
                loss = mse(net(x[part]), y[part])
                loss.backward()
                total += loss.item()
            sgd.step()
        print(f"epoch {epoch} loss {total / 8:.5f}")
    net.eval()
    with torch.no_grad():
        print(f"held-out error {mse(net(x[1024:]), y[1024:]).item():.5f}")


run(seed_from(sys.argv))
