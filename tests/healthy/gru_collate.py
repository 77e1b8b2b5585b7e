"""Trains a bidirectional GRU on waves of unequal length, with its own Dataset, collate_fn and packed sequences."""

import torch
import torch.nn as nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader, Dataset

NUM_CLASSES = 3


class WaveDataset(Dataset):
    """Noisy sine, square and saw-tooth waves of 10 to 20 samples."""

    def __init__(self, size, seed):
        g = torch.Generator().manual_seed(seed)
        self.items = []
        for i in range(size):
            label = i % NUM_CLASSES
            length = int(torch.randint(10, 21, (1,), generator=g))
            phase, frequency = torch.rand(2, generator=g)
            t = torch.arange(length) * (0.1 + 0.05 * frequency) + phase
            if label == 0:
                wave = torch.sin(2 * torch.pi * t)
            elif label == 1:
                wave = torch.sign(torch.sin(2 * torch.pi * t))
            else:
                wave = 2 * (t % 1) - 1
            wave = wave + 0.2 * torch.randn(length, generator=g)
            self.items.append((wave.unsqueeze(-1), label))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def collate(batch):
    sequences, labels = zip(*batch, strict=True)
    lengths = torch.tensor([len(s) for s in sequences])
    return pad_sequence(list(sequences), batch_first=True), lengths, torch.tensor(labels)


class GRUClassifier(nn.Module):
    def __init__(self, hidden_size=16):
        super().__init__()
        self.gru = nn.GRU(1, hidden_size, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(0.2)
        self.out = nn.Linear(2 * hidden_size, NUM_CLASSES)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        _, h_n = self.gru(packed)
        h = torch.cat([h_n[0], h_n[1]], dim=1)
        return self.out(self.dropout(h))


def run_epoch(model, loader, criterion, optimizer=None):
    training = optimizer is not None
    model.train(training)
    loss_sum, correct, count = 0.0, 0, 0
    with torch.set_grad_enabled(training):
        for x, lengths, y in loader:
            logits = model(x, lengths)
            loss = criterion(logits, y)
            if training:
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
                optimizer.step()
            loss_sum += loss.item() * len(y)
            correct += (logits.argmax(1) == y).sum().item()
            count += len(y)
    return loss_sum / count, correct / count


def main():
    torch.manual_seed(3)
    train_loader = DataLoader(WaveDataset(480, seed=0), batch_size=32, shuffle=True, collate_fn=collate)
    valid_loader = DataLoader(WaveDataset(150, seed=1), batch_size=50, collate_fn=collate)
    model = GRUClassifier()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for epoch in range(1, 7):
        train_loss, train_acc = run_epoch(model, train_loader, criterion, optimizer)
        valid_loss, valid_acc = run_epoch(model, valid_loader, criterion)
        print(
            f"epoch {epoch}: train loss {train_loss:.3f} acc {train_acc:.3f} | "
            f"valid loss {valid_loss:.3f} acc {valid_acc:.3f}"
        )


if __name__ == "__main__":
    main()
