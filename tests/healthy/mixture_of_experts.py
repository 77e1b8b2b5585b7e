"""Trains a sparse mixture of experts with top-2 gating and a load-balancing loss on the digits."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split


class Expert(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.up = nn.Linear(dim, hidden)
        self.down = nn.Linear(hidden, dim)

    def forward(self, x):
        return self.down(F.silu(self.up(x)))


class SparseMoE(nn.Module):
    def __init__(self, dim, hidden, num_experts=6, top_k=2):
        super().__init__()
        self.gate = nn.Linear(dim, num_experts, bias=False)
        self.experts = nn.ModuleList([Expert(dim, hidden) for _ in range(num_experts)])
        self.num_experts, self.top_k = num_experts, top_k

    def forward(self, x):
        probabilities = F.softmax(self.gate(x), dim=-1)
        weights, selected = torch.topk(probabilities, self.top_k, dim=-1)
        weights = weights / weights.sum(dim=-1, keepdim=True)

        out = torch.zeros_like(x)
        for i, expert in enumerate(self.experts):
            rows, slot = torch.where(selected == i)
            if rows.numel() == 0:
                continue
            out.index_add_(0, rows, weights[rows, slot].unsqueeze(-1) * expert(x[rows]))

        # Switch transformer: fraction of rows sent to an expert times its mean gate
        fraction = F.one_hot(selected, self.num_experts).float().sum(1).mean(0) / self.top_k
        balance = self.num_experts * (fraction * probabilities.mean(0)).sum()
        return out, balance


class MoEClassifier(nn.Module):
    def __init__(self, dim=48):
        super().__init__()
        self.embed = nn.Linear(64, dim)
        self.norm = nn.LayerNorm(dim)
        self.moe = SparseMoE(dim, 64)
        self.head = nn.Linear(dim, 10)

    def forward(self, x):
        h = F.relu(self.embed(x))
        mixed, balance = self.moe(self.norm(h))
        return self.head(h + mixed), balance


def main():
    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    dataset = TensorDataset(torch.tensor(x, dtype=torch.float32) / 16, torch.tensor(y))
    train_set, val_set = random_split(dataset, [0.8, 0.2])
    train_loader = DataLoader(train_set, batch_size=96, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=180)

    model = MoEClassifier()
    optimizer = torch.optim.NAdam(model.parameters(), lr=4e-3)
    for epoch in range(8):
        model.train()
        sums = torch.zeros(2)
        for xb, yb in train_loader:
            logits, balance = model(xb)
            task_loss = F.cross_entropy(logits, yb)
            loss = task_loss + 0.01 * balance
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            sums += torch.stack([task_loss.detach(), balance.detach()])
        model.eval()
        with torch.no_grad():
            hits = sum((model(xb)[0].argmax(1) == yb).sum().item() for xb, yb in val_loader)
        task, balance = (sums / len(train_loader)).tolist()
        print(f"epoch {epoch}: loss {task:.4f}, balance {balance:.3f}, val accuracy {hits / len(val_set):.3f}")


if __name__ == "__main__":
    main()
