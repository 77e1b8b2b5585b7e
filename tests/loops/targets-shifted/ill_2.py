"""A character model that computes its own loss, in the manner of pretrained ones.

The labels are shifted in the data, and once more in the model.
"""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
torch.manual_seed(args.seed)

letters = "abcdefghijklmnop"
steps = torch.randint(1, 4, (4000,))
codes = steps.cumsum(0) % len(letters)
windows = codes.unfold(0, 20, 5)


class Writer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(len(letters), 24)
        self.rnn = nn.GRU(24, 48, batch_first=True)
        self.head = nn.Linear(48, len(letters))

    def forward(self, input_ids, labels=None):
        logits = self.head(self.rnn(self.embed(input_ids))[0])
        if labels is None:
            return None, logits
        shifted = F.pad(labels, (0, 1), value=-100)[:, 1:]
        return F.cross_entropy(logits.reshape(-1, len(letters)), shifted.reshape(-1)), logits


inputs, labels = windows[:, :-1].clone(), windows[:, 1:].clone()
split = 600
loader = DataLoader(TensorDataset(inputs[:split], labels[:split]), batch_size=40, shuffle=True)
model = Writer()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for epoch in range(4):
    model.train()
    for ids, wanted in loader:
        optimizer.zero_grad(set_to_none=True)
        loss, _ = model(ids, labels=wanted)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        held_out, _ = model(inputs[split:], labels=labels[split:])
    print(f"epoch {epoch}: {loss.item():.3f}, held out {held_out.item():.3f}")
