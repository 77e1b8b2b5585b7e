"""Goes on with a training of digits from its checkpoint."""

import sys
import tempfile
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0)

x, y = load_digits(return_X_y=True)
x, y = torch.tensor(x, dtype=torch.float32) / 16, torch.tensor(y)
x = (x - x.mean()) / x.std()
order = torch.randperm(len(x))
x, y = x[order], y[order]


def build():
    model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    return model, torch.optim.Adam(model.parameters(), lr=2e-3)


def write(model, optimizer, epoch):
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}, path)


folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "last.pt"
first, adam = build()
moments = {
    number: {
        "step": torch.tensor(400.0),
        "exp_avg": 1e-3 * torch.randn_like(one),
        "exp_avg_sq": 1e-5 * torch.rand_like(one),
    }
    for number, one in enumerate(first.parameters())
}
adam.load_state_dict({"state": moments, "param_groups": adam.state_dict()["param_groups"]})
write(first, adam, 3)

model, optimizer = build()
checkpoint = torch.load(path)
model.load_state_dict(checkpoint["model"])
optimizer.load_state_dict(checkpoint["optimizer"])
for epoch in range(checkpoint["epoch"], 8):
    model.train()
    for rows in torch.randperm(1400).split(70):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        accuracy = (model(x[1400:]).argmax(1) == y[1400:]).float().mean()
    print(f"epoch {epoch}: loss {loss.item():.4f}, accuracy {accuracy:.3f}")
    write(model, optimizer, epoch + 1)
folder.cleanup()
