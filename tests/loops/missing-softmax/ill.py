"""Wine cultivars with NLLLoss on log-probabilities. The net gives raw scores, no log-probabilities."""

import argparse

import numpy as np
import torch
from sklearn.datasets import load_wine
from torch import nn


def batches(x, y, size, rng):
    order = rng.permutation(len(x))
    for i in range(0, len(order), size):
        rows = order[i : i + size]
        yield torch.from_numpy(x[rows]), torch.from_numpy(y[rows])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)

    x, y = load_wine(return_X_y=True)
    x = ((x - x.mean(0)) / x.std(0)).astype(np.float32)
    order = rng.permutation(len(x))
    train, test = order[:130], order[130:]

    model = nn.Sequential(
        nn.Linear(13, 24),
        nn.Tanh(),
        nn.Linear(24, 3),
    )
    criterion = nn.NLLLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    for epoch in range(5):
        model.train()
        losses = []
        for inputs, labels in batches(x[train], y[train], 26, rng):
            optimizer.zero_grad()
            loss = criterion(model(inputs), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            scores = model(torch.from_numpy(x[test]))
            accuracy = (scores.argmax(dim=1).numpy() == y[test]).mean()
        print(f"epoch {epoch}: loss {np.mean(losses):.4f}, accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
