"""Trains a physics-informed net on a damped oscillator: the equation's residual at random times and the initial state."""

import math

import torch
from torch import nn

torch.manual_seed(123)

DAMPING, OMEGA = 1.0, 5.0  # u'' + 2 d u' + w^2 u = 0,  u(0) = 1,  u'(0) = 0


def exact_solution(t):
    w = math.sqrt(OMEGA**2 - DAMPING**2)
    phi = math.atan(-DAMPING / w)
    amplitude = 1 / (2 * math.cos(phi))
    return 2 * amplitude * torch.exp(-DAMPING * t) * torch.cos(phi + w * t)


class FCN(nn.Module):
    "Defines a fully-connected network"

    def __init__(self, n_hidden, n_layers):
        super().__init__()
        self.fcs = nn.Sequential(nn.Linear(1, n_hidden), nn.Tanh())
        self.fch = nn.Sequential(
            *[nn.Sequential(nn.Linear(n_hidden, n_hidden), nn.Tanh()) for _ in range(n_layers - 1)]
        )
        self.fce = nn.Linear(n_hidden, 1)

    def forward(self, x):
        return self.fce(self.fch(self.fcs(x)))


pinn = FCN(24, 2)
t_boundary = torch.zeros(1, 1, requires_grad=True)
t_test = torch.linspace(0, 1, 101).view(-1, 1)
u_exact = exact_solution(t_test)

optimizer = torch.optim.Adam(pinn.parameters(), lr=1e-2)
scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.994)
lambda1, lambda2 = 1e-1, 1e-3

for i in range(401):
    optimizer.zero_grad()

    # boundary loss
    u = pinn(t_boundary)
    loss1 = (torch.squeeze(u) - 1) ** 2
    dudt = torch.autograd.grad(u, t_boundary, torch.ones_like(u), create_graph=True)[0]
    loss2 = (torch.squeeze(dudt) - 0) ** 2

    # physics loss, at new points in every step
    t_physics = torch.rand(32, 1).requires_grad_(True)
    u = pinn(t_physics)
    dudt = torch.autograd.grad(u, t_physics, torch.ones_like(u), create_graph=True)[0]
    d2udt2 = torch.autograd.grad(dudt, t_physics, torch.ones_like(dudt), create_graph=True)[0]
    loss3 = torch.mean((d2udt2 + 2 * DAMPING * dudt + OMEGA**2 * u) ** 2)

    # backpropagate joint loss, take optimiser step
    loss = loss1 + lambda1 * loss2 + lambda2 * loss3
    loss.backward()
    optimizer.step()
    scheduler.step()

    if i % 100 == 0:
        with torch.no_grad():
            error = (pinn(t_test) - u_exact).abs().max()
        print(f"step {i:4d}  loss {loss.item():.6f}  physics {loss3.item():.4f}  largest error {error.item():.4f}")
