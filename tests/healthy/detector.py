"""Trains a one-stage detector on a grid of cells: objectness, box and class losses, normalized by the objects found."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn

GRID, CELL = 4, 6
SIZE = GRID * CELL
NUM_CLASSES = 2  # box, plus sign


def make_scenes(n, generator):
    """Images with one or two objects; targets are lists of boxes (cx, cy, w, h in pixels) and labels."""
    images = 0.15 * torch.randn(n, 1, SIZE, SIZE, generator=generator)
    targets = []
    for i in range(n):
        count = int(torch.randint(1, 3, (1,), generator=generator))
        cells = torch.randperm(GRID * GRID, generator=generator)[:count].tolist()
        boxes, labels = [], []
        for cell in cells:
            cy, cx = (cell // GRID) * CELL + CELL // 2, (cell % GRID) * CELL + CELL // 2
            half = int(torch.randint(1, 4, (1,), generator=generator))
            label = int(torch.randint(0, NUM_CLASSES, (1,), generator=generator))
            y0, y1, x0, x1 = max(cy - half, 0), cy + half + 1, max(cx - half, 0), cx + half + 1
            if label == 0:
                images[i, 0, y0:y1, x0:x1] += 1
            else:
                images[i, 0, cy, x0:x1] += 1
                images[i, 0, y0:y1, cx] += 1
            boxes.append([cx, cy, 2 * half + 1, 2 * half + 1])
            labels.append(label)
        targets.append({"boxes": torch.tensor(boxes, dtype=torch.float32), "labels": torch.tensor(labels)})
    return images, targets


class GridDetector(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(3),
        )
        self.objectness = nn.Conv2d(32, 1, 1)
        self.box = nn.Conv2d(32, 4, 1)
        self.label = nn.Conv2d(32, NUM_CLASSES, 1)

    def forward(self, images, targets=None):
        features = self.backbone(images)
        outputs = {"objectness": self.objectness(features).squeeze(1)}
        outputs["boxes"] = self.box(features).permute(0, 2, 3, 1)
        outputs["logits"] = self.label(features).permute(0, 2, 3, 1)
        return outputs if targets is None else self.losses(outputs, targets)

    def losses(self, outputs, targets):
        image = torch.cat([torch.full((len(t["labels"]),), i) for i, t in enumerate(targets)])
        boxes = torch.cat([t["boxes"] for t in targets])
        labels = torch.cat([t["labels"] for t in targets])
        column, row = (boxes[:, 0] // CELL).long(), (boxes[:, 1] // CELL).long()
        offsets = (boxes[:, :2] / CELL) - torch.stack([column, row], dim=1)
        wanted = torch.cat([offsets, boxes[:, 2:] / CELL], dim=1)
        has_object = torch.zeros_like(outputs["objectness"])
        has_object[image, row, column] = 1.0
        positives = max(1, len(labels))
        objectness = F.binary_cross_entropy_with_logits(outputs["objectness"], has_object, reduction="sum")
        box = F.smooth_l1_loss(outputs["boxes"][image, row, column], wanted, beta=0.1, reduction="sum")
        label = F.cross_entropy(outputs["logits"][image, row, column], labels)
        return {"loss_objectness": objectness / positives, "loss_box": box / positives, "loss_label": label}


@torch.inference_mode()
def evaluate(model, images, targets):
    model.eval()
    outputs = model(images)
    hits = total = 0
    for i, target in enumerate(targets):
        found = outputs["objectness"][i] > 0
        for (cx, cy, *_), label in zip(target["boxes"].tolist(), target["labels"].tolist(), strict=True):
            row, column = int(cy // CELL), int(cx // CELL)
            hits += bool(found[row, column]) and outputs["logits"][i, row, column].argmax().item() == label
            total += 1
    return hits / total


def train_one_epoch(model, optimizer, images, targets, batch_size, epoch):
    model.train()
    sums = {}
    order = torch.randperm(len(images))
    for index in order.split(batch_size):
        loss_dict = model(images[index], [targets[i] for i in index.tolist()])
        losses = sum(loss for loss in loss_dict.values())
        optimizer.zero_grad()
        losses.backward()
        optimizer.step()
        for name, value in loss_dict.items():
            sums[name] = sums.get(name, 0.0) + value.item() * len(index) / len(images)
    print(f"Epoch: [{epoch}]  " + "  ".join(f"{name}: {value:.4f}" for name, value in sums.items()))


def main(args):
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    train_images, train_targets = make_scenes(280, generator)
    test_images, test_targets = make_scenes(80, generator)
    model = GridDetector()
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9, weight_decay=1e-4)
    lr_scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[args.epochs - 2], gamma=0.1)
    for epoch in range(args.epochs):
        train_one_epoch(model, optimizer, train_images, train_targets, args.batch_size, epoch)
        lr_scheduler.step()
        print(f"  recall with the right class: {evaluate(model, test_images, test_targets):.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch-size", type=int, default=20)
    parser.add_argument("--lr", type=float, default=0.02)
    main(parser.parse_args())
