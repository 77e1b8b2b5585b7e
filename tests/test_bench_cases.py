"""The interpreter of neutral descriptions (bench/cases): shapes, initial weights, optimizers and losses as Keras has them."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

BENCH = Path(__file__).parents[1] / "bench"

NET: dict[str, Any] = {
    "id": "at-net", "task": "classification, 10 classes, one-hot labels", "input_shape": [28, 28, 1], "data": "MNIST (60000/10000)",
    "layers": [
        {"type": "conv2d", "filters": 6, "kernel": "(5, 5)", "stride": 1, "padding": "same", "activation": "relu",
         "kernel_init": "he_normal (VarianceScaling 2.0 fan_in normal)", "l2": 0.01},
        {"type": "batchnorm", "momentum_keras": 0.99, "eps": 0.001},
        {"type": "maxpool2d", "size": [2, 2], "stride": 2},
        {"type": "conv2d", "filters": 8, "kernel": 3, "stride": 1, "padding": "valid", "activation": None, "bias": False},
        {"type": "flatten"},
        {"type": "dropout", "p_drop": 0.3},
        {"type": "dense", "units": 10, "activation": "softmax", "bias_init": "constant(0.1)"},
    ],
    "loss": "categorical cross-entropy", "optimizer": "rmsprop", "optimizer_args": {"rho": 0.7}, "lr": 0.01, "momentum": None,
    "batch_size": 64, "epochs": 2, "preprocessing": "/255", "fault_labels": ["lr_too_high"], "known_fix": "lr 1e-3", "healthy": False,
}  # fmt: skip
TABLE: dict[str, Any] = NET | {
    "id": "tdc-table", "task": "regression", "input_shape": [9], "data": "auto-mpg (392 rows)", "loss": "sum of squared errors",
    "layers": [{"type": "dense", "units": 4, "activation": "tanh"}, {"type": "dense", "units": 1, "activation": None}],
    "optimizer": "adam", "optimizer_args": None, "lr": 0.001, "preprocessing": "per-column min-max to [0,1]; target min-max to [0,1]",
}  # fmt: skip
CIRCLES: dict[str, Any] = TABLE | {
    "id": "pt-circles", "task": "binary classification", "input_shape": [2], "data": "sklearn make_circles(n_samples=1000)",
    "layers": [
        {"type": "dense", "units": 5, "activation": "relu", "kernel_init": "he_uniform"},
        {"type": "dense", "units": 1, "activation": "sigmoid"},
    ],
    "loss": "binary_crossentropy", "preprocessing": "none", "epochs": 400,
}  # fmt: skip


@pytest.fixture(autouse=True)
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The scripts of the bench are no part of the package; they find each other as ``python bench/...`` finds them."""
    monkeypatch.syspath_prepend(str(BENCH))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    for name in [name for name in sys.modules if name in ("cases", "diagnosis") or name.startswith("cases.")]:
        del sys.modules[name]


def test_layers_have_the_shapes_of_keras() -> None:
    from cases.description import read_case
    from cases.nets import build_net

    net = build_net(read_case(NET))
    shapes = []
    x = torch.rand(2, 1, 28, 28)
    for module in net.children():
        x = module(x)
        shapes.append((type(module).__name__, tuple(x.shape[1:])))
    assert shapes == [
        ("Conv2d", (6, 28, 28)), ("ReLU", (6, 28, 28)), ("BatchNorm2d", (6, 28, 28)), ("MaxPool2d", (6, 14, 14)),
        ("Conv2d", (8, 12, 12)), ("Flatten", (1152,)), ("Dropout", (1152,)), ("Linear", (10,)),
    ]  # fmt: skip
    normalization, convolution = net[2], net[4]
    assert (normalization.momentum, normalization.eps) == (pytest.approx(0.01), 1e-3)
    assert convolution.bias is None
    assert net[0].bias.abs().max() == 0
    assert (net[7].bias == 0.1).all()


def draw(init: str, shape: tuple[int, ...] = (300, 50, 3, 3)) -> torch.Tensor:
    from cases.nets import fill

    tensor = torch.empty(shape)
    fill(tensor, init)
    return tensor


