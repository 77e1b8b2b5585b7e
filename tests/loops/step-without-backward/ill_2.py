"""Short documents of word numbers are sorted by topic with an embedding.

The gradients are cleared between backward and step.
"""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

WORDS, LENGTH, TOPICS = 120, 12, 4


class TopicNet(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.embedding = nn.Embedding(WORDS, width)
        self.classifier = nn.Sequential(nn.Linear(width, 32), nn.ReLU(), nn.Linear(32, TOPICS))

    def forward(self, words):
        return self.classifier(self.embedding(words).mean(dim=1))


def documents(count):
    topics = torch.randint(0, TOPICS, (count,))
    own = topics.unsqueeze(1) * 30 + torch.randint(0, 30, (count, LENGTH))
    anything = torch.randint(0, WORDS, (count, LENGTH))
    return torch.where(torch.rand(count, LENGTH) < 0.6, own, anything), topics


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=4)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    train = DataLoader(TensorDataset(*documents(600)), batch_size=50, shuffle=True)
    test_words, test_topics = documents(150)
    net = TopicNet()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    for epoch in range(args.epochs):
        net.train()
        losses = []
        for words, topics in train:
            loss = criterion(net(words), topics)
            loss.backward()
            optimizer.zero_grad()
            optimizer.step()
            losses.append(loss.item())
        net.eval()
        with torch.no_grad():
            accuracy = (net(test_words).argmax(dim=1) == test_topics).float().mean().item()
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):.4f}, accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
