"""The modules of AlexNet, VGG and SqueezeNet, named as torchvision's; imported only when one is built."""

from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor, nn

from markone.nets.blocks import activation_module, dropout_module, normalize_maps

if TYPE_CHECKING:
    from markone.nets.alexnet import AlexNet as AlexNetSpec
    from markone.nets.squeezenet import SqueezeNet as SqueezeNetSpec
    from markone.nets.vgg import VGG as VGGSpec

    Spec: TypeAlias = AlexNetSpec | SqueezeNetSpec | VGGSpec


class FeaturesAndHead(nn.Module):
    """Convolutions, the means over side x side parts of their maps, and linear layers on all of those."""

    def __init__(self, features: list[nn.Module], side: int, head: list[nn.Module]) -> None:
        super().__init__()
        self.features = nn.Sequential(*features)
        self.avgpool = nn.AdaptiveAvgPool2d(side)
        self.classifier = nn.Sequential(*head)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.classifier(self.avgpool(self.features(x)).flatten(1))
        return scores


def alexnet(spec: "AlexNetSpec", *, channels: int, outputs: int, small: bool) -> FeaturesAndHead:
    """AlexNet for images of ``channels``; the small stem has a 3x3 convolution and no pool."""
    widths = [spec.width * factor for factor in (1, 3, 6, *[4] * (spec.depth - 1))]
    kernel, stride, padding = (3, 1, 1) if small else (11, 4, 2)
    features = [
        *convolution(spec, channels, widths[0], kernel, stride=stride, padding=padding),
        nn.Identity() if small else nn.MaxPool2d(3, 2),  # in place of the pool, so that later layers keep their names
        *convolution(spec, widths[0], widths[1], 5, padding=2),
        nn.MaxPool2d(3, 2),
        *(layer for inputs, width in pairwise(widths[1:]) for layer in convolution(spec, inputs, width, 3, padding=1)),
        nn.MaxPool2d(3, 2),
    ]
    side = 6
    head = [
        dropout_module(spec.dropout),
        nn.Linear(widths[-1] * side**2, spec.head_width),
        activation_module(spec.activation),
        dropout_module(spec.dropout),
        nn.Linear(spec.head_width, spec.head_width),
        activation_module(spec.activation),
        nn.Linear(spec.head_width, outputs),
    ]
    return FeaturesAndHead(features, side, head)


def vgg(spec: "VGGSpec", *, channels: int, outputs: int, pools: int) -> FeaturesAndHead:
    """VGG for images of ``channels``, with the first ``pools`` of its pools."""
    features, inputs = list[nn.Module](), channels
    for stage, depth in enumerate(spec.depths):
        width = spec.width * min(2**stage, 8)
        for _ in range(depth):
            features += convolution(spec, inputs, width, 3, padding=1)
            inputs = width
        features.append(nn.MaxPool2d(2) if stage < pools else nn.Identity())
    if spec.head_width is None:
        return FeaturesAndHead(features, 1, [dropout_module(spec.dropout), nn.Linear(inputs, outputs)])
    side = 7
    head = [
        nn.Linear(inputs * side**2, spec.head_width),
        activation_module(spec.activation),
        dropout_module(spec.dropout),
        nn.Linear(spec.head_width, spec.head_width),
        activation_module(spec.activation),
        dropout_module(spec.dropout),
        nn.Linear(spec.head_width, outputs),
    ]
    return FeaturesAndHead(features, side, head)


def convolution(
    spec: "Spec", inputs: int, width: int, kernel: int, *, stride: int = 1, padding: int = 0
) -> list[nn.Module]:
    """conv, norm, activation; without normalization there is no norm, and later layers count on from there."""
    # torchvision's VGG has a bias before batch norm too, which takes it off again
    conv = nn.Conv2d(inputs, width, kernel, stride, padding)
    norm = [] if spec.normalization == "none" else [normalize_maps(spec.normalization, width)]
    return [conv, *norm, activation_module(spec.activation)]


class Fire(nn.Module):
    """A 1x1 convolution to few channels, then a 1x1 and a 3x3 convolution side by side."""

    def __init__(self, spec: "SqueezeNetSpec", inputs: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.outputs = 2 * expand
        for name, before, width, kernel in (
            ("squeeze", inputs, squeeze, 1),
            ("expand1x1", squeeze, expand, 1),
            ("expand3x3", squeeze, expand, 3),
        ):
            self.add_module(name, nn.Conv2d(before, width, kernel, padding=kernel // 2))
            self.add_module(f"{name}_norm", normalize_maps(spec.normalization, width))
            self.add_module(f"{name}_activation", activation_module(spec.activation))

    def _layer(self, name: str, x: Tensor) -> Tensor:
        for part in (name, f"{name}_norm", f"{name}_activation"):
            x = self.get_submodule(part)(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        x = self._layer("squeeze", x)
        return torch.cat([self._layer("expand1x1", x), self._layer("expand3x3", x)], 1)


class SqueezeNet(nn.Module):
    """A stem, stages of fire modules with pools between them, dropout, 1x1 to the scores, activation, mean over places."""

    def __init__(self, spec: "SqueezeNetSpec", *, channels: int, outputs: int, small: bool) -> None:
        super().__init__()
        kernel, stride, padding = (3, 1, 1) if small else (spec.stem_kernel, 2, 0)
        features = convolution(spec, channels, spec.stem_width, kernel, stride=stride, padding=padding)
        inputs, fires = spec.stem_width, 0
        for stage, depth in enumerate(spec.depths):
            # in place of the stem's pool, so that later layers keep their names
            features.append(nn.Identity() if small and stage == 0 else nn.MaxPool2d(3, 2, ceil_mode=True))
            for _ in range(depth):
                expand = spec.width * (1 + fires // 2)
                features.append(fire := Fire(spec, inputs, expand // 4, expand))
                inputs, fires = fire.outputs, fires + 1
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(
            dropout_module(spec.dropout),
            nn.Conv2d(inputs, outputs, 1),
            activation_module(spec.activation),
            nn.AdaptiveAvgPool2d(1),
        )

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.classifier(self.features(x))
        return scores.flatten(1)
