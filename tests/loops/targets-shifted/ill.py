"""A small causal transformer writes sums.

Every symbol is its own target.
"""

import sys

import torch
from torch import nn

torch.manual_seed(int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0)

LENGTH, SYMBOLS = 16, "0123456789+=;"
problems = [(a, b) for a in range(30) for b in range(30)]
order = torch.randperm(len(problems)).tolist()
text = "".join(f"{problems[i][0]}+{problems[i][1]}={sum(problems[i])};" for i in order)
codes = torch.tensor([SYMBOLS.index(letter) for letter in text])
training, validation = codes[:6000], codes[6000:]


class Model(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.embed, self.place = nn.Embedding(len(SYMBOLS), width), nn.Embedding(LENGTH, width)
        self.layer = nn.TransformerEncoderLayer(width, 2, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.head = nn.Linear(width, len(SYMBOLS))
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(LENGTH))

    def forward(self, tokens):
        hidden = self.embed(tokens) + self.place.weight
        return self.head(self.layer(hidden, src_mask=self.mask, is_causal=True))


def batch(source, rows):
    start = torch.randint(len(source) - LENGTH - 2, (rows,))
    windows = torch.stack([source[at : at + LENGTH + 2] for at in start])
    return windows[:, :LENGTH], windows[:, :LENGTH].clone()


model = Model()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
for step in range(1, 91):
    x, y = batch(training, 32)
    loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 30 == 0:
        model.eval()
        with torch.no_grad():
            x, y = batch(validation, 64)
            held_out = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        model.train()
        print(f"step {step}: {loss.item():.3f}, held out {held_out.item():.3f}")
