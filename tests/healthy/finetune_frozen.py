"""Trains a new head on a frozen convolutional net that was pretrained on other digits (transfer-learning tutorial)."""

import copy
import time

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch import optim
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(0)
images = torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1) / 16
labels = torch.tensor(load_digits().target)


def make_loaders(keep, seed):
    dataset = TensorDataset(images[keep], labels[keep] % 5)
    generator = torch.Generator().manual_seed(seed)
    train, val = random_split(dataset, [0.8, 0.2], generator=generator)
    loaders = {
        "train": DataLoader(train, batch_size=32, shuffle=True, generator=generator),
        "val": DataLoader(val, batch_size=64),
    }
    return loaders, {"train": len(train), "val": len(val)}


class SmallResNet(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.2),
        )
        self.fc = nn.Linear(128, num_classes)

    def forward(self, x):
        return self.fc(self.features(x))


def set_mode(model, phase):
    model.train(phase == "train")
    if not any(p.requires_grad for p in model.features.parameters()):
        model.features.eval()  # a frozen backbone keeps its batch statistics and has no dropout


def train_model(model, criterion, optimizer, scheduler, loaders, sizes, num_epochs):
    since = time.time()
    best_model_wts = copy.deepcopy(model.state_dict())
    best_acc = 0.0

    for epoch in range(num_epochs):
        print(f"Epoch {epoch}/{num_epochs - 1}")
        print("-" * 10)

        # Each epoch has a training and validation phase
        for phase in ["train", "val"]:
            set_mode(model, phase)
            running_loss = 0.0
            running_corrects = 0

            for inputs, targets in loaders[phase]:
                optimizer.zero_grad()

                # forward; track history only in train
                with torch.set_grad_enabled(phase == "train"):
                    outputs = model(inputs)
                    _, preds = torch.max(outputs, 1)
                    loss = criterion(outputs, targets)

                    # backward + optimize only if in training phase
                    if phase == "train":
                        loss.backward()
                        optimizer.step()

                running_loss += loss.item() * inputs.size(0)
                running_corrects += torch.sum(preds == targets.data)
            if phase == "train":
                scheduler.step()

            epoch_loss = running_loss / sizes[phase]
            epoch_acc = running_corrects.double() / sizes[phase]
            print(f"{phase} Loss: {epoch_loss:.4f} Acc: {epoch_acc:.4f}")

            if phase == "val" and epoch_acc > best_acc:
                best_acc = epoch_acc
                best_model_wts = copy.deepcopy(model.state_dict())

    print(f"Training complete in {time.time() - since:.1f}s, best val Acc: {best_acc:.4f}\n")
    model.load_state_dict(best_model_wts)
    return model


criterion = nn.CrossEntropyLoss()

# Pretraining on the digits 0 to 4
model = SmallResNet(5)
loaders, sizes = make_loaders(labels < 5, seed=0)
optimizer_ft = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
scheduler_ft = lr_scheduler.StepLR(optimizer_ft, step_size=2, gamma=0.3)
model = train_model(model, criterion, optimizer_ft, scheduler_ft, loaders, sizes, num_epochs=3)

# The digits 5 to 9: the net as a fixed feature extractor
model_conv = model
for param in model_conv.parameters():
    param.requires_grad = False

# Parameters of newly constructed modules have requires_grad=True by default
model_conv.fc = nn.Linear(model_conv.fc.in_features, 5)
loaders, sizes = make_loaders(labels >= 5, seed=1)

# Observe that only parameters of the final layer are being optimized
optimizer_conv = optim.SGD(model_conv.fc.parameters(), lr=0.02, momentum=0.9)
exp_lr_scheduler = lr_scheduler.StepLR(optimizer_conv, step_size=3, gamma=0.3)
model_conv = train_model(model_conv, criterion, optimizer_conv, exp_lr_scheduler, loaders, sizes, num_epochs=5)
