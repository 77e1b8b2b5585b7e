"""Trains a transformer encoder to tell padded token sequences apart, with warm-up and cosine decay per batch."""

import math

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, TensorDataset

VOCAB, PAD, MAX_LEN = 10, 0, 12


def make_sequences(n, generator):
    """Label 1 where token 1 comes before token 2, label 0 where it comes after."""
    tokens = torch.randint(3, VOCAB, (n, MAX_LEN), generator=generator)
    lengths = torch.randint(6, MAX_LEN + 1, (n,), generator=generator)
    labels = torch.randint(0, 2, (n,), generator=generator)
    for i in range(n):
        first, second = sorted(torch.randperm(int(lengths[i]), generator=generator)[:2].tolist())
        tokens[i, first], tokens[i, second] = (1, 2) if labels[i] else (2, 1)
        tokens[i, lengths[i] :] = PAD
    return tokens, labels


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, max_len):
        super().__init__()
        position = torch.arange(max_len).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = torch.zeros(1, max_len, d_model)
        pe[0, :, 0::2] = torch.sin(position * div_term)
        pe[0, :, 1::2] = torch.cos(position * div_term)
        self.register_buffer("pe", pe)

    def forward(self, x):
        return x + self.pe[:, : x.size(1)]


class TransformerClassifier(nn.Module):
    def __init__(self, d_model=32, nhead=4, layers=1, dropout=0.05):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, d_model, padding_idx=PAD)
        self.position = PositionalEncoding(d_model, MAX_LEN)
        layer = nn.TransformerEncoderLayer(
            d_model, nhead, dim_feedforward=64, dropout=dropout, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(d_model)
        self.head = nn.Linear(d_model, 2)

    def forward(self, tokens):
        padding = tokens == PAD
        x = self.encoder(self.position(self.embed(tokens)), src_key_padding_mask=padding)
        keep = (~padding).unsqueeze(-1)
        pooled = (self.norm(x) * keep).sum(1) / keep.sum(1)
        return self.head(pooled)


def warmup_cosine(warmup_steps, total_steps):
    def factor(step):
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * progress))

    return factor


def validate(model, loader):
    model.eval()
    correct, loss_sum, n = 0, 0.0, 0
    with torch.inference_mode():
        for tokens, labels in loader:
            logits = model(tokens)
            loss_sum += nn.functional.cross_entropy(logits, labels, reduction="sum").item()
            correct += (logits.argmax(-1) == labels).sum().item()
            n += len(labels)
    return loss_sum / n, correct / n


def main():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    train_set = TensorDataset(*make_sequences(768, generator))
    val_set = TensorDataset(*make_sequences(256, generator))
    train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=128)

    epochs = 11
    model = TransformerClassifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01)
    scheduler = LambdaLR(optimizer, warmup_cosine(15, epochs * len(train_loader)))

    for epoch in range(epochs):
        model.train()
        running = 0.0
        for tokens, labels in train_loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(tokens), labels)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            running += loss.item()
        val_loss, val_acc = validate(model, val_loader)
        print(
            f"epoch {epoch}: loss {running / len(train_loader):.4f}, val loss {val_loss:.4f}, "
            f"val acc {val_acc:.3f}, lr {scheduler.get_last_lr()[0]:.2e}"
        )


if __name__ == "__main__":
    main()
