"""Trains a recommender by matrix factorization with sparse embeddings and biases."""

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, random_split

N_USERS, N_ITEMS, RANK = 120, 80, 4


class Ratings(Dataset):
    """Each (user, item) pair at most once; ratings from 1 to 5."""

    def __init__(self, count, seed):
        g = torch.Generator().manual_seed(seed)
        pairs = torch.randperm(N_USERS * N_ITEMS, generator=g)[:count]
        self.users, self.items = pairs // N_ITEMS, pairs % N_ITEMS
        taste = torch.randn(N_USERS, RANK, generator=g)
        trait = torch.randn(N_ITEMS, RANK, generator=g)
        bias = 0.5 * torch.randn(N_ITEMS, generator=g)
        score = (taste[self.users] * trait[self.items]).sum(1) / 2 + bias[self.items]
        self.ratings = (3.2 + score + 0.2 * torch.randn(count, generator=g)).clamp(1, 5)

    def __len__(self):
        return len(self.ratings)

    def __getitem__(self, i):
        return self.users[i], self.items[i], self.ratings[i]


class MatrixFactorization(nn.Module):
    def __init__(self, n_users, n_items, n_factors, mean):
        super().__init__()
        self.user_factors = nn.Embedding(n_users, n_factors, sparse=True)
        self.item_factors = nn.Embedding(n_items, n_factors, sparse=True)
        self.user_biases = nn.Embedding(n_users, 1, sparse=True)
        self.item_biases = nn.Embedding(n_items, 1, sparse=True)
        nn.init.normal_(self.user_factors.weight, std=0.3)
        nn.init.normal_(self.item_factors.weight, std=0.3)
        nn.init.zeros_(self.user_biases.weight)
        nn.init.zeros_(self.item_biases.weight)
        self.register_buffer("mean", torch.tensor(mean))

    def forward(self, user, item):
        interaction = (self.user_factors(user) * self.item_factors(item)).sum(dim=1, keepdim=True)
        pred = self.mean + self.user_biases(user) + self.item_biases(item) + interaction
        return pred.squeeze(1)


def rmse(model, loader):
    model.eval()
    squared = 0.0
    with torch.no_grad():
        for user, item, rating in loader:
            squared += (model(user, item) - rating).pow(2).sum().item()
    model.train()
    return (squared / len(loader.dataset)) ** 0.5


torch.manual_seed(0)
dataset = Ratings(4800, seed=1)
train_set, test_set = random_split(dataset, [4000, 800])
train_loader = DataLoader(train_set, batch_size=200, shuffle=True)
test_loader = DataLoader(test_set, batch_size=400)

mean = dataset.ratings[train_set.indices].mean().item()
model = MatrixFactorization(N_USERS, N_ITEMS, RANK, mean)
optimizer = torch.optim.SparseAdam(model.parameters(), lr=0.06)
criterion = nn.MSELoss()

print(f"before training: test RMSE {rmse(model, test_loader):.4f}")
for epoch in range(10):
    losses = []
    for user, item, rating in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(user, item), rating)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print(f"epoch {epoch:2d}: train MSE {sum(losses) / len(losses):.4f}, test RMSE {rmse(model, test_loader):.4f}")
