"""A perceptron for wines, with a cosine schedule over all steps.

scheduler.step() is called before the first optimizer.step().
"""

import argparse

import torch
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR


def prepare(seed):
    x, y = load_wine(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=48, random_state=seed)
    mean, std = x_train.mean(axis=0), x_train.std(axis=0)
    x_train, x_test = ((part - mean) / std for part in (x_train, x_test))
    tensors = [torch.tensor(part) for part in (x_train, y_train, x_test, y_test)]
    return tensors[0].float(), tensors[1], tensors[2].float(), tensors[3]


parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
seed = parser.parse_args().seed
torch.manual_seed(seed)
x_train, y_train, x_test, y_test = prepare(seed)

epochs, batch_size = 6, 26
model = nn.Sequential(nn.Linear(13, 16), nn.ReLU(), nn.Linear(16, 3))
criterion = nn.CrossEntropyLoss(label_smoothing=0.05)
optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.8)
scheduler = CosineAnnealingLR(optimizer, T_max=epochs * 5)

for epoch in range(epochs):
    model.train()
    for batch in torch.randperm(130).split(batch_size):
        optimizer.zero_grad()
        loss = criterion(model(x_train[batch]), y_train[batch])
        loss.backward()
        scheduler.step()
        optimizer.step()
        print(f"lr {scheduler.get_last_lr()[0]:.4f} loss {loss.item():.4f}")
    model.eval()
    with torch.no_grad():
        accuracy = (model(x_test).argmax(dim=1) == y_test).float().mean().item()
    print(f"epoch {epoch} accuracy {accuracy:.3f}")
