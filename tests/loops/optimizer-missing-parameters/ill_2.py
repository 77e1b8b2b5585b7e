"""Wine cultivars by distance to learned prototypes.

The prototypes, parameters of the loss module, are in no optimizer.
"""

import sys

import torch
import torch.nn.functional as F
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn


class PrototypeLoss(nn.Module):
    """Cross-entropy of minus the squared distances to one learned point per class."""

    def __init__(self, classes, width):
        super().__init__()
        self.prototypes = nn.Parameter(torch.randn(classes, width))

    def distances(self, embedded):
        return (embedded.unsqueeze(1) - self.prototypes).pow(2).sum(dim=2)

    def forward(self, embedded, labels):
        return F.cross_entropy(-self.distances(embedded), labels)


def main(seed):
    torch.manual_seed(seed)
    data = load_wine()
    parts = train_test_split(data.data, data.target, test_size=50, random_state=seed, stratify=data.target)
    scaler = StandardScaler().fit(parts[0])
    x = torch.tensor(scaler.transform(parts[0]), dtype=torch.float32)
    x_test = torch.tensor(scaler.transform(parts[1]), dtype=torch.float32)
    y, y_test = torch.tensor(parts[2]), torch.tensor(parts[3])

    embed = nn.Sequential(nn.Linear(13, 16), nn.Tanh(), nn.Linear(16, 4))
    objective = PrototypeLoss(3, 4)
    optimizer = torch.optim.AdamW(embed.parameters(), lr=0.02)

    for epoch in range(8):
        embed.train()
        objective.train()
        for rows in torch.randperm(len(x)).split(32):
            loss = objective(embed(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        embed.eval()
        objective.eval()
        with torch.no_grad():
            nearest = objective.distances(embed(x_test)).argmin(dim=1)
        print(f"{epoch}: loss={loss.item():.4f} accuracy={(nearest == y_test).float().mean().item():.3f}")


if __name__ == "__main__":
    main(int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0)
