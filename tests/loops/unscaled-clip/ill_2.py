"""A convolutional net in half precision with a gradient scaler and AdamW.

clip_grad_norm_ meets the scaled gradients.
"""

import sys

import torch
from torch import nn
from torch.amp import GradScaler, autocast

seed = int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0
torch.manual_seed(seed)

# a bright spot left or right of the middle
count = 600
side = torch.randint(0, 2, (count,))
images = 0.3 * torch.randn(count, 1, 8, 8)
row, column = torch.randint(0, 8, (count,)), torch.randint(0, 4, (count,)) + 4 * side
images[torch.arange(count), 0, row, column] += 2

net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 2))
adamw = torch.optim.AdamW(net.parameters(), lr=0.01)
scaler = GradScaler("cpu", init_scale=1024.0)
criterion = nn.CrossEntropyLoss()

for epoch in range(4):
    net.train()
    for rows in torch.randperm(500).split(50):
        with autocast("cpu", dtype=torch.float16):
            loss = criterion(net(images[rows]), side[rows])
        adamw.zero_grad()
        scaler.scale(loss).backward()
        nn.utils.clip_grad_norm_(net.parameters(), max_norm=2.0)
        scaler.step(adamw)
        scaler.update()
    net.eval()
    with torch.no_grad(), autocast("cpu", dtype=torch.float16):
        val = criterion(net(images[500:]), side[500:])
    print(f"epoch {epoch} loss {loss.item():.4f} val {val.item():.4f}")
