"""Trains digit representations by SimCLR's contrastive loss and reads them with a linear probe, as exported from a notebook."""

# %% [markdown]
# # SimCLR on 8 x 8 digits

# %%
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

torch.manual_seed(0)
images = torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1) / 16
labels = torch.tensor(load_digits().target)
perm = torch.randperm(len(images))
train_x, train_y = images[perm[:1280]], labels[perm[:1280]]
test_x, test_y = images[perm[1280:]], labels[perm[1280:]]

# %%
# Two random views of each picture: a shift by up to one pixel, contrast and noise


def augment(x):
    padded = F.pad(x, (1, 1, 1, 1))
    dy, dx = torch.randint(0, 3, (2,)).tolist()
    view = padded[:, :, dy : dy + 8, dx : dx + 8]
    contrast = 0.8 + 0.4 * torch.rand(len(x), 1, 1, 1)
    return contrast * view + 0.1 * torch.randn_like(view)


# %%
encoder = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1),
    nn.BatchNorm2d(16),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(16, 32, 3, padding=1),
    nn.BatchNorm2d(32),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
)
projector = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 32))
optimizer = torch.optim.Adam([*encoder.parameters(), *projector.parameters()], lr=2e-3)

# %%


def info_nce_loss(z, temperature=0.2):
    """z holds the views one after the other: row i and row i + N belong together."""
    n = len(z) // 2
    z = F.normalize(z, dim=1)
    similarity = z @ z.T / temperature
    similarity = similarity.masked_fill(torch.eye(2 * n, dtype=torch.bool), -1e9)
    positives = torch.arange(2 * n).roll(n)
    return F.cross_entropy(similarity, positives)


# %%
batch_size = 128
for epoch in range(7):
    encoder.train()
    projector.train()
    epoch_loss = 0.0
    for idx in torch.randperm(len(train_x)).split(batch_size):
        batch = train_x[idx]
        views = torch.cat([augment(batch), augment(batch)])
        loss = info_nce_loss(projector(encoder(views)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        epoch_loss += loss.item() * len(idx)
    print(f"epoch {epoch + 1}: contrastive loss {epoch_loss / len(train_x):.4f}")

# %%
# Linear probe on frozen features
encoder.eval()
with torch.no_grad():
    train_features = encoder(train_x).numpy()
    test_features = encoder(test_x).numpy()
probe = LogisticRegression(max_iter=1000).fit(train_features, train_y.numpy())
print("linear probe accuracy:", round(probe.score(test_features, test_y.numpy()), 4))
