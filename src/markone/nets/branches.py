"""The modules of Inception nets, named as torchvision's; imported only when one is built."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from markone.nets.blocks import WithAuxiliary, activation_module, dropout_module, normalize_maps

if TYPE_CHECKING:
    from markone.nets.inception import Inception as Spec

EPS = 1e-3  # of batch norm, as in the TensorFlow code that the published weights come from, and in torchvision
AUXILIARY_DROPOUT = 0.7  # GoogLeNet's paper, section 5


class Step(NamedTuple):
    """One layer of a block: a convolution to ``channels``, padded unless it strides; 0 is a 3x3 pool."""

    channels: int
    height: int = 1
    width: int = 1
    stride: int = 1


Plan = Mapping[str, Sequence[Step | list[Step]]]
"""The chains of a block of Inception v3 by name: ``branch_pool`` on the pool, all others on the input; a list forks."""

MEAN, MAXIMUM = Step(0), Step(0, stride=2)


def mixed_a(pool: int) -> Plan:
    """Szegedy et al. 2015, figure 5."""
    return {
        "branch1x1": [Step(64)],
        "branch5x5": [Step(48), Step(64, 5, 5)],
        "branch3x3dbl": [Step(64), Step(96, 3, 3), Step(96, 3, 3)],
        "pool": [MEAN],
        "branch_pool": [Step(pool)],
    }


def mixed_c(n: int) -> Plan:
    """Figure 6 with its n = 7."""
    return {
        "branch1x1": [Step(192)],
        "branch7x7": [Step(n), Step(n, 1, 7), Step(192, 7, 1)],
        "branch7x7dbl": [Step(n), Step(n, 7, 1), Step(n, 1, 7), Step(n, 7, 1), Step(192, 1, 7)],
        "pool": [MEAN],
        "branch_pool": [Step(192)],
    }


MIXED_B: Plan = {  # figure 10, from 35x35 to 17x17
    "branch3x3": [Step(384, 3, 3, 2)],
    "branch3x3dbl": [Step(64), Step(96, 3, 3), Step(96, 3, 3, 2)],
    "pool": [MAXIMUM],
}
MIXED_D: Plan = {  # as figure 10, from 17x17 to 8x8
    "branch3x3": [Step(192), Step(320, 3, 3, 2)],
    "branch7x7x3": [Step(192), Step(192, 1, 7), Step(192, 7, 1), Step(192, 3, 3, 2)],
    "pool": [MAXIMUM],
}
MIXED_E: Plan = {  # figure 7
    "branch1x1": [Step(320)],
    "branch3x3": [Step(384), [Step(384, 1, 3), Step(384, 3, 1)]],
    "branch3x3dbl": [Step(448), Step(384, 3, 3), [Step(384, 1, 3), Step(384, 3, 1)]],
    "pool": [MEAN],
    "branch_pool": [Step(192)],
}

INCEPTION_V3: Mapping[str, Sequence[Plan]] = {  # by the name of each stage's first block
    "Mixed_5b": [mixed_a(32), mixed_a(64), mixed_a(64)],
    "Mixed_6a": [MIXED_B, mixed_c(128), mixed_c(160), mixed_c(160), mixed_c(192)],
    "Mixed_7a": [MIXED_D, MIXED_E, MIXED_E],
}

GOOGLENET: Mapping[str, Sequence[tuple[int, ...]]] = {  # table 1: 1x1, reduced, 3x3, reduced, "5x5", pooled
    "inception3a": [(64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)],
    "inception4a": [
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ],
    "inception5a": [(256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)],
}

SMALL: Mapping[str, Sequence[tuple[int, int]]] = {  # Zhang et al. 2017, figure 3: 1x1 and 3x3 channels
    "inception1a": [(32, 32), (32, 48)],
    "inception2a": [(112, 48), (96, 64), (80, 80), (48, 96)],
    "inception3a": [(176, 160), (176, 160)],
}
HALVING = {"inception1a": 80, "inception2a": 96}  # 3x3 channels of what halves the map behind a stage

Blocks = TypeVar("Blocks")


def stacked(
    stages: Mapping[str, Sequence[Blocks]], depths: Sequence[int]
) -> Iterator[tuple[str, list[tuple[str, Blocks]]]]:
    """Each stage with its blocks by name, as many as asked for: the published ones, the last of them again and again."""
    for (first, blocks), depth in zip(stages.items(), depths, strict=True):
        wanted = [*blocks, *[blocks[-1]] * depth][:depth]
        yield first, [(_place_name(first, place), block) for place, block in enumerate(wanted)]


def _place_name(first: str, place: int) -> str:
    """The name ``place`` blocks on: Mixed_5b, Mixed_5c, ..., and numbers where the alphabet ends."""
    letter = ord(first[-1]) + place
    return first[:-1] + (chr(letter) if letter <= ord("z") else str(place))


def named(plan: Plan) -> Iterator[tuple[str, str, Step]]:
    """Each step with its name, which is torchvision's, and the name of the step that it is on."""
    for chain, steps in plan.items():
        source = "pool" if chain == "branch_pool" else ""
        for place, step in enumerate(steps, 1):
            ends = step if isinstance(step, list) else [step]
            stem = chain if len(steps) == 1 else f"{chain}_{place}"
            names = [stem] if len(ends) == 1 else [stem + letter for letter in "ab"]
            for name, end in zip(names, ends, strict=True):
                yield name, source, end
            source = names[0]


