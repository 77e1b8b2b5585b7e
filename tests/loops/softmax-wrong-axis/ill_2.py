"""Three noisy chirps told apart by a one-dimensional convolutional net. nn.LogSoftmax runs over axis 0, the batch."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def chirps(count):
    kind = torch.randint(0, 3, (count,))
    t = torch.linspace(0, 1, 48)
    rate = (4 + 8 * kind).unsqueeze(1)
    wave = torch.sin(rate * t + 6.28 * torch.rand(count, 1))
    return (wave + 0.2 * torch.randn(count, 48)).unsqueeze(1), kind


def make_model():
    return nn.Sequential(
        nn.Conv1d(1, 12, 7, stride=2),
        nn.ReLU(),
        nn.Conv1d(12, 12, 5, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(12 * 9, 3),
        nn.LogSoftmax(dim=0),
    )


def main(seed):
    torch.manual_seed(seed)
    train = DataLoader(TensorDataset(*chirps(480)), batch_size=40, shuffle=True)
    x_val, y_val = chirps(120)
    model, criterion = make_model(), nn.NLLLoss()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=2e-3)
    for epoch in range(4):
        model.train()
        losses = []
        for x, y in train:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        model.eval()
        with torch.inference_mode():
            right = (model(x_val).argmax(1) == y_val).sum().item()
        print(f"epoch {epoch + 1}: loss {sum(losses) / len(losses):.3f}, {right} of 120 right")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    main(parser.parse_args().seed)
