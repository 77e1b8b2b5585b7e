"""Tags every word of a sentence with an LSTM, time first.

The class that fills the tags up is counted.
"""

import argparse

import torch
from torch import nn, optim
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

TAGS, WORDS = 4, 40


def collate(pairs):
    words, tags = zip(*pairs, strict=True)
    return pad_sequence(words, padding_value=WORDS), pad_sequence(tags, padding_value=TAGS)


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(WORDS + 1, 24)
        self.lstm = nn.LSTM(24, 24, bidirectional=True)
        self.head = nn.Linear(48, TAGS + 1)

    def forward(self, words):
        return self.head(self.lstm(self.embed(words))[0])


parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
torch.manual_seed(parser.parse_args().seed)
data = []
for _ in range(640):
    words = torch.randint(WORDS, (30 if torch.rand(()) < 0.1 else int(torch.randint(4, 10, ())),))
    data.append((words, (words // 10 + words.roll(1) // 20) % TAGS))
loader = DataLoader(data[:512], batch_size=32, shuffle=True, collate_fn=collate)
held_out = DataLoader(data[512:], batch_size=64, collate_fn=collate)
net = Tagger()
criterion = nn.CrossEntropyLoss()
optimizer = optim.Adam(net.parameters(), lr=0.01)
for epoch in range(5):
    net.train()
    for words, tags in loader:
        optimizer.zero_grad()
        loss = criterion(net(words).permute(0, 2, 1), tags)
        loss.backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        losses = [criterion(net(words).permute(0, 2, 1), tags).item() for words, tags in held_out]
    print(f"epoch {epoch}: {loss.item():.3f}, held out {sum(losses) / len(losses):.3f}")