class Branches(nn.Module):
    """Modules, each on the block's input or on another's output; the maps of those that no other takes, side by side."""

    def __init__(self, parts: Mapping[str, tuple[str, nn.Module]]) -> None:
        super().__init__()
        self.sources = {name: source for name, (source, _) in parts.items()}
        self.ends = [name for name in parts if name not in self.sources.values()]
        for name, (_, module) in parts.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        maps = {"": x}
        for name, source in self.sources.items():
            maps[name] = self.get_submodule(name)(maps[source])
        return torch.cat([maps[name] for name in self.ends], 1)


class InceptionNet(nn.Module):
    """Stages one behind another, the mean over places, dropout, a linear head ``fc``; auxiliary heads behind some stages.

    ``taps`` names the auxiliary head behind a stage. In eval mode, or without them, it gives scores (n, outputs) alone.
    """

    def __init__(
        self,
        spec: "Spec",
        stages: Mapping[str, nn.Module],
        features: int,
        outputs: int,
        taps: Mapping[str, tuple[str, nn.Module]],
    ) -> None:
        super().__init__()
        self.stages, self.taps = list(stages), dict[str, str]()
        self.auxiliary_weight = spec.auxiliary
        for stage, module in stages.items():
            self.add_module(stage, module)
        for stage, (name, head) in taps.items():
            self.taps[stage] = name
            self.add_module(name, head)
        self.dropout = dropout_module(spec.dropout)
        self.fc = nn.Linear(features, outputs)

    def forward(self, x: Tensor) -> Tensor | WithAuxiliary:
        auxiliary = list[Tensor]()
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
            if self.training and stage in self.taps:
                auxiliary.append(self.get_submodule(self.taps[stage])(x))
        scores: Tensor = self.fc(self.dropout(x.mean(dim=(2, 3))))
        if self.auxiliary_weight is None or not auxiliary:
            return scores
        return WithAuxiliary(scores, tuple(auxiliary), self.auxiliary_weight)


