"""Trains a convolutional denoising autoencoder on the digits, with a Trainer class."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader


class ConvAutoencoder(nn.Module):
    def __init__(self, latent=16):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.LeakyReLU(0.1),
            nn.Flatten(),
            nn.Linear(64, latent),
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent, 64),
            nn.LeakyReLU(0.1),
            nn.Unflatten(1, (16, 2, 2)),
            nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1),
            nn.LeakyReLU(0.1),
            nn.ConvTranspose2d(8, 1, 4, stride=2, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, x):
        return self.decoder(self.encoder(x))


class Trainer:
    def __init__(self, model, train_images, val_images, *, lr=1e-2, noise=0.2, batch_size=64, seed=0):
        self.model = model
        self.noise = noise
        self.generator = torch.Generator().manual_seed(seed)
        self.train_loader = DataLoader(train_images, batch_size=batch_size, shuffle=True, generator=self.generator)
        self.val_loader = DataLoader(val_images, batch_size=batch_size)
        self.optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        self.criterion = nn.MSELoss()
        self.history = {"train": [], "val": []}

    def corrupt(self, images):
        noise = torch.randn(images.shape, generator=self.generator)
        return (images + self.noise * noise).clamp(0, 1)

    def _train_epoch(self):
        self.model.train()
        losses = []
        for images in self.train_loader:
            self.optimizer.zero_grad()
            loss = self.criterion(self.model(self.corrupt(images)), images)
            loss.backward()
            self.optimizer.step()
            losses.append(loss.item())
        return sum(losses) / len(losses)

    @torch.no_grad()
    def _val_epoch(self):
        self.model.eval()
        losses = [self.criterion(self.model(self.corrupt(images)), images).item() for images in self.val_loader]
        return sum(losses) / len(losses)

    def fit(self, epochs):
        for epoch in range(epochs):
            self.history["train"].append(self._train_epoch())
            self.history["val"].append(self._val_epoch())
            print(f"[{epoch + 1:2d}/{epochs}] train={self.history['train'][-1]:.4f} val={self.history['val'][-1]:.4f}")
        return self.history


def main():
    torch.manual_seed(0)
    images = torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1) / 16
    images = images[torch.randperm(len(images))]
    trainer = Trainer(ConvAutoencoder(), images[:1400], images[1400:])
    history = trainer.fit(epochs=8)
    print(f"best validation loss {min(history['val']):.4f}")


if __name__ == "__main__":
    main()
