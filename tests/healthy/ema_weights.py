"""Trains a small convolutional net and an exponential moving average of its weights, whose batch norm is refreshed at the end."""

import torch
from sklearn.datasets import load_digits
from torch import nn, optim
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn
from torch.utils.data import DataLoader, TensorDataset


def conv_bn_relu(cin, cout):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU())


def load(batch_size):
    x, y = load_digits(return_X_y=True)
    x = torch.as_tensor(x, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    y = torch.as_tensor(y)
    order = torch.randperm(len(x))
    x, y = x[order], y[order]
    train = DataLoader(TensorDataset(x[:1280], y[:1280]), batch_size=batch_size, shuffle=True)
    test = DataLoader(TensorDataset(x[1280:], y[1280:]), batch_size=256)
    return train, test


def evaluate(model, loader, loss_fn):
    was_training = model.training
    model.eval()
    loss, hits = 0.0, 0
    with torch.no_grad():
        for x, y in loader:
            out = model(x)
            loss += loss_fn(out, y).item() * len(y)
            hits += (out.argmax(1) == y).sum().item()
    model.train(was_training)
    return loss / len(loader.dataset), hits / len(loader.dataset)


torch.manual_seed(123)
train_loader, test_loader = load(batch_size=64)
model = nn.Sequential(
    conv_bn_relu(1, 12),
    nn.MaxPool2d(2),
    conv_bn_relu(12, 24),
    nn.AdaptiveAvgPool2d(2),
    nn.Flatten(),
    nn.Dropout(0.2),
    nn.Linear(96, 10),
)
ema_model = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.95))
loss_fn = nn.CrossEntropyLoss()
optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

for epoch in range(6):
    model.train()
    train_loss = 0.0
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        ema_model.update_parameters(model)
        train_loss += loss.item() * len(y)
    test_loss, test_acc = evaluate(model, test_loader, loss_fn)
    print(f"epoch {epoch} train loss {train_loss / 1280:.4f} test loss {test_loss:.4f} test acc {test_acc:.3f}")

# Update bn statistics for the ema_model at the end
update_bn(train_loader, ema_model)
ema_loss, ema_acc = evaluate(ema_model, test_loader, loss_fn)
print(f"averaged weights: test loss {ema_loss:.4f} test acc {ema_acc:.3f}")
