"""Trains a new net for each fold of a stratified cross-validation on the wine table."""

import numpy as np
import torch
from sklearn.datasets import load_wine
from sklearn.model_selection import StratifiedKFold
from torch import nn
from torch.utils.data import DataLoader, SubsetRandomSampler, TensorDataset

k_folds = 5
num_epochs = 12


def reset_weights(m):
    """Try resetting model weights to avoid weight leakage."""
    for layer in m.children():
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()


def standardize(features, train_ids):
    mean, std = features[train_ids].mean(axis=0), features[train_ids].std(axis=0)
    return torch.tensor((features - mean) / std, dtype=torch.float32)


if __name__ == "__main__":
    torch.manual_seed(42)
    features, targets = load_wine(return_X_y=True)
    labels = torch.tensor(targets)
    loss_function = nn.CrossEntropyLoss()
    network = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 3))
    results = {}

    kfold = StratifiedKFold(n_splits=k_folds, shuffle=True, random_state=0)
    for fold, (train_ids, test_ids) in enumerate(kfold.split(features, targets)):
        print(f"FOLD {fold}")
        print("--------------------------------")
        dataset = TensorDataset(standardize(features, train_ids), labels)
        trainloader = DataLoader(dataset, batch_size=16, sampler=SubsetRandomSampler(train_ids.tolist()))
        testloader = DataLoader(dataset, batch_size=16, sampler=SubsetRandomSampler(test_ids.tolist()))

        network.apply(reset_weights)
        optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)

        network.train()
        for epoch in range(num_epochs):
            current_loss = 0.0
            for inputs, target in trainloader:
                optimizer.zero_grad()
                loss = loss_function(network(inputs), target)
                loss.backward()
                optimizer.step()
                current_loss += loss.item()
            if epoch % 4 == 3:
                print(f"Loss after epoch {epoch + 1:2d}: {current_loss / len(trainloader):.4f}")

        correct, total = 0, 0
        network.eval()
        with torch.no_grad():
            for inputs, target in testloader:
                _, predicted = torch.max(network(inputs), 1)
                total += target.size(0)
                correct += (predicted == target).sum().item()
        results[fold] = 100.0 * correct / total
        print(f"Accuracy for fold {fold}: {results[fold]:.1f} %")

    print(f"K-FOLD CROSS VALIDATION RESULTS FOR {k_folds} FOLDS: average {np.mean(list(results.values())):.1f} %")
