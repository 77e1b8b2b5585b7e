"""Two layers written with plain tensors read digits."""

import math
import sys

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

seed = int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0
g = torch.Generator().manual_seed(seed)

data = load_digits()
x = torch.tensor(data.data, dtype=torch.float32) / 16
y = torch.tensor(data.target)
order = torch.randperm(len(x), generator=g)
x_train, y_train = x[order[:1400]], y[order[:1400]]
x_test, y_test = x[order[1400:]], y[order[1400:]]

w1 = (torch.randn(64, 40, generator=g) / math.sqrt(64)).requires_grad_()
b1 = torch.zeros(40, requires_grad=True)
w2 = (torch.randn(40, 10, generator=g) / math.sqrt(40)).requires_grad_()
b2 = torch.zeros(10, requires_grad=True)


def forward(images):
    hidden = torch.relu(images @ w1 + b1)
    return torch.log_softmax(hidden @ w2 + b2, dim=1)


optimizer = torch.optim.Adam([w1, b1, w2, b2], lr=0.01)
for epoch in range(4):
    total = 0.0
    for rows in torch.randperm(1400, generator=g).split(140):
        loss = F.nll_loss(forward(x_train[rows]), y_train[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    with torch.no_grad():
        accuracy = (forward(x_test).argmax(dim=1) == y_test).float().mean().item()
    print(f"epoch {epoch} loss {total / 10:.4f} test accuracy {accuracy:.3f}")
