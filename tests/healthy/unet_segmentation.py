"""Trains a small U-Net to label the pixels of pictures with discs and boxes; the border is ignored."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

IGNORE = 255
CLASSES = 3


def make_scenes(n, generator, size=16):
    """Pictures (n, 1, size, size) and masks of 0 background, 1 disc, 2 box, 255 at the border."""
    yy, xx = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    images = 0.2 * torch.randn(n, 1, size, size, generator=generator)
    masks = torch.zeros(n, size, size, dtype=torch.long)
    places = torch.randint(3, size - 3, (n, 4), generator=generator)
    for i in range(n):
        cy, cx, by, bx = places[i].tolist()
        box = (abs(yy - by) <= 2) & (abs(xx - bx) <= 2)
        disc = (yy - cy) ** 2 + (xx - cx) ** 2 <= 9
        masks[i][box] = 2
        masks[i][disc] = 1
        images[i, 0] += 1.0 * disc - 1.0 * (box & ~disc)
    masks[:, [0, -1], :] = IGNORE
    masks[:, :, [0, -1]] = IGNORE
    return images, masks


class DoubleConv(nn.Sequential):
    def __init__(self, cin, cout):
        super().__init__(
            nn.Conv2d(cin, cout, 3, padding=1, bias=False),
            nn.BatchNorm2d(cout),
            nn.ReLU(inplace=True),
            nn.Conv2d(cout, cout, 3, padding=1, bias=False),
            nn.BatchNorm2d(cout),
            nn.ReLU(inplace=True),
        )


class UNet(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.inc = DoubleConv(1, width)
        self.down = DoubleConv(width, 2 * width)
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.dec = DoubleConv(2 * width, width)
        self.outc = nn.Conv2d(width, CLASSES, 1)

    def forward(self, x):
        skip = self.inc(x)
        x = self.down(self.pool(skip))
        x = self.dec(torch.cat([skip, self.up(x)], dim=1))
        return self.outc(x)


@torch.no_grad()
def mean_iou(net, loader):
    net.eval()
    intersection, union = torch.zeros(CLASSES), torch.zeros(CLASSES)
    for images, masks in loader:
        predicted = net(images).argmax(1)
        valid = masks != IGNORE
        for c in range(CLASSES):
            p, t = (predicted == c) & valid, (masks == c) & valid
            intersection[c] += (p & t).sum()
            union[c] += (p | t).sum()
    net.train()
    return (intersection / union).mean().item()


def train_net():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    train_loader = DataLoader(TensorDataset(*make_scenes(192, generator)), batch_size=16, shuffle=True)
    val_loader = DataLoader(TensorDataset(*make_scenes(48, generator)), batch_size=24)
    net = UNet()
    optimizer = torch.optim.RMSprop(net.parameters(), lr=3e-3, weight_decay=1e-8, momentum=0.5)
    criterion = nn.CrossEntropyLoss(ignore_index=IGNORE)
    for epoch in range(1, 5):
        net.train()
        epoch_loss = 0.0
        for images, true_masks in train_loader:
            masks_pred = net(images)
            loss = criterion(masks_pred, true_masks)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            epoch_loss += loss.item()
        print(f"epoch {epoch}: loss {epoch_loss / len(train_loader):.4f}, mean IoU {mean_iou(net, val_loader):.3f}")


if __name__ == "__main__":
    train_net()