class Layers:
    """Makes the layers of one spec, and keeps count of the channels that the next stage gets."""

    def __init__(self, spec: "Spec", channels: int) -> None:
        self.spec, self.channels = spec, channels
        self.published: int = spec.variants[spec.kind].fields["width"]

    def wide(self, channels: int) -> int:
        """A published number of channels, in proportion to the spec's width."""
        return max(1, round(channels * self.spec.width / self.published))

    def conv(
        self, inputs: int, width: int, kernel: tuple[int, int] = (1, 1), stride: int = 1, padding: bool = True
    ) -> nn.Sequential:
        """conv, norm, activation; padded so that stride 1 keeps the map's size."""
        margin = (kernel[0] // 2, kernel[1] // 2) if padding else (0, 0)
        bias = self.spec.normalization != "batch"  # batch norm takes any bias off again
        return nn.Sequential(
            OrderedDict(
                conv=nn.Conv2d(inputs, width, kernel, stride, margin, bias=bias),
                bn=normalize_maps(self.spec.normalization, width, eps=EPS),
                activation=activation_module(self.spec.activation),
            )
        )

    def stage(self, channels: int, side: int = 1, *, stride: int = 1, padding: bool = True) -> nn.Sequential:
        """A stage of one square convolution to a published number of channels."""
        inputs, self.channels = self.channels, self.wide(channels)
        return self.conv(inputs, self.channels, (side, side), stride, padding)

    def inception(self, one: int, three_inner: int, three: int, five_inner: int, five: int, pooled: int) -> Branches:
        """GoogLeNet's block (figure 2b), with 3x3 for 5x5, as the published weights have it."""
        inputs, threes = self.channels, (3, 3)
        ends = [self.wide(channels) for channels in (one, three, five, pooled)]
        inner = [self.wide(channels) for channels in (three_inner, five_inner)]
        self.channels = sum(ends)
        chains = (
            self.conv(inputs, ends[0]),
            nn.Sequential(self.conv(inputs, inner[0]), self.conv(inner[0], ends[1], threes)),
            nn.Sequential(self.conv(inputs, inner[1]), self.conv(inner[1], ends[2], threes)),
            nn.Sequential(nn.MaxPool2d(3, 1, padding=1, ceil_mode=True), self.conv(inputs, ends[3])),
        )
        return Branches({f"branch{place}": ("", chain) for place, chain in enumerate(chains, 1)})

    def mixed(self, plan: Plan) -> Branches:
        """A block of Inception v3; what has a stride of 2 is not padded."""
        widths, parts = {"": self.channels}, dict[str, tuple[str, nn.Module]]()
        for name, source, step in named(plan):
            before, padding = widths[source], step.stride == 1
            widths[name] = self.wide(step.channels) if step.channels else before
            if step.channels:
                kernel = (step.height, step.width)
                module: nn.Module = self.conv(before, widths[name], kernel, step.stride, padding)
            else:
                module = nn.AvgPool2d(3, 1, padding=1) if padding else nn.MaxPool2d(3, 2)
            parts[name] = (source, module)
        block = Branches(parts)
        self.channels = sum(widths[name] for name in block.ends)
        return block

    def small(self, one: int, three: int) -> Branches:
        """A block of the small Inception: 1x1 and 3x3, or a strided 3x3 and a pool that halve the map."""
        inputs, width = self.channels, self.wide(three)
        self.channels = width + (self.wide(one) if one else inputs)
        beside = self.conv(inputs, self.wide(one)) if one else nn.MaxPool2d(3, 2, padding=1)
        wide = self.conv(inputs, width, (3, 3), 1 if one else 2)
        return Branches({"branch1x1" if one else "pool": ("", beside), "branch3x3": ("", wide)})


class GoogLeNetHead(nn.Module):
    """Auxiliary scores from the means over 4x4 parts of the maps: 1x1 conv, linear, activation, dropout, linear."""

    def __init__(self, layers: Layers, outputs: int) -> None:
        super().__init__()
        spec, width, hidden = layers.spec, layers.wide(128), layers.wide(1024)
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.conv = layers.conv(layers.channels, width)
        self.fc1 = nn.Linear(width * 4**2, hidden)
        self.activation = activation_module(spec.activation)
        self.dropout = dropout_module(AUXILIARY_DROPOUT if spec.dropout else 0.0)
        self.fc2 = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.fc1(self.conv(self.pool(x)).flatten(1)))
        scores: Tensor = self.fc2(self.dropout(x))
        return scores


