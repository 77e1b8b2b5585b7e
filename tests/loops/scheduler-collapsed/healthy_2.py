"""A polynomial fitted with SGD and a step schedule."""

import sys

import torch
from torch import nn, optim


def features(x):
    return torch.cat([x, x**2, x**3], dim=1)


def fit(model, x, y, epochs, generator):
    optimizer = optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.1)
    for epoch in range(epochs):
        model.train()
        for rows in torch.randperm(len(x), generator=generator).split(25):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
        scheduler.step()
        yield epoch, loss.item()


if __name__ == "__main__":
    seed = int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    x = 2 * torch.rand(500, 1, generator=generator) - 1
    y = 1 - x + 2 * x**3
    model = nn.Linear(3, 1)
    with torch.no_grad():
        print("loss before", nn.functional.mse_loss(model.eval()(features(x[400:])), y[400:]).item())
    for epoch, loss in fit(model, features(x[:400]), y[:400], 3, generator):
        model.eval()
        with torch.no_grad():
            held_out = nn.functional.mse_loss(model(features(x[400:])), y[400:]).item()
        print(f"epoch {epoch} loss {loss:.5f} held out {held_out:.5f}")
