"""The modules of DenseNet, named as torchvision's; imported only when one is built."""

from collections import OrderedDict
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from markone.nets.blocks import activation_module, dropout_module, normalize_maps

if TYPE_CHECKING:
    from markone.nets.densenet import DenseNet as Spec


class Layer(nn.Sequential):
    """norm, f, 1x1 conv, norm, f, 3x3 conv, dropout: (n, inputs, h, w) -> (n, growth, h, w)."""

    def __init__(self, spec: "Spec", inputs: int) -> None:
        super().__init__()
        inner = [] if spec.bottleneck is None else [spec.bottleneck * spec.growth]
        sizes = [inputs, *inner, spec.growth]
        for place, (before, width) in enumerate(pairwise(sizes), 1):
            kernel = 3 if place == len(sizes) - 1 else 1
            self.add_module(f"norm{place}", normalize_maps(spec.normalization, before))
            self.add_module(f"activation{place}", activation_module(spec.activation))
            self.add_module(f"conv{place}", convolution(spec, before, width, kernel))
        self.add_module("dropout", dropout_module(spec.dropout))


class Block(nn.Sequential):
    """Layers, each of which adds its maps to all that came before: (n, c, h, w) -> (n, c + depth * growth, h, w)."""

    def __init__(self, spec: "Spec", inputs: int, depth: int) -> None:
        super().__init__(
            OrderedDict((f"denselayer{place + 1}", Layer(spec, inputs + place * spec.growth)) for place in range(depth))
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self:
            x = torch.cat([x, layer(x)], 1)
        return x


class DenseNet(nn.Module):
    """A stem, dense blocks with transitions between them, the mean over places, a linear head ``classifier``."""

    def __init__(self, spec: "Spec", *, channels: int, outputs: int, small: bool) -> None:
        super().__init__()
        self.features = stem(spec, channels, small=small)
        width = spec.width
        for place, depth in enumerate(spec.depths, 1):
            self.features.add_module(f"denseblock{place}", Block(spec, width, depth))
            width += depth * spec.growth
            if place < len(spec.depths):
                handed_on = max(1, int(width * spec.compression))
                self.features.add_module(f"transition{place}", transition(spec, width, handed_on))
                width = handed_on
        self.features.add_module("norm5", normalize_maps(spec.normalization, width))  # torchvision's name at any depth
        self.features.add_module("activation5", activation_module(spec.activation))
        self.classifier = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.classifier(self.features(x).mean(dim=(2, 3)))
        return scores


def stem(spec: "Spec", channels: int, *, small: bool) -> nn.Sequential:
    """The first convolution; at ImageNet's size, norm, f and a pool behind it."""
    if small:
        return nn.Sequential(OrderedDict(conv0=convolution(spec, channels, spec.width, 3)))
    return nn.Sequential(
        OrderedDict(
            conv0=convolution(spec, channels, spec.width, 7, stride=2),
            norm0=normalize_maps(spec.normalization, spec.width),
            activation0=activation_module(spec.activation),
            pool0=nn.MaxPool2d(3, 2, padding=1),
        )
    )


def transition(spec: "Spec", inputs: int, width: int) -> nn.Sequential:
    """norm, f, 1x1 conv, 2x2 mean: (n, inputs, h, w) -> (n, width, h / 2, w / 2)."""
    return nn.Sequential(
        OrderedDict(
            norm=normalize_maps(spec.normalization, inputs),
            activation=activation_module(spec.activation),
            conv=convolution(spec, inputs, width, 1),
            pool=nn.AvgPool2d(2),
        )
    )


def convolution(spec: "Spec", inputs: int, width: int, kernel: int, *, stride: int = 1) -> nn.Conv2d:
    """Padded so that only the stride makes the map smaller; batch norm would take any bias off again."""
    return nn.Conv2d(inputs, width, kernel, stride, kernel // 2, bias=spec.normalization != "batch")
