"""Rebuilds pictures of waves in half precision.

Nobody scales the loss.
"""

import sys

import torch
from torch import nn

torch.manual_seed(int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0)

SIZE, WEIGHT = 48, 2e-4
place = torch.linspace(0, 6.28, SIZE)
numbers = torch.randn(384, 6)
waves = torch.stack([torch.sin((k + 1) * place) for k in range(6)])
pictures = (numbers @ waves)[:, :, None] * torch.sin(place / 2)
pictures = pictures.flatten(1) / pictures.std()

model = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, SIZE * SIZE))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for epoch in range(14):
    model.train()
    for rows in torch.randperm(320).split(64):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            rebuilt = model(numbers[rows])
            loss = WEIGHT * nn.functional.mse_loss(rebuilt.float(), pictures[rows])
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        held_out = nn.functional.mse_loss(model(numbers[320:]), pictures[320:])
    print(f"epoch {epoch}: loss {loss.item() / WEIGHT:.4f}, held out {held_out.item():.4f}")
