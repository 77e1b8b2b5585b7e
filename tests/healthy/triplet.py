"""Trains an embedding of the digits with a siamese net and triplet margin loss; tested by nearest neighbours."""

import random

import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier
from torch import nn
from torch.utils.data import DataLoader, Dataset


class TripletDigits(Dataset):
    def __init__(self, images, labels):
        self.images, self.labels = images, labels.tolist()
        self.by_label = {k: [i for i, label in enumerate(self.labels) if label == k] for k in range(10)}

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        label = self.labels[index]
        positive = random.choice(self.by_label[label])
        negative = random.choice(self.by_label[random.choice([k for k in range(10) if k != label])])
        return self.images[index], self.images[positive], self.images[negative]


class EmbeddingNet(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 96), nn.PReLU(), nn.Dropout(0.1), nn.Linear(96, dim))

    def forward(self, x):
        return nn.functional.normalize(self.layers(x.flatten(1)), dim=1)


class TripletNet(nn.Module):
    """The same embedding for the anchor, the positive and the negative picture."""

    def __init__(self, embedding_net):
        super().__init__()
        self.embedding_net = embedding_net

    def forward(self, x1, x2, x3):
        return self.embedding_net(x1), self.embedding_net(x2), self.embedding_net(x3)


def embed(net, images):
    net.eval()
    with torch.no_grad():
        return net(images).numpy()


def main():
    random.seed(0)
    torch.manual_seed(0)
    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32) / 16
    labels = torch.tensor(data.target)
    train_images, train_labels = images[:1300], labels[:1300]
    test_images, test_labels = images[1300:], labels[1300:]

    loader = DataLoader(TripletDigits(train_images, train_labels), batch_size=64, shuffle=True)
    model = TripletNet(EmbeddingNet())
    criterion = nn.TripletMarginLoss(margin=0.4)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    for epoch in range(8):
        model.train()
        total_loss = 0.0
        for anchor, positive, negative in loader:
            optimizer.zero_grad()
            loss = criterion(*model(anchor, positive, negative))
            loss.backward()
            optimizer.step()
            total_loss += loss.item()
        knn = KNeighborsClassifier(5).fit(embed(model.embedding_net, train_images), train_labels.numpy())
        score = knn.score(embed(model.embedding_net, test_images), test_labels.numpy())
        print(f"epoch {epoch}: triplet loss {total_loss / len(loader):.4f}, 5-nn accuracy {score:.3f}")


if __name__ == "__main__":
    main()
