"""Trains a multi-label classifier with BCEWithLogitsLoss and positive weights, in the Kaggle manner."""

import os
import random

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import make_multilabel_classification
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, Dataset

# ====================================================
# CFG
# ====================================================


class CFG:
    num_features = 40
    num_targets = 6
    hidden_size = 64
    dropout = 0.2
    batch_size = 64
    epochs = 10
    lr = 1e-2
    weight_decay = 1e-5
    seed = 2020


def seed_everything(seed=42):
    random.seed(seed)
    os.environ["PYTHONHASHSEED"] = str(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


seed_everything(CFG.seed)

# ====================================================
# Dataset
# ====================================================


class TrainDataset(Dataset):
    def __init__(self, features, targets):
        self.features = features
        self.targets = targets

    def __len__(self):
        return self.features.shape[0]

    def __getitem__(self, idx):
        return {
            "x": torch.tensor(self.features[idx, :], dtype=torch.float),
            "y": torch.tensor(self.targets[idx, :], dtype=torch.float),
        }


features, targets = make_multilabel_classification(
    n_samples=1500, n_features=CFG.num_features, n_classes=CFG.num_targets, n_labels=2, random_state=CFG.seed
)
features = np.log1p(features)
trn_x, val_x, trn_y, val_y = train_test_split(features, targets, test_size=0.2, random_state=CFG.seed)
mean, std = trn_x.mean(axis=0), trn_x.std(axis=0)
trn_x, val_x = (trn_x - mean) / std, (val_x - mean) / std

# ====================================================
# Model
# ====================================================


class TabularNN(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(cfg.num_features, cfg.hidden_size),
            nn.BatchNorm1d(cfg.hidden_size),
            nn.Dropout(cfg.dropout),
            nn.PReLU(),
            nn.Linear(cfg.hidden_size, cfg.hidden_size),
            nn.BatchNorm1d(cfg.hidden_size),
            nn.Dropout(cfg.dropout),
            nn.PReLU(),
            nn.Linear(cfg.hidden_size, cfg.num_targets),
        )

    def forward(self, x):
        return self.mlp(x)


def train_fn(model, optimizer, scheduler, loss_fn, dataloader):
    model.train()
    final_loss = 0
    for data in dataloader:
        optimizer.zero_grad()
        inputs, targets = data["x"], data["y"]
        outputs = model(inputs)
        loss = loss_fn(outputs, targets)
        loss.backward()
        optimizer.step()
        scheduler.step()
        final_loss += loss.item()
    return final_loss / len(dataloader)


def valid_fn(model, loss_fn, dataloader):
    model.eval()
    final_loss = 0
    valid_preds = []
    for data in dataloader:
        inputs, targets = data["x"], data["y"]
        with torch.no_grad():
            outputs = model(inputs)
        final_loss += loss_fn(outputs, targets).item()
        valid_preds.append(outputs.sigmoid().numpy())
    return final_loss / len(dataloader), np.concatenate(valid_preds)


def run_training():
    train_loader = DataLoader(TrainDataset(trn_x, trn_y), batch_size=CFG.batch_size, shuffle=True, drop_last=True)
    valid_loader = DataLoader(TrainDataset(val_x, val_y), batch_size=CFG.batch_size, shuffle=False)
    pos_weight = torch.tensor((1 - trn_y.mean(0)) / trn_y.mean(0), dtype=torch.float)
    loss_fn = nn.BCEWithLogitsLoss(pos_weight=pos_weight)

    model = TabularNN(CFG)
    optimizer = torch.optim.Adam(model.parameters(), lr=CFG.lr, weight_decay=CFG.weight_decay)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, pct_start=0.1, div_factor=1e3, max_lr=CFG.lr, epochs=CFG.epochs, steps_per_epoch=len(train_loader)
    )
    best_loss = np.inf
    for epoch in range(CFG.epochs):
        train_loss = train_fn(model, optimizer, scheduler, loss_fn, train_loader)
        valid_loss, valid_preds = valid_fn(model, loss_fn, valid_loader)
        auc = roc_auc_score(val_y, valid_preds, average="macro")
        f1 = f1_score(val_y, valid_preds > 0.5, average="micro")
        print(f"EPOCH: {epoch}, train_loss: {train_loss:.4f}, valid_loss: {valid_loss:.4f}, auc {auc:.4f}, f1 {f1:.4f}")
        best_loss = min(best_loss, valid_loss)
    print(f"best valid_loss: {best_loss:.4f}")


run_training()
