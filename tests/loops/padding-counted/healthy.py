"""A language model of counted words: sentences of several lengths in one batch."""

import sys

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

torch.manual_seed(int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0)

PAD, END, WORDS = 0, 1, 24


def sentence(length):
    """Words that go up by one to three, in a circle."""
    steps = torch.randint(1, 4, (length,)).cumsum(0)
    return torch.cat([2 + (int(torch.randint(WORDS, ())) + steps) % WORDS, torch.tensor([END])])


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(WORDS + 2, 32, padding_idx=PAD)
        self.rnn = nn.GRU(32, 48, batch_first=True)
        self.out = nn.Linear(48, WORDS + 2)

    def forward(self, tokens):
        return self.out(self.rnn(self.embed(tokens))[0])


sentences = [sentence(34 if torch.rand(()) < 0.12 else int(torch.randint(5, 9, ()))) for _ in range(700)]
model = Model()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)


def loss_of(batch):
    tokens = pad_sequence(batch, batch_first=True, padding_value=PAD)
    logits = model(tokens[:, :-1])
    return nn.functional.cross_entropy(logits.reshape(-1, WORDS + 2), tokens[:, 1:].reshape(-1), ignore_index=PAD)


for epoch in range(4):
    model.train()
    for rows in torch.randperm(600).split(30):
        optimizer.zero_grad()
        loss = loss_of([sentences[row] for row in rows])
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        print(f"epoch {epoch}: loss {loss.item():.3f}, validation {loss_of(sentences[600:]).item():.3f}")
