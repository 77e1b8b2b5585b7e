"""Linear regression with SGD and a squared error written by hand."""

import sys

import torch
from torch import nn

seed = 0
for flag, value in zip(sys.argv[1:], sys.argv[2:], strict=False):
    if flag == "--seed":
        seed = int(value)
torch.manual_seed(seed)

x = torch.randn(400, 3)
y = x @ torch.tensor([[1.5], [-2.0], [0.5]]) + 0.3 + 0.05 * torch.randn(400, 1)

model = nn.Linear(3, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.02)

for epoch in range(3):
    model.train()
    for idx in torch.randperm(320).split(16):
        pred = model(x[idx])
        loss = ((pred - y[idx]) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"loss {loss.item():.4f}")
    model.eval()
    with torch.no_grad():
        val = ((model(x[320:]) - y[320:]) ** 2).mean()
    print(f"epoch {epoch + 1} val {val.item():.4f}")
