"""One transformer layer finds the longest of several arrows."""

import sys

import torch
from torch import nn


class Arrows(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.lift = nn.Linear(2, width)
        self.layer = nn.TransformerEncoderLayer(width, 2, dim_feedforward=32, dropout=0.0, batch_first=True)
        self.point = nn.Linear(width, 1)

    def forward(self, arrows):
        return self.point(self.layer(self.lift(arrows))).squeeze(2)


seed = int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0
torch.manual_seed(seed)
arrows = torch.randn(640, 7, 2)
longest = arrows.norm(dim=2).argmax(dim=1)

model = Arrows()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
for epoch in range(5):
    model.train()
    total = 0.0
    for rows in torch.randperm(512).split(64):
        optimizer.zero_grad()
        loss = criterion(model(arrows[rows]), longest[rows])
        loss.backward()
        optimizer.step()
        total += loss.item() / 8
    model.eval()
    with torch.no_grad():
        accuracy = (model(arrows[512:]).argmax(dim=1) == longest[512:]).float().mean().item()
    print(f"epoch {epoch} loss {total:.4f} accuracy {accuracy:.3f}")
