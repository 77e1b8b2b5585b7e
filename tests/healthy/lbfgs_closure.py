"""Fits a smooth function with a small tanh net by L-BFGS with a closure and an L2 penalty."""

import torch

torch.manual_seed(2)
torch.set_default_dtype(torch.float64)


def f(x):
    return torch.sin(3 * x[:, :1]) * torch.cos(2 * x[:, 1:])


x_train = torch.rand(256, 2) * 2 - 1
y_train = f(x_train) + 0.02 * torch.randn(256, 1)
x_test = torch.rand(200, 2) * 2 - 1
y_test = f(x_test)

net = torch.nn.Sequential(
    torch.nn.Linear(2, 20), torch.nn.Tanh(), torch.nn.Linear(20, 20), torch.nn.Tanh(), torch.nn.Linear(20, 1)
)
loss_fn = torch.nn.MSELoss()
optimizer = torch.optim.LBFGS(net.parameters(), lr=1, max_iter=8, history_size=20, line_search_fn="strong_wolfe")
evaluations = 0


def closure():
    global evaluations
    evaluations += 1
    optimizer.zero_grad()
    penalty = sum(p.square().sum() for p in net.parameters())
    loss = loss_fn(net(x_train), y_train) + 1e-6 * penalty
    loss.backward()
    return loss


for step in range(25):
    loss = optimizer.step(closure)
    if step % 4 == 0:
        net.eval()
        with torch.no_grad():
            test_loss = loss_fn(net(x_test), y_test)
        net.train()
        print(f"step {step:2d}  loss {loss.item():.6f}  test loss {test_loss.item():.6f}  evaluations {evaluations}")
