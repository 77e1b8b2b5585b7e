"""A one-dimensional convolutional net finds where a pulse sits, with accumulated gradients."""

import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

ACCUMULATE = 4
BATCH = 20


class PulseNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv1d(1, 8, 5, padding=2)
        self.conv2 = nn.Conv1d(8, 1, 5, padding=2)

    def forward(self, x):
        return self.conv2(F.relu(self.conv1(x))).squeeze(1)


def pulses(n):
    place = torch.randint(0, 24, (n,))
    x = 0.3 * torch.randn(n, 24)
    x[torch.arange(n), place] += 1.5
    return x.unsqueeze(1), place


seed = int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0
torch.manual_seed(seed)
x, place = pulses(960)
x_val, place_val = pulses(100)
net = PulseNet()
optimizer = torch.optim.Adam(net.parameters(), lr=0.03)

for epoch in range(4):
    net.train()
    epoch_loss = 0.0
    optimizer.zero_grad()
    for i, rows in enumerate(torch.randperm(len(x)).split(BATCH)):
        loss = F.cross_entropy(net(x[rows]), place[rows]) / ACCUMULATE
        loss.backward()
        epoch_loss += loss.item() * ACCUMULATE
        if (i + 1) % ACCUMULATE == 0:
            optimizer.step()
            optimizer.zero_grad()
    net.eval()
    with torch.no_grad():
        hits = (net(x_val).argmax(dim=1) == place_val).sum().item()
    print(f"epoch {epoch} loss {epoch_loss * BATCH / len(x):.4f} hits {hits} of 100")
