"""Modules that nets are put together from; imported only when a net is built."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from markone.nets.activations import LEAK

if TYPE_CHECKING:
    from markone.nets.net import NormalizationName

GROUP_CHANNELS = 16  # Wu and He 2018, table 3: 16 channels per group is about as good as 32 groups, and fits thin nets


class WithAuxiliary(NamedTuple):
    """What a net with auxiliary heads gives while it trains: scores (n, outputs), and those of each auxiliary head.

    The loss is (loss(scores) + weight * sum of loss(auxiliary)) / (1 + weight * their number): the papers' sum as a mean, so
    that it can be judged against a blind guess.
    """

    scores: Tensor
    auxiliary: tuple[Tensor, ...]
    weight: float


class Threshold(nn.Module):
    """The unit step: 1 where x >= 0, else 0; its gradient is zero everywhere (McCulloch and Pitts, 1943)."""

    def forward(self, x: Tensor) -> Tensor:
        # `(x >= 0)` alone would leave the graph; times zero keeps every parameter before it reached, by a zero.
        return (x >= 0).to(x.dtype) + x * 0


_MODULES: Mapping[str, Callable[[], nn.Module]] = {
    "threshold": Threshold,
    "identity": nn.Identity,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky-relu": lambda: nn.LeakyReLU(LEAK),
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}
_NAMES: Mapping[type[nn.Module], str] = {type(build()): name for name, build in _MODULES.items() if name != "identity"}


def activation_module(name: str) -> nn.Module:
    """A fresh module of the named activation."""
    return _MODULES[name]()


def activation_name(module: nn.Module) -> str | None:
    """The name of the activation that a module computes; None for nn.Identity too, which stands for many things."""
    return _NAMES.get(type(module))


def groups_of(channels: int) -> int:
    """The most groups that divide the channels and hold at least GROUP_CHANNELS each; 1 for fewer channels.

    >>> groups_of(64), groups_of(24), groups_of(7)
    (4, 1, 1)
    """
    return next((g for g in range(channels // GROUP_CHANNELS, 1, -1) if channels % g == 0), 1)


def normalize_columns(kind: "NormalizationName", columns: int) -> nn.Module:
    """For (n, columns): batch (Ioffe and Szegedy 2015), layer (Ba et al. 2016) or group (Wu and He 2018)."""
    if kind == "batch":
        return nn.BatchNorm1d(columns)
    return nn.LayerNorm(columns) if kind == "layer" else nn.GroupNorm(groups_of(columns), columns)


def normalize_maps(kind: "NormalizationName", channels: int, *, eps: float = 1e-5) -> nn.Module:
    """For (n, channels, height, width); "layer" takes all channels and places together, as one group."""
    if kind == "none":
        return nn.Identity()
    if kind == "batch":
        return nn.BatchNorm2d(channels, eps)
    return nn.GroupNorm(1 if kind == "layer" else groups_of(channels), channels, eps)


def dropout_module(fraction: float) -> nn.Module:
    """Dropout, or what holds its place in a sequence where there is none."""
    return nn.Dropout(fraction) if fraction else nn.Identity()


def dense(
    inputs: int, width: int, *, activation: str, normalization: "NormalizationName", dropout: float
) -> nn.Sequential:
    """linear, norm, activation, dropout on (n, inputs) -> (n, width); what is off is not there."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    parts["linear"] = nn.Linear(inputs, width, bias=normalization != "batch")  # batch norm takes any bias off again
    if normalization != "none":
        parts["norm"] = normalize_columns(normalization, width)
    parts["activation"] = activation_module(activation)
    if dropout:
        parts["dropout"] = nn.Dropout(dropout)
    return nn.Sequential(parts)


def convolution(
    inputs: int, width: int, *, pool: bool, activation: str, normalization: "NormalizationName"
) -> nn.Sequential:
    """3x3 conv, 2x2 max pool, norm, activation on (n, inputs, h, w) -> (n, width, h, w) or half of it; what is off is
    not there."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    parts["conv"] = nn.Conv2d(inputs, width, 3, padding=1, bias=normalization != "batch")
    if pool:
        parts["pool"] = nn.MaxPool2d(2)
    if normalization != "none":
        parts["norm"] = normalize_maps(normalization, width)
    parts["activation"] = activation_module(activation)
    return nn.Sequential(parts)


class Perceptron(nn.Module):
    """scores = W x + b on flattened input."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.head = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(x.flatten(1))
        return scores


class MLP(nn.Module):
    """Hidden dense blocks on flattened input, then a linear head."""

    def __init__(self, hidden: list[nn.Sequential], head: nn.Linear) -> None:
        super().__init__()
        self.hidden = nn.Sequential(*hidden)
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.hidden(x.flatten(1)))
        return scores


class ConvNet(nn.Module):
    """A stem and stages of convolutions, the mean over places, dropout, a linear head."""

    def __init__(self, stem: nn.Sequential, stages: list[nn.Sequential], dropout: float, head: nn.Linear) -> None:
        super().__init__()
        self.stem = stem
        self.stages = nn.Sequential(*stages)
        self.dropout = nn.Dropout(dropout) if dropout else None
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        features = self.stages(self.stem(x)).mean(dim=(2, 3))
        if self.dropout is not None:
            features = self.dropout(features)
        scores: Tensor = self.head(features)
        return scores


def flat_size(shape: tuple[int, ...]) -> int:
    """How many values one input holds."""
    return int(torch.Size(shape).numel())
