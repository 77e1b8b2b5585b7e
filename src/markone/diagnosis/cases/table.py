"""CASES: ill recipes and their healthy twins, small enough to be trained in a few seconds; fixtures, lessons and demos at once."""

from dataclasses import dataclass
from typing import Any

from markone.data.source import Builtin
from markone.data.synthetic import Letters, Moons, Spirals
from markone.errors import InputError, did_you_mean
from markone.recipe import Recipe, Recording
from markone.spec import diff

# Vitals are taken as often as the plan wants, whatever they cost, so that a case comes out alike on a slow machine.
RECORDING = Recording(vitals_budget=1.0)


@dataclass(frozen=True)
class Case:
    """ill: on this recipe the check of this slug fires, as the first cause. twin: on this one no check says more than a note.

    under: of a symptom, the cause that it is folded under.
    """

    slug: str
    ill: Recipe
    twin: Recipe
    under: str | None = None

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


def _case(slug: str, twin: Recipe, ill: dict[str, Any], *, under: str | None = None) -> Case:
    """The ill recipe is the twin with edits."""
    return Case(slug, twin.edit_all(ill), twin, under)


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
_LETTERS = _recipe(
    Letters(samples=1000),
    {"split.duplicates": False, "net.kind": "mlp", "net.width": 32, "optimizer.lr": 0.003, "epochs": 8},
)
_SLOW_DIGITS = _DIGITS.edit_all({"optimizer.kind": "sgd", "optimizer.lr": 0.1, "net.activation": "tanh"})
_DEEP_TANH = {"net.depth": 20, "net.activation": "tanh", "initialization.kind": "glorot-normal"}

CASES: tuple[Case, ...] = (
    # the largest column of breast-cancer is 100,000 times as large as the smallest
    _case("input-unnormalized", _CANCER, {"normalization": None}),
    # slopes of at most 1/4, ten times over
    _case("vanishing-gradient", _DIGITS.edit_all(_DEEP_TANH), {"net.activation": "sigmoid"}),
    # weights three times as large as He's multiply the signal by three in every layer, both ways
    _case("exploding-gradient", _DIGITS.edit_all({"net.depth": 8}), {"initialization.gain": 4.5}),
    # 1e12 in every layer: the fourth leaves what float32 can hold, before anything is learned
    _case("non-finite", _DIGITS, {"initialization.gain": 1e12}, under="init-scale-wrong"),
    # two units a layer: the chance that both are 0 everywhere is a quarter or more in every layer
    _case("dead-relu", _MOONS.edit_all({"net.depth": 16}), {"net.width": 2}),
    # pre-activations of standard deviation 10 and more: tanh is flat beyond 2.2
    _case(
        "saturated-activation",
        _DIGITS.edit_all({"net.activation": "tanh", "initialization.kind": "glorot-normal"}),
        {"initialization.gain": 20.0},
        under="init-scale-wrong",
    ),
    _case("lr-too-high", _SPIRALS, {"optimizer.lr": 3.0}),
    _case("lr-too-low", _DIGITS, {"optimizer.lr": 1e-6}),
    # the same net and the same few noisy points, for so long that it learns the noise by heart
    _case("overfitting", _FEW_MOONS, {"epochs": 200}),
    # a straight line cannot part two spirals
    _case("underfitting", _SPIRALS, {"net.depth": 0}),
    # nor can four layers that are one straight line together
    _case("missing-hidden-activation", _SPIRALS, {"net.activation": "identity"}),
    _case("init-constant", _DIGITS, {"initialization.kind": "constant", "initialization.value": 0.05}),
    # the root of 64 and of 32 inputs times 0.001: a signal of 1e-7 arrives behind three layers
    _case("init-scale-wrong", _DIGITS, {"initialization.kind": "normal", "initialization.std": 0.001}),
    # nine in ten units are dropped in each of three layers
    _case("dropout-too-high", _DIGITS, {"net.dropout": 0.9}),
    _case("over-regularized", _DIGITS, {"regularization.weight_decay": 100.0}),
    # ten classes behind two units
    _case("net-too-small", _DIGITS, {"net.width": 2}),
    _case("too-deep-without-residual", _DIGITS.edit_all({"batch_size": 128, "epochs": 5}), {"net.depth": 60}),
    # white is 16 in these pictures: divided by 255 twice they vary by a hundred-thousandth
    _case(
        "input-double-normalized",
        _DIGITS.edit_all({"normalization.kind": "fixed", "normalization.mean": [0.0], "normalization.std": [0.06]}),
        {"normalization.std": [255.0]},
    ),
    # a square that covers the whole picture, or most of it
    _case("augmentation-too-strong", _DIGITS.edit("augmentation.cutout", 2), {"augmentation.cutout": 14}),
    _case("label-noise", _MOONS, {"data.wrong": 0.25}),
    # without noise there are 8 letters at 25 places each, and nothing keeps their copies on one side
    _case("leak-across-parts", _LETTERS, {"data.noise": 0.0}),
    # steps of 0.003 g / (|g| + 10), gradients being some hundredths
    _case("optimizer-arguments", _DIGITS, {"optimizer.epsilon": 10.0}),
    # scores a hundred times too large, of a net of one layer
    _case("poor-initial-loss", _DIGITS.edit_all({"net.depth": 0}), {"initialization.gain": 100.0}, under="lr-too-low"),
    _case("weights-unchanged", _DIGITS, {"optimizer.lr": 1e-12}),
    # each of 960 steps goes where one point wants it
    _case(
        "batch-size-too-small",
        _recipe(
            Moons(samples=300),
            {
                "net.kind": "mlp",
                "net.depth": 3,
                "net.width": 32,
                "optimizer.kind": "momentum",
                "optimizer.lr": 0.05,
                "batch_size": 16,
                "epochs": 4,
            },
        ),
        {"batch_size": 1},
    ),
    _case("batch-size-too-large", _SPIRALS, {"batch_size": 1000}),
    _case("epochs-too-few", _DIGITS.edit("optimizer.lr", 0.0008), {"epochs": 1}),
    # thrown up by the first step: all units of a layer are dead, or all weights far too large
    _case("constant-output", _DIGITS, {"optimizer.lr": 1.0}, under="lr-too-high"),
    _case("activation-scale-drift", _DIGITS, {"optimizer.lr": 1.0}, under="lr-too-high"),
    _case("loss-diverging", _SLOW_DIGITS, {"optimizer.lr": 30.0}, under="lr-too-high"),
    _case("loss-oscillating", _SLOW_DIGITS, {"optimizer.lr": 30.0}, under="lr-too-high"),
    _case("loss-plateau", _SPIRALS, {"net.depth": 0}, under="underfitting"),
)
