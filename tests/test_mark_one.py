"""The Mark I Perceptron: its wiring is random, signed, fixed and kept; and it learns to tell letters."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from markone.nets import MarkOne
from markone.nets.initializers import Constant, HeNormal
from markone.recipe import Recipe
from markone.seeds import torch_generator
from markone.training.evaluate import open_test
from markone.training.learner import Learner
from markone.training.loop import fit
from markone.training.material import prepare

RETINA = (1, 20, 20)
LETTERS = {
    "data": {"kind": "letters", "samples": 12_000, "shift": 2, "noise": 0.05},
    "net": "mark-one",
    "initialization": "constant",
    "rule": "perceptron",
    "optimizer": {"kind": "sgd", "lr": 0.1},
    "schedule": "constant",
    "batch_size": 1,
    "epochs": 2,
    "precision": "float32",
}


def made(spec: MarkOne, seed: int = 0) -> nn.Module:
    net = spec.build(RETINA, 8)
    HeNormal().build()(net, torch_generator(seed, "init"))
    return net


def test_the_machine_as_it_stood() -> None:
    net = made(MarkOne())
    assert net.wiring.wires.shape == (512, 400)
    assert [tuple(parameter.shape) for parameter in net.parameters()] == [(8, 512)], "a motor for each weight, no more"


@pytest.mark.parametrize("connections", [1, 2, 5, 30])
def test_wires_are_signed_and_of_a_fixed_number(connections: int) -> None:
    wires = made(MarkOne(connections=connections)).wiring.wires
    assert torch.equal(wires, wires.round())
    excitatory, inhibitory = (connections + 1) // 2, connections // 2
    assert (wires.sum(dim=1) == excitatory - inhibitory).all(), "what cancels at one sensor is of both kinds"
    reach = wires.abs().sum(dim=1)
    assert reach.max() == connections
    assert reach.mean() > 0.9 * connections, "few wires meet at one of 400 sensors"
    assert (wires.abs().sum(dim=0) > 0).float().mean() > 0.6, "sensors all over the retina are used"


def test_every_unit_has_a_threshold_of_its_own() -> None:
    thresholds = made(MarkOne(threshold=3.0, threshold_spread=0.5)).wiring.thresholds
    assert len(thresholds.unique()) > 500, "of 512"
    assert (thresholds - 3).abs().max() <= 0.5
    assert thresholds.mean() == pytest.approx(3, abs=4 * 0.5 / (3 * 512) ** 0.5)
    assert thresholds.std() == pytest.approx(0.5 / 3**0.5, rel=0.1)
    assert (made(MarkOne(threshold=3.0, threshold_spread=0.0)).wiring.thresholds == 3).all()


def test_the_seed_decides_the_wiring_whatever_draws_the_weights() -> None:
    net = made(MarkOne())
    assert torch.equal(net.wiring.wires, made(MarkOne()).wiring.wires)
    assert not torch.equal(net.wiring.wires, made(MarkOne(), seed=1).wiring.wires)
    assert torch.equal(net.wiring.thresholds, made(MarkOne()).wiring.thresholds)
    assert not torch.equal(net.wiring.thresholds, made(MarkOne(), seed=1).wiring.thresholds)
    other = MarkOne().build(RETINA, 8)
    Constant().build()(other, torch_generator(0, "init"))
    assert torch.equal(net.wiring.wires, other.wiring.wires)


def test_the_wiring_of_a_training_is_that_of_its_seed(small_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = small_recipe({**LETTERS, "data.samples": 200, "epochs": 2})
    before = Learner(prepare(recipe)).net.wiring
    run = fit(recipe, folder=tmp_path / "run")
    kept = load_file(run.folder / "net.safetensors")
    assert torch.equal(kept["wiring.wires"], before.wires), "learning changes the weights to the response units alone"
    assert torch.equal(kept["wiring.thresholds"], before.thresholds)
    assert kept["head.weight"].any()
    assert not torch.equal(Learner(prepare(recipe.edit("seed", 1))).net.wiring.wires, before.wires)


def test_association_units_fire_at_their_thresholds() -> None:
    """Against the sum over wires, unit by unit, in whole numbers."""
    spec = MarkOne(associations=20, connections=9, threshold=1.0, threshold_spread=2.5, light=0.5)
    net = made(spec)
    lit = torch.rand(30, *RETINA, generator=torch_generator(0, "data"))
    wires, thresholds = net.wiring.wires.long().tolist(), net.wiring.thresholds.tolist()
    on = (lit.flatten(1) > 0.5).tolist()
    units = [*zip(wires, thresholds, strict=True)]
    fires = [[sum(w for w, s in zip(unit, row, strict=True) if s) >= least for unit, least in units] for row in on]
    assert torch.equal(net.association(net.wiring(net.sensors(lit))).bool(), torch.tensor(fires))
    assert 0.02 < torch.tensor(fires).float().mean() < 0.98


@pytest.mark.slow
def test_it_tells_eight_letters_that_it_has_not_seen(tmp_path: Path) -> None:
    """One at a time; shifted by up to 2 pixels each way, 5 % of the pixels flipped; the test part of each of 3 seeds."""
    accuracies = []
    for seed in range(3):
        recipe = Recipe.from_dict({**LETTERS, "seed": seed, "recording": {"vitals": False}})
        recipe = recipe.edit("data.seed", seed)
        run = fit(recipe, folder=tmp_path / str(seed))
        accuracies.append(open_test(run)["metrics"]["accuracy"]["value"])
    print(f"mean {sum(accuracies) / 3:.4f}, worst {min(accuracies):.4f}")
    assert min(accuracies) >= 0.95
