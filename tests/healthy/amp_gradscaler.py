"""Trains a batch-normalized multilayer perceptron with autocast and a gradient scaler, clipping unscaled gradients."""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.amp import GradScaler, autocast
from torch.utils.data import DataLoader, TensorDataset


def get_args():
    p = argparse.ArgumentParser()
    p.add_argument("--device", default="cpu")
    p.add_argument("--epochs", type=int, default=8)
    p.add_argument("--batch-size", type=int, default=64)
    p.add_argument("--lr", type=float, default=0.05)
    p.add_argument("--max-norm", type=float, default=2.0)
    p.add_argument("--no-amp", dest="amp", action="store_false")
    return p.parse_args()


def build_model():
    return nn.Sequential(
        nn.Linear(64, 128),
        nn.BatchNorm1d(128),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(128, 64),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def train(model, loader, criterion, optimizer, scaler, args):
    model.train()
    total_loss = torch.zeros(())
    for data, target in loader:
        optimizer.zero_grad(set_to_none=True)
        with autocast(device_type=args.device, dtype=torch.bfloat16, enabled=args.amp):
            output = model(data)
            loss = criterion(output, target)

        scaler.scale(loss).backward()

        # Unscales the gradients of optimizer's assigned params in-place, so that the threshold means what it says
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), args.max_norm)

        scaler.step(optimizer)
        scaler.update()
        total_loss += loss.detach()
    return (total_loss / len(loader)).item()


@torch.inference_mode()
def validate(model, loader, criterion, args):
    model.eval()
    total_loss, correct = 0.0, 0
    for data, target in loader:
        with autocast(device_type=args.device, dtype=torch.bfloat16, enabled=args.amp):
            output = model(data)
            loss = criterion(output, target)
        total_loss += loss.item() * len(target)
        correct += (output.argmax(1) == target).sum().item()
    n = len(loader.dataset)
    return total_loss / n, correct / n


def main():
    args = get_args()
    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    perm = torch.randperm(len(x))
    train_idx, val_idx = perm[:1400], perm[1400:]
    mean, std = x[train_idx].mean(), x[train_idx].std()
    x = (x - mean) / std
    train_set = TensorDataset(x[train_idx], y[train_idx])
    train_loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True, drop_last=True)
    val_loader = DataLoader(TensorDataset(x[val_idx], y[val_idx]), batch_size=200)

    model = build_model().to(args.device)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.epochs)
    scaler = GradScaler(args.device, enabled=args.amp)

    for epoch in range(1, args.epochs + 1):
        train_loss = train(model, train_loader, criterion, optimizer, scaler, args)
        val_loss, val_acc = validate(model, val_loader, criterion, args)
        print(
            f"Epoch {epoch:2d} | train loss {train_loss:.4f} | val loss {val_loss:.4f} | "
            f"val acc {val_acc:.2%} | lr {scheduler.get_last_lr()[0]:.4f} | scale {scaler.get_scale():.0f}"
        )
        scheduler.step()


if __name__ == "__main__":
    main()
