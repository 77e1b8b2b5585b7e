"""Trains digit representations by BYOL: an online net predicts a momentum encoder's view of the same picture."""

import copy

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier
from torch import nn


def mlp(dim_in, hidden, dim_out):
    return nn.Sequential(nn.Linear(dim_in, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, dim_out))


def loss_fn(p, z):
    return 2 - 2 * F.cosine_similarity(p, z, dim=-1)


class BYOL(nn.Module):
    def __init__(self, dim=64, projection=32, momentum=0.98):
        super().__init__()
        self.online_encoder = nn.Sequential(mlp(64, 128, dim), nn.BatchNorm1d(dim), nn.ReLU())
        self.online_projector = mlp(dim, 96, projection)
        self.predictor = mlp(projection, 64, projection)
        self.target_encoder = copy.deepcopy(self.online_encoder).requires_grad_(False)
        self.target_projector = copy.deepcopy(self.online_projector).requires_grad_(False)
        self.momentum = momentum

    @torch.no_grad()
    def update_target(self):
        pairs = [(self.online_encoder, self.target_encoder), (self.online_projector, self.target_projector)]
        for online, target in pairs:
            for p, q in zip(online.parameters(), target.parameters(), strict=True):
                q.data = q.data * self.momentum + p.data * (1 - self.momentum)

    def forward(self, x1, x2):
        p1 = self.predictor(self.online_projector(self.online_encoder(x1)))
        p2 = self.predictor(self.online_projector(self.online_encoder(x2)))
        with torch.no_grad():
            z1 = self.target_projector(self.target_encoder(x1))
            z2 = self.target_projector(self.target_encoder(x2))
        return (loss_fn(p1, z2.detach()) + loss_fn(p2, z1.detach())).mean()


def augment(x):
    keep = torch.rand_like(x) > 0.15
    return keep * (x + 0.1 * torch.randn_like(x))


def knn_accuracy(encoder, train, test):
    encoder.eval()
    with torch.no_grad():
        features = [F.normalize(encoder(x), dim=1).numpy() for x in (train[0], test[0])]
    encoder.train()
    return KNeighborsClassifier(5).fit(features[0], train[1].numpy()).score(features[1], test[1].numpy())


def main():
    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x, dtype=torch.float32) / 16, torch.tensor(y)
    order = torch.randperm(len(x))
    train, test = (x[order[:1408]], y[order[:1408]]), (x[order[1408:]], y[order[1408:]])
    learner = BYOL()
    opt = torch.optim.AdamW([p for p in learner.parameters() if p.requires_grad], lr=2e-3, weight_decay=1e-4)
    for epoch in range(8):
        total = 0.0
        learner.train()
        for index in torch.randperm(len(train[0])).split(128):
            images = train[0][index]
            loss = learner(augment(images), augment(images))
            opt.zero_grad()
            loss.backward()
            opt.step()
            learner.update_target()  # update moving average of target encoder
            total += loss.item()
        score = knn_accuracy(learner.online_encoder, train, test)
        print(f"epoch {epoch}: loss {total / 11:.4f}, 5-nn accuracy {score:.3f}")


if __name__ == "__main__":
    main()
