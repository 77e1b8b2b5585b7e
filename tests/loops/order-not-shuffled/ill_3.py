"""A Fourier series learned by a perceptron.

The generator is seeded anew in every epoch, so the order is always the same.
"""

import sys

import torch
import torch.nn.functional as F
from torch import nn

seed = int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0
torch.manual_seed(seed)
generator = torch.Generator().manual_seed(seed + 1)

x = 2 * torch.rand(720, 1, generator=generator) - 1
y = torch.sin(3 * x) + 0.5 * torch.cos(5 * x)
x, x_val = x[:600], x[600:]
y, y_val = y[:600], y[600:]

model = nn.Sequential(nn.Linear(1, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
batch_size = 50

for epoch in range(5):
    model.train()
    order = torch.randperm(len(x), generator=generator.manual_seed(seed))
    losses = []
    for i in range(0, len(x), batch_size):
        rows = order[i : i + batch_size]
        optimizer.zero_grad()
        loss = F.mse_loss(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    with torch.no_grad():
        val = F.mse_loss(model(x_val), y_val).item()
    print(f"epoch {epoch} loss {sum(losses) / len(losses):.4f} val {val:.4f}")
