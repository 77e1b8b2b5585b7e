"""Losses that are written by hand: a watched run knows them as the published ones that they are."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import markone

SQUARED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "power": lambda p, t: ((p - t) ** 2).mean(),
    "pow": lambda p, t: (t - p).pow(2).mean(),
    "product": lambda p, t: (lambda d: (d * d).mean())(p - t),
    "selected": lambda p, t: ((p[:, 0] - t[:, 0]) ** 2).mean(),
    "squeezed": lambda p, t: (p.squeeze(1) - t.squeeze(1)).square().mean(),
    "published": nn.functional.mse_loss,
}
OTHERS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cubed": lambda p, t: (p - t).pow(3).abs().mean(),
    "summed over columns": lambda p, t: ((p - t) ** 2).sum(1).mean(),
    "of another value": lambda p, t: ((2 * p - t) ** 2).mean(),
}


def watched(loss_of: Callable[[Tensor, Tensor], Tensor], folder: Path, *, outputs: int = 1) -> markone.Run:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, outputs))
    optimizer = torch.optim.SGD(net.parameters(), 0.05)
    with markone.watch(net, optimizer, folder=folder) as run:
        for _ in range(14):
            x = torch.randn(16, 4)
            loss = loss_of(net(x), torch.stack([x.sum(1)] * outputs, 1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return run.finished


@pytest.mark.parametrize("name", SQUARED)
def test_a_squared_error_is_known_however_it_is_written(name: str, tmp_path: Path) -> None:
    run, published = watched(SQUARED[name], tmp_path / "a"), watched(nn.functional.mse_loss, tmp_path / "b")
    assert run.facts["blind_guess"]["loss"] == pytest.approx(published.facts["blind_guess"]["loss"], rel=1e-5)
    ours, theirs = (one.vitals("step_gain")["net"].values for one in (run, published))
    assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("name", OTHERS)
def test_another_loss_is_not_taken_for_it(name: str, tmp_path: Path) -> None:
    run = watched(OTHERS[name], tmp_path / "run", outputs=2)
    assert "blind_guess" not in run.facts
    assert "net" not in run.vitals("step_gain")


def test_a_layer_may_be_called_as_the_whole_is(tmp_path: Path) -> None:
    net = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(net.parameters(), 0.05)
    with markone.watch(net, optimizer, folder=tmp_path / "run") as run:
        for _ in range(4):
            nn.functional.mse_loss(net(torch.ones(4, 4)), torch.ones(4, 1)).backward()
            optimizer.step()
    ratio = run.finished.vitals("update_ratio")
    assert set(ratio) == {"net", "Linear"}
    assert ratio["net"].steps.tolist() == [1, 2, 3, 4]
