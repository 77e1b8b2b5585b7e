"""Trains a Wasserstein GAN with gradient penalty on a ring of eight Gaussians."""

import argparse
import math

import torch
from torch import autograd, nn

parser = argparse.ArgumentParser()
parser.add_argument("--n_iters", type=int, default=101, help="generator updates")
parser.add_argument("--n_critic", type=int, default=3, help="critic updates per generator update")
parser.add_argument("--batch_size", type=int, default=128)
parser.add_argument("--latent_dim", type=int, default=8)
parser.add_argument("--lambda_gp", type=float, default=1.0)
parser.add_argument("--lr", type=float, default=2e-3)
opt = parser.parse_args()

torch.manual_seed(0)


def real_batch(n):
    angle = torch.randint(8, (n,)) * (2 * math.pi / 8)
    centers = torch.stack([angle.cos(), angle.sin()], dim=1)
    return 1.5 * centers + 0.05 * torch.randn(n, 2)


class Generator(nn.Module):
    def __init__(self):
        super().__init__()

        def block(in_feat, out_feat):
            return [nn.Linear(in_feat, out_feat), nn.BatchNorm1d(out_feat), nn.ReLU(inplace=True)]

        self.model = nn.Sequential(*block(opt.latent_dim, 64), *block(64, 64), nn.Linear(64, 2))

    def forward(self, z):
        return self.model(z)


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(
            nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
        )

    def forward(self, x):
        return self.model(x).squeeze(1)


def gradient_penalty(critic, real, fake):
    eps = torch.rand(real.size(0), 1)
    interpolates = (eps * real + (1 - eps) * fake).requires_grad_(True)
    scores = critic(interpolates)
    gradients = autograd.grad(
        outputs=scores, inputs=interpolates, grad_outputs=torch.ones_like(scores), create_graph=True
    )[0]
    return ((gradients.norm(2, dim=1) - 1) ** 2).mean()


generator, critic = Generator(), Critic()
optimizer_G = torch.optim.Adam(generator.parameters(), lr=opt.lr / 2, betas=(0.5, 0.9))
optimizer_C = torch.optim.Adam(critic.parameters(), lr=opt.lr, betas=(0.5, 0.9))

for iteration in range(opt.n_iters):
    # ---------------------
    #  Train the critic
    # ---------------------
    for _ in range(opt.n_critic):
        real = real_batch(opt.batch_size)
        z = torch.randn(opt.batch_size, opt.latent_dim)
        with torch.no_grad():  # the generator gets no gradient from the critic's loss
            fake = generator(z)
        optimizer_C.zero_grad()
        loss_C = -critic(real).mean() + critic(fake).mean()
        penalty = gradient_penalty(critic, real, fake)
        (loss_C + opt.lambda_gp * penalty).backward()
        optimizer_C.step()

    # ---------------------
    #  Train the generator
    # ---------------------
    for p in critic.parameters():
        p.requires_grad_(False)  # saves computation
    optimizer_G.zero_grad()
    loss_G = -critic(generator(torch.randn(opt.batch_size, opt.latent_dim))).mean()
    loss_G.backward()
    optimizer_G.step()
    for p in critic.parameters():
        p.requires_grad_(True)

    if iteration % 20 == 0:
        print(
            f"iter {iteration:4d}  wasserstein {-loss_C.item():.4f}  penalty {penalty.item():.4f}  G {loss_G.item():.4f}"
        )

generator.eval()
with torch.no_grad():
    radius = generator(torch.randn(500, opt.latent_dim)).norm(dim=1)
print(f"radius of samples {radius.mean():.3f} +- {radius.std():.3f} (data: 1.5)")
