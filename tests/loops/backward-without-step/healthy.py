"""Ratings of items by users, factorized."""

import argparse

import torch
from torch import nn


class Factorization(nn.Module):
    def __init__(self, users, items, rank=6):
        super().__init__()
        self.user = nn.Embedding(users, rank)
        self.item = nn.Embedding(items, rank)
        self.user_bias = nn.Embedding(users, 1)
        self.item_bias = nn.Embedding(items, 1)

    def forward(self, users, items):
        product = (self.user(users) * self.item(items)).sum(dim=1)
        return product + self.user_bias(users).squeeze(1) + self.item_bias(items).squeeze(1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--users", type=int, default=40)
    parser.add_argument("--items", type=int, default=30)
    args = parser.parse_args()
    torch.manual_seed(args.seed)

    taste, style = torch.randn(args.users, 2), torch.randn(args.items, 2)
    pairs = torch.cartesian_prod(torch.arange(args.users), torch.arange(args.items))
    pairs = pairs[torch.randperm(len(pairs))]
    ratings = (taste[pairs[:, 0]] * style[pairs[:, 1]]).sum(dim=1)
    train, test = pairs[:1000], pairs[1000:]

    model = Factorization(args.users, args.items)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05, weight_decay=1e-4)
    criterion = nn.MSELoss()
    for epoch in range(6):
        model.train()
        total = 0.0
        for rows in torch.randperm(len(train)).split(100):
            users, items = train[rows].unbind(dim=1)
            optimizer.zero_grad()
            loss = criterion(model(users, items), ratings[rows])
            loss.backward()
            optimizer.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            test_loss = criterion(model(*test.unbind(dim=1)), ratings[1000:]).item()
        print(f"epoch {epoch}: loss {total / 10:.4f}, test {test_loss:.4f}")


main()