class InceptionV3Head(nn.Module):
    """Auxiliary scores: 5x5 means every 3 places, 1x1 conv, 5x5 conv, the mean over places, linear."""

    def __init__(self, layers: Layers, outputs: int) -> None:
        super().__init__()
        width, features = layers.wide(128), layers.wide(768)
        self.pool = nn.AvgPool2d(5, 3)
        self.small_pool = nn.AdaptiveAvgPool2d(5)
        self.conv0 = layers.conv(layers.channels, width)
        self.conv1 = layers.conv(width, features, (5, 5), padding=False)
        self.fc = nn.Linear(features, outputs)

    def forward(self, x: Tensor) -> Tensor:
        wide_enough = min(x.shape[2:]) >= 17  # so that 5x5 means every 3 places leave the 5x5 map that conv1 needs
        x = self.pool(x) if wide_enough else self.small_pool(x)
        scores: Tensor = self.fc(self.conv1(self.conv0(x)).mean(dim=(2, 3)))
        return scores


def googlenet(spec: "Spec", *, channels: int, outputs: int, small: bool) -> InceptionNet:
    """Szegedy et al. 2014, table 1; the small stem is one 3x3 convolution of the same size in place of the first."""
    layers = Layers(spec, channels)
    stages: dict[str, nn.Module] = {
        "conv1": layers.stage(64, 3) if small else layers.stage(64, 7, stride=2),
        "maxpool1": nn.Identity() if small else nn.MaxPool2d(3, 2, ceil_mode=True),
        "conv2": layers.stage(64),
        "conv3": layers.stage(192, 3),
        "maxpool2": nn.Identity() if small else nn.MaxPool2d(3, 2, ceil_mode=True),
    }
    taps = dict[str, tuple[str, nn.Module]]()
    for first, blocks in stacked(GOOGLENET, spec.depths):
        if first == "inception4a":
            stages["maxpool3"] = nn.MaxPool2d(3, 2, ceil_mode=True)
        if first == "inception5a":
            stages["maxpool4"] = nn.MaxPool2d(2, 2, ceil_mode=True)
        for name, numbers in blocks:
            stages[name] = layers.inception(*numbers)
            if spec.auxiliary is not None and name in ("inception4a", "inception4d"):
                taps[name] = (f"aux{len(taps) + 1}", GoogLeNetHead(layers, outputs))
    return InceptionNet(spec, stages, layers.channels, outputs, taps)


def inception_v3(spec: "Spec", *, channels: int, outputs: int, small: bool) -> InceptionNet:
    """Szegedy et al. 2015, table 1; the small stem has the same convolutions, none of which changes the map's size."""
    layers = Layers(spec, channels)
    stages: dict[str, nn.Module] = {
        "Conv2d_1a_3x3": layers.stage(32, 3, stride=1 if small else 2, padding=small),
        "Conv2d_2a_3x3": layers.stage(32, 3, padding=small),
        "Conv2d_2b_3x3": layers.stage(64, 3),
        "maxpool1": nn.Identity() if small else nn.MaxPool2d(3, 2),
        "Conv2d_3b_1x1": layers.stage(80),
        "Conv2d_4a_3x3": layers.stage(192, 3, padding=small),
        "maxpool2": nn.Identity() if small else nn.MaxPool2d(3, 2),
    }
    taps = dict[str, tuple[str, nn.Module]]()
    for first, blocks in stacked(INCEPTION_V3, spec.depths):
        stages |= {name: layers.mixed(plan) for name, plan in blocks}
        if spec.auxiliary is not None and first == "Mixed_6a":
            taps[blocks[-1][0]] = ("AuxLogits", InceptionV3Head(layers, outputs))
    return InceptionNet(spec, stages, layers.channels, outputs, taps)


def small_inception(spec: "Spec", *, channels: int, outputs: int, small: bool) -> InceptionNet:
    """Zhang et al. 2017, figure 3; larger images get a strided 7x7 convolution and a pool before it, as GoogLeNet's."""
    layers = Layers(spec, channels)
    stages: dict[str, nn.Module] = {
        "conv1": layers.stage(96, 3) if small else layers.stage(96, 7, stride=2),
        "maxpool1": nn.Identity() if small else nn.MaxPool2d(3, 2, ceil_mode=True),
    }
    for place, (first, blocks) in enumerate(stacked(SMALL, spec.depths), 1):
        stages |= {name: layers.small(*widths) for name, widths in blocks}
        if first in HALVING:
            stages[f"downsample{place}"] = layers.small(0, HALVING[first])
    return InceptionNet(spec, stages, layers.channels, outputs, {})