@pytest.mark.parametrize(
    ("init", "theirs"),
    [
        ("he_uniform", lambda w: nn.init.kaiming_uniform_(w, nonlinearity="relu")),
        ("glorot_uniform", nn.init.xavier_uniform_),
        ("scaling 1 fan_avg uniform", nn.init.xavier_uniform_),
        ("scaling 2 fan_in uniform", lambda w: nn.init.kaiming_uniform_(w, nonlinearity="relu")),
        ("he_normal", lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu")),
        ("lecun_normal", lambda w: nn.init.kaiming_normal_(w, nonlinearity="linear")),
        ("glorot_normal", nn.init.xavier_normal_),
    ],
)
def test_initializers_are_those_of_torch(init: str, theirs: Any) -> None:
    """Normal ones are cut at two standard deviations, as in Keras, and keep the standard deviation."""
    ours, other = draw(init), torch.empty(300, 50, 3, 3)
    theirs(other)
    std = float(other.std())
    assert float(ours.std()) == pytest.approx(std, rel=0.01)
    most = 3**0.5 if "uniform" in init else 2 / 0.8796
    assert float(ours.abs().max()) == pytest.approx(most * std, rel=0.01)


def test_written_initializers_are_understood() -> None:
    from cases.description import NotPortable, initializer

    assert initializer("VarianceScaling(scale=2, fan_in, uniform) = he_uniform") == "scaling 2 fan_in uniform"
    assert initializer("trunc_normal(std=sqrt(2/14))") == "truncated 0.377964"
    assert initializer("normal(mean=0,std=0.25)") == "normal 0.25"
    assert initializer("glorot_uniform (TF1 default)") == "glorot_uniform"
    with pytest.raises(NotPortable, match="orthogonal"):
        initializer("orthogonal")


def test_optimizers_have_the_defaults_of_their_framework() -> None:
    from cases.description import read_case
    from cases.nets import build_net
    from cases.port import make_optimizer

    def made(given: dict[str, Any]) -> torch.optim.Optimizer:
        case = read_case(given)
        return make_optimizer(case, build_net(case))

    rmsprop = made(NET)
    assert isinstance(rmsprop, torch.optim.RMSprop)
    assert (rmsprop.defaults["alpha"], rmsprop.defaults["eps"]) == (0.7, 1e-7)
    assert [group["weight_decay"] for group in rmsprop.param_groups] == [
        0.02,
        0.0,
    ]  # the gradient of l2 |w|^2, on kernels only
    keras, pytorch = made(TABLE | {"id": "at-table"}), made(TABLE)
    assert (keras.defaults["eps"], pytorch.defaults["eps"]) == (1e-7, 1e-8)
    assert keras.defaults["betas"] == (0.9, 0.999)
    adagrad = made(NET | {"optimizer": "adagrad", "optimizer_args": None})
    assert adagrad.defaults["initial_accumulator_value"] == 0.1
    sgd = made(NET | {"optimizer": "sgd+momentum", "momentum": 0.9, "optimizer_args": None})
    assert (sgd.defaults["momentum"], sgd.defaults["nesterov"]) == (0.9, False)


def test_losses_are_what_their_words_say() -> None:
    from cases.description import read_case
    from cases.port import loss_of

    torch.manual_seed(0)
    scores, y = torch.randn(8, 10), torch.randint(10, (8,))
    mean = functional.cross_entropy(scores, y)

    def loss(words: str, given: torch.Tensor = scores) -> torch.Tensor:
        return loss_of(read_case(NET | {"loss": words}), given, y)

    assert loss("cross-entropy on logits") == mean
    assert loss("softmax cross-entropy on logits, mean over batch, plus l2 1e-5 on kernels") == mean
    assert loss("categorical cross-entropy") == mean  # the softmax in front of it is left to the loss
    assert torch.allclose(loss("sum over batch of (mean over classes of -y*log(softmax))"), mean * 8 / 10)
    assert torch.allclose(loss("-sum over batch and classes of y*log(softmax)", scores.softmax(1)), mean * 8)
    sigmoid = read_case(
        NET | {"layers": [*NET["layers"][:-1], {"type": "dense", "units": 10, "activation": "sigmoid"}]}
    )
    shares = scores.sigmoid() / scores.sigmoid().sum(1, keepdim=True)  # Keras divides by their sum
    assert torch.allclose(loss_of(sigmoid, scores.sigmoid(), y), -shares[range(8), y].log().mean())


def test_stand_ins_are_said_and_targets_scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    from cases.data import load_parts
    from cases.description import read_case

    monkeypatch.delenv("MARKONE_DATA", raising=False)
    cars = load_parts(read_case(TABLE), rows=500)
    assert cars.stand_in is not None
    assert (cars.x.shape, cars.y.shape) == ((314, 9), (314, 1))
    assert (float(cars.y.min()), float(cars.y.max())) == (0, 1)
    digits = load_parts(read_case(NET), rows=100, pool=2)
    assert digits.x.shape == (100, 1, 14, 14)
    assert digits.stand_in is not None
    scrambled = load_parts(replace(read_case(NET), shape=(28, 28, 3), twists=frozenset({"layout_scrambled"})), rows=9)
    assert scrambled.x.shape == (9, 3, 28, 28)
    circles = load_parts(read_case(CIRCLES), rows=5)
    assert circles.stand_in is None
    assert set(np.unique(circles.y)) == {0, 1}


def test_a_port_is_watched_and_judged_fairly(tmp_path: Path) -> None:
    from cases.description import read_case
    from cases.labels import right_causes
    from cases.port import plan, train, twin_of

    from markone.training.run import Run

    case = read_case(CIRCLES | {"lr": 0.02})
    made = plan(case)
    assert made.cut
    outcome = train(replace(made, steps=60), seed=0, folder=tmp_path / "run")
    run = Run(tmp_path / "run")
    assert (run.status, run.steps, outcome.steps) == ("finished", 60, 60)
    assert len(run.scalars("accuracy", "validation")) == len(outcome.reported) > 0
    assert outcome.reported[-1][1] == pytest.approx(outcome.skill)
    assert right_causes(case) == {"lr-too-high"}
    fixed = twin_of(replace(case, known_fix="batch normalization, selu hidden activations"), {})
    assert fixed is not None
    assert fixed.layers[0].activation == "selu"
    assert twin_of(case, {}) is None  # whose fix we cannot read


def test_a_smaller_port_means_the_same_to_a_layer() -> None:
    """Half of the inputs, each with a spread larger by the root of two."""
    from cases.description import read_case
    from cases.nets import build_net, narrowed, operations

    wide = [
        {"type": "dense", "units": units, "activation": None, "kernel_init": "normal(std=0.1)"}
        for units in (400, 400, 10)
    ]
    case = read_case(NET | {"input_shape": [784], "layers": wide})
    narrow = narrowed(case, 2)
    assert [layer.units for layer in narrow.layers] == [200, 200, 10]
    assert operations(narrow) < operations(case) / 2
    torch.manual_seed(0)
    inner = build_net(narrow)[1]
    assert float(inner.weight.detach().std()) * 200**0.5 == pytest.approx(0.1 * 400**0.5, rel=0.02)


def record(skill: float, *slugs: str, step: int = 30, **more: Any) -> dict[str, Any]:
    findings = [{"slug": slug, "severity": "warning"} for slug in slugs]
    made = {
        "id": "x",
        "seed": 0,
        "role": "faulty",
        "skill": skill,
        "reported": [[100, skill]],
        "steps": 100,
        "absolute": {"dead-relu": 20},
    }
    return made | {"findings": findings, "listed": {str(step): list(slugs)}} | more


def test_figures_are_counted_by_hand() -> None:
    from diagnosis import Sorted, absolute, figures, ours, wilson

    right = frozenset({"lr-too-high"})
    faulty = [
        (record(0.1, "dead-relu", "lr-too-high"), right),
        (record(0.1, "lr-too-high", step=50), right),
        (record(0.1), right),
    ]
    cut = record(0.9, "epochs-too-few", cut=True)  # our budget ended it
    data = Sorted(faulty, [], [record(0.9), record(0.9, "overfitting"), cut], [])
    found = figures(data, ours)
    assert (found["flagged"], found["top-1"], found["top-3"]) == ("66.7 %", "33.3 %", "66.7 %")
    assert (found["precision"], found["false alarms"], found["median steps"]) == ("66.7 %", "33.3 %", 40)
    assert figures(data, absolute)["flagged"] == "100.0 %"
    assert wilson(8, 10) == [0.49, 0.943]  # Brown, Cai and DasGupta 2001


def test_a_run_is_faulty_only_where_it_is_worse_than_its_twin() -> None:
    from cases.description import read_case
    from diagnosis import is_harmed

    case, twins = read_case(CIRCLES), [record(0.90), record(0.94), record(0.92)]
    assert is_harmed(case, record(0.80), twins)
    assert not is_harmed(case, record(0.89), twins)
    assert not is_harmed(case, record(0.0), [record(0.05)] * 3)  # a twin that learns nothing says nothing
    assert is_harmed(case, record(0.92, reported=[[100, 0.8]]), twins)  # it says of itself what is not so
    assert is_harmed(replace(case, labels=("data_leakage_target_in_features",)), record(0.95), twins)
