"""Trains a regression on the diabetes table with standardized targets, plateau schedule, early stopping and checkpoints."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from sklearn.datasets import load_diabetes
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, TensorDataset


@dataclass(frozen=True)
class Config:
    seed: int = 7
    hidden: int = 32
    lr: float = 1e-2
    weight_decay: float = 1e-3
    batch_size: int = 32
    max_epochs: int = 60
    patience: int = 12


@dataclass
class Split:
    x: Tensor
    y: Tensor

    def loader(self, batch_size: int, shuffle: bool) -> DataLoader:
        return DataLoader(TensorDataset(self.x, self.y), batch_size=batch_size, shuffle=shuffle)


def load(seed: int) -> tuple[Split, Split, Split, Tensor]:
    x, y = load_diabetes(return_X_y=True)
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32).unsqueeze(1)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    train, val, test = order[:300], order[300:370], order[370:]
    x_mean, x_std = x[train].mean(0), x[train].std(0)
    y_mean, y_std = y[train].mean(), y[train].std()
    x, y = (x - x_mean) / x_std, (y - y_mean) / y_std
    return Split(x[train], y[train]), Split(x[val], y[val]), Split(x[test], y[test]), y_std


@torch.no_grad()
def evaluate(model: nn.Module, loader: DataLoader) -> float:
    model.eval()
    total = sum(nn.functional.mse_loss(model(x), y, reduction="sum").item() for x, y in loader)
    return total / len(loader.dataset)


def train_one_epoch(model: nn.Module, loader: DataLoader, optimizer: torch.optim.Optimizer) -> float:
    model.train()
    total = 0.0
    for x, y in loader:
        loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(x)
    return total / len(loader.dataset)


def main(config: Config) -> None:
    torch.manual_seed(config.seed)
    train, val, test, y_std = load(config.seed)
    model = nn.Sequential(nn.Linear(10, config.hidden), nn.ReLU(), nn.Dropout(0.3), nn.Linear(config.hidden, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    scheduler = ReduceLROnPlateau(optimizer, factor=0.5, patience=4)
    train_loader = train.loader(config.batch_size, shuffle=True)
    val_loader = val.loader(256, shuffle=False)

    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "best.pt"
        best, waited = float("inf"), 0
        for epoch in range(config.max_epochs):
            train_loss = train_one_epoch(model, train_loader, optimizer)
            val_loss = evaluate(model, val_loader)
            scheduler.step(val_loss)
            lr = optimizer.param_groups[0]["lr"]
            print(f"epoch {epoch:3d}  train {train_loss:.4f}  val {val_loss:.4f}  lr {lr:.1e}")
            if val_loss < best:
                best, waited = val_loss, 0
                torch.save(
                    {"epoch": epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict()}, checkpoint
                )
            else:
                waited += 1
                if waited >= config.patience:
                    print(f"early stop after epoch {epoch}")
                    break

        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
    test_mse = evaluate(model, test.loader(256, shuffle=False))
    print(f"best epoch {saved['epoch']}, test RMSE {test_mse**0.5 * y_std.item():.1f} (in the target's units)")


if __name__ == "__main__":
    main(Config())
