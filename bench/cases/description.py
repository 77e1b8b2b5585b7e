"""Case: one training as a neutral description says it, read from JSON into values that the rest of the bench understands."""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

Task = Literal["classes", "binary", "numbers"]
Json = dict[str, Any]

# What a program does beside its layers, loss, optimizer and data. The descriptions say it in words, and in the label of its fault.
TWISTS = frozenset(
    {
        "gradient_ascent", "bn_running_stats_not_updated", "class_imbalance", "features_shuffled_without_labels",
        "augmentation_too_strong", "eval_mode_missing", "train_mode_missing", "unregistered_parameters",
        "optimizer_missing_parameters", "stale_optimizer_params", "detached_graph", "layout_scrambled", "data_not_shuffled",
        "data_leakage_preprocessing", "duplicate_rows_across_split", "data_leakage_target_in_features", "label_noise",
        "lr_schedule_collapsed", "fp16_gradient_underflow", "gradient_clip_too_small", "weight_collapse",
        "label_preprocessing_wrong", "view_instead_of_permute", "wrong_metric_threshold",
    }
)  # fmt: skip

LOSSES = (  # the first that is found in the words
    ("softmax(logits)", "double softmax"),
    ("raw last-layer outputs", "probability cross-entropy of scores"),
    ("mean over classes", "sum of means"),
    ("axis 0 (batch) instead", "sum of means"),
    ("softmax taken over axis 0", "softmax over the batch"),
    ("between one-hot", "squared error of probabilities"),
    ("over batch and classes", "summed cross-entropy by hand"),
    ("with raw outputs o", "binary cross-entropy of scores by hand"),
    ("clip(out,1e-10,1)", "cross-entropy of numbers"),
    ("broadcasts", "spread squared error"),
    ("pred[n,1], y[n]", "spread squared error"),
    ("sum (not mean)", "sum of squares"),
    ("sum of squared", "sum of squares"),
    ("1/(2t)", "half squared error"),
    ("mean squared error", "squared error"),
    ("bce with logits", "binary cross-entropy of scores"),
    ("sigmoid cross-entropy", "binary cross-entropy of scores"),
    ("binary", "binary cross-entropy"),
    ("categorical", "categorical cross-entropy"),
    ("cross-entropy", "cross-entropy of scores"),
)


class NotPortable(ValueError):
    """A description that this bench cannot turn into a program; the message says why."""


@dataclass(frozen=True)
class Layer:
    """One layer, with the names that Keras gives: units of a dense or convolution layer, size of a kernel, window or vocabulary."""

    kind: str
    units: int = 0
    size: int = 0
    stride: int = 1
    padding: str = "valid"
    activation: str | None = None
    init: str = "glorot_uniform"
    bias: bool = True
    bias_init: str = "zeros"
    l2: float = 0.0
    rate: float = 0.0  # of dropout
    momentum: float = 0.99  # of batch normalization, as Keras counts it
    eps: float = 1e-3
    depth: int = 1  # of a stack of transformer layers
    spread: float = (
        1.0  # what an initializer of a fixed spread is multiplied by, where a port is narrower than the program
    )


@dataclass(frozen=True)
class Descent:
    """The optimizer: its kind and arguments, those of the framework that the program was written in where it gives none."""

    kind: str
    lr: float
    momentum: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-7
    rho: float = 0.9
    weight_decay: float = 0.0


@dataclass(frozen=True)
class Case:
    """labels: what is wrong with it, in the words of its corpus. assumed: what the description leaves open, and what was taken."""

    id: str
    task: Task
    shape: tuple[int, ...]  # of one input, channels last
    data: str
    preprocessing: str
    layers: tuple[Layer, ...]
    loss: str
    descent: Descent
    batch_size: int
    epochs: int | None
    twists: frozenset[str] = frozenset()
    labels: tuple[str, ...] = ()
    known_fix: str = ""
    healthy: bool = False
    counterpart: str | None = None
    assumed: tuple[str, ...] = ()

    @property
    def outputs(self) -> int:
        return self.layers[-1].units or 1


def read_cases(path: Path) -> tuple[dict[str, Case], dict[str, str]]:
    """The cases of a file by id, and for those that cannot be read, why."""
    found, left = {}, {}
    for one in json.loads(path.read_text(encoding="utf-8")):
        try:
            found[one["id"]] = read_case(one)
        except NotPortable as reason:
            left[one["id"]] = str(reason)
    return found, left


def read_case(given: Json) -> Case:
    """Raises NotPortable."""
    labels = tuple(given.get("fault_labels") or ())
    layers = tuple(read_layer(one) for one in given["layers"])
    if "l2_loss" in given["loss"]:  # half the sum of squares, where Keras takes all of it
        layers = tuple(replace(layer, l2=layer.l2 / 2) for layer in layers)
    descent, assumed = read_descent(given)
    batch_size, more = _batch_size(given)
    if str(given["id"]).startswith("pt-"):  # PyTorch's own defaults: momentum 0.1 as PyTorch counts, and its eps
        layers = tuple(replace(one, momentum=0.9, eps=1e-5) if one.kind == "batchnorm" else one for one in layers)
    return Case(
        id=given["id"],
        task=_task(given["task"], layers),
        shape=_channels_last(tuple(given["input_shape"])),
        data=given["data"],
        preprocessing=given["preprocessing"],
        layers=layers,
        loss=_loss(given["loss"]),
        descent=descent,
        batch_size=batch_size,
        epochs=given["epochs"],
        twists=TWISTS
        & set(labels) - ({"optimizer_missing_parameters"} if "stale_optimizer_params" in labels else set()),
        labels=labels,
        known_fix=given.get("known_fix") or "",
        healthy=bool(given["healthy"]),
        counterpart=given.get("healthy_counterpart"),
        assumed=(*assumed, *more),
    )


