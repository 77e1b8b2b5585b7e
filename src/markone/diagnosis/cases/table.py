"""CASES: ill recipes and their healthy twins, small enough to be trained in a few seconds; fixtures, lessons and demos at once."""

from dataclasses import dataclass
from typing import Any

from markone.data.source import Builtin
from markone.data.synthetic import Moons, Spirals
from markone.errors import InputError, did_you_mean
from markone.recipe import Recipe, Recording
from markone.spec import diff

# Vitals are taken as often as the plan wants, whatever they cost, so that a case comes out alike on a slow machine.
RECORDING = Recording(vitals_budget=1.0)


@dataclass(frozen=True)
class Case:
    """ill: on this recipe the check of this slug fires, as the first cause. twin: on this one no check says more than a note."""

    slug: str
    ill: Recipe
    twin: Recipe

    @property
    def difference(self) -> dict[str, tuple[Any, Any]]:
        """What the ill recipe has and what the twin has, by dotted path."""
        return diff(self.ill, self.twin)


def case(slug: str) -> Case:
    """The case of a slug. Raises InputError that offers the near one."""
    found = {one.slug: one for one in CASES}
    if slug not in found:
        near = did_you_mean(slug, found)
        raise InputError("case-unknown", f"there is no case {slug!r}.{near} Allowed: {', '.join(found)}.")
    return found[slug]


def _case(slug: str, twin: Recipe, ill: dict[str, Any]) -> Case:
    """The ill recipe is the twin with edits."""
    return Case(slug, twin.edit_all(ill), twin)


def _recipe(data: Any, edits: dict[str, Any]) -> Recipe:
    plain: dict[str, Any] = {"schedule.kind": "constant", "precision": "float32", "batch_size": 64}
    return Recipe(data=data, recording=RECORDING).edit_all({**plain, **edits})


_DIGITS = _recipe(
    Builtin(kind="digits"), {"net.kind": "mlp", "net.depth": 3, "net.width": 32, "optimizer.lr": 0.003, "epochs": 8}
)
_CANCER = _recipe(
    Builtin(kind="breast-cancer"),
    {"net.kind": "mlp", "net.width": 32, "optimizer.lr": 0.003, "batch_size": 32, "epochs": 12},
)
_SPIRALS = _recipe(
    Spirals(samples=1000), {"net.kind": "mlp", "net.depth": 3, "net.width": 64, "optimizer.lr": 0.01, "epochs": 20}
)
_MOONS = _recipe(
    Moons(samples=1000), {"net.kind": "mlp", "net.depth": 2, "net.width": 32, "optimizer.lr": 0.01, "epochs": 15}
)
_FEW_MOONS = _recipe(
    Moons(samples=600, noise=0.5),
    {
        "split.validation": 0.5,
        "split.test": 0.0,
        "net.kind": "mlp",
        "net.depth": 3,
        "net.width": 128,
        "optimizer.lr": 0.005,
        "batch_size": 32,
        "epochs": 8,
    },
)
_DEEP_TANH = {"net.depth": 20, "net.activation": "tanh", "initialization.kind": "glorot-normal"}

CASES: tuple[Case, ...] = (
    # the largest column of breast-cancer is 100,000 times as large as the smallest
    _case("input-unnormalized", _CANCER, {"normalization": None}),
    # slopes of at most 1/4, ten times over
    _case("vanishing-gradient", _DIGITS.edit_all(_DEEP_TANH), {"net.activation": "sigmoid"}),
    # weights three times as large as He's multiply the signal by three in every layer, both ways
    _case("exploding-gradient", _DIGITS.edit_all({"net.depth": 8}), {"initialization.gain": 4.5}),
    # 1e12 in every layer: the fourth leaves what float32 can hold, before anything is learned
    _case("non-finite", _DIGITS, {"initialization.gain": 1e12}),
    # two units a layer: the chance that both are 0 everywhere is a quarter or more in every layer
    _case("dead-relu", _MOONS.edit_all({"net.depth": 16}), {"net.width": 2}),
    # pre-activations of standard deviation 10 and more: tanh is flat beyond 2.2
    _case(
        "saturated-activation",
        _DIGITS.edit_all({"net.activation": "tanh", "initialization.kind": "glorot-normal"}),
        {"initialization.gain": 20.0},
    ),
    _case("lr-too-high", _SPIRALS, {"optimizer.lr": 3.0}),
    _case("lr-too-low", _DIGITS, {"optimizer.lr": 1e-6}),
    # the same net and the same few noisy points, for so long that it learns the noise by heart
    _case("overfitting", _FEW_MOONS, {"epochs": 200}),
    # a straight line cannot part two spirals
    _case("underfitting", _SPIRALS, {"net.depth": 0}),
)