def read_layer(given: Json) -> Layer:
    kind = given["type"]
    if kind not in {
        "dense", "conv2d", "batchnorm", "maxpool2d", "dropout", "flatten", "embedding", "polynomial", "transformer_encoder",
    }:  # fmt: skip
        raise NotPortable(f"no port of a layer {kind!r}")
    given = {name: value for name, value in given.items() if value is not None}
    return Layer(
        kind=kind,
        units=given.get("units", given.get("filters", given.get("dim", 1 if kind == "polynomial" else 0))),
        size=_side(given.get("kernel", given.get("size", given.get("num", given.get("degree", 0))))),
        stride=_side(given.get("stride", 1)),
        padding=given.get("padding", "valid"),
        activation=given.get("activation"),
        init=initializer(given.get("kernel_init", "glorot_uniform")),
        bias=given.get("bias", True),
        bias_init=initializer(given.get("bias_init", "zeros")),
        l2=given.get("l2", 0.0),
        rate=given.get("p_drop", 0.0),
        momentum=given.get("momentum_keras", 0.99),
        eps=given.get("eps", 1e-3),
        depth=given.get("layers", 1),
    )


def initializer(words: str) -> str:
    """One form for all ways to write an initializer: ``glorot_uniform``, ``zeros``, ``normal 0.1``, ``scaling 2 fan_in uniform``.

    >>> initializer("VarianceScaling(1.0,fan_avg,normal)")
    'scaling 1 fan_avg normal'
    """
    text = words.lower().replace(" ", "")
    scaling = re.search(r"(?:variancescaling|vs)\((?:scale=)?([\d.]+),(fan_\w+),(\w+)\)", text)
    if scaling:
        return f"scaling {float(scaling[1]):g} {scaling[2]} {scaling[3]}"
    if text.startswith("initializers.randomuniform()"):
        return "uniform 0.05"  # the default of Keras
    spread = re.search(r"std=(sqrt\()?([\d./]+)", text)
    if spread:
        above, _, below = spread[2].partition("/")
        value = float(above) / float(below or 1)
        return f"{'truncated' if text.startswith('trunc') else 'normal'} {value**0.5 if spread[1] else value:.6g}"
    constant = re.match(r"constant\(([\d.]+)\)", text)
    if constant:
        return f"constant {float(constant[1]):g}"
    named = re.match(r"(he_normal|he_uniform|glorot_uniform|glorot_normal|lecun_normal|zeros|ones)", text)
    if named:
        return named[1]
    raise NotPortable(f"no port of the initializer {words!r}")


def read_descent(given: Json) -> tuple[Descent, tuple[str, ...]]:
    """The optimizer, with what had to be assumed of it."""
    kind, extra = given["optimizer"], given.get("optimizer_args") or {}
    if kind is None:
        return Descent("adam", 1e-3), ("optimizer unknown: Adam 0.001, as that of its siblings",)
    kind = kind.partition("+")[0]
    if kind not in {"adam", "sgd", "adagrad", "rmsprop"}:
        raise NotPortable(f"no port of the optimizer {kind!r}")
    eps = 1e-7 if str(given["id"]).startswith("at-") else 1e-8  # Keras; TensorFlow 1 and PyTorch
    return (
        Descent(
            kind,
            lr=float(given["lr"]),
            momentum=float(given.get("momentum") or 0.0),
            betas=(extra.get("beta_1", 0.9), extra.get("beta_2", 0.999)),
            eps=extra.get("epsilon", eps),
            rho=extra.get("rho", 0.9),
        ),
        (),
    )


def _batch_size(given: Json) -> tuple[int, tuple[str, ...]]:
    if given["batch_size"] is not None:
        return int(given["batch_size"]), ()
    said = re.search(r"one batch of (\d+)", given.get("batch_size_note") or "")
    size = int(said[1]) if said else 128
    return size, (f"batch size unknown: {size}",)


def _task(words: str, layers: tuple[Layer, ...]) -> Task:
    if "regression" in words:
        return "numbers"
    return "binary" if "binary" in words and layers[-1].units == 1 else "classes"


def _loss(words: str) -> str:
    text = words.lower().replace("_crossentropy", " cross-entropy")
    for sign, name in LOSSES:
        if sign in text:
            return name
    raise NotPortable(f"no port of the loss {words!r}")


def _channels_last(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[1:], shape[0]) if len(shape) == 3 and shape[0] in (1, 3) and shape[2] not in (1, 3) else shape


def _side(given: Any) -> int:
    if isinstance(given, str):
        given = [int(number) for number in re.findall(r"\d+", given)]
    return int(given[0]) if isinstance(given, list | tuple) else int(given)
