"""Modules of the nets that give maps: stages of convolutions, ways to enlarge a map, and sizes; imported only when one is built."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

from torch import Tensor, nn
from torch.nn import functional

from markone.nets.activations import ActivationName
from markone.nets.blocks import convolution
from markone.nets.net import NormalizationName

WIDEST = 8  # Simonyan and Zisserman 2015: VGG doubles its 64 channels until they are 512


class Style(Protocol):
    """The fields of a spec that say how convolutions are made."""

    @property
    def activation(self) -> ActivationName: ...
    @property
    def normalization(self) -> NormalizationName: ...


def vgg_widths(width: int, stages: int) -> list[int]:
    """The channels of VGG's stages: doubled by each, up to 8 times the first.

    >>> vgg_widths(64, 5)
    [64, 128, 256, 512, 512]
    """
    return [width * min(1 << stage, WIDEST) for stage in range(stages)]


def stage(widths: Sequence[int], style: Style) -> nn.Sequential:
    """3x3 convolutions that keep the map's size, from each width to the next."""
    return nn.Sequential(
        *(
            convolution(a, b, pool=False, activation=style.activation, normalization=style.normalization)
            for a, b in pairwise(widths)
        )
    )


def transposed(inputs: int, outputs: int, *, kernel: int, factor: int) -> nn.ConvTranspose2d:
    """A transposed convolution that makes a map exactly ``factor`` times larger; kernel - factor is even."""
    return nn.ConvTranspose2d(inputs, outputs, kernel, factor, padding=(kernel - factor) // 2)


def resized(inputs: int, outputs: int, *, factor: int, mode: str) -> nn.Sequential:
    """A map enlarged by interpolation, then a 3x3 convolution, which has no uneven overlap. Odena et al. 2016."""
    return nn.Sequential(nn.Upsample(scale_factor=factor, mode=mode), nn.Conv2d(inputs, outputs, 3, padding=1))


def padded(x: Tensor, multiple: int) -> Tensor:
    """(n, channels, h, w) with its edges repeated all around until height and width are multiples of ``multiple``."""
    down, right = (-size % multiple for size in x.shape[2:])
    if not (down or right):
        return x
    return functional.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2), mode="replicate")


def cropped(maps: Tensor, like: Tensor, multiple: int) -> Tensor:
    """The places of maps that those of ``like`` had before ``padded`` enlarged it."""
    height, width = like.shape[2:]
    top, left = (-height % multiple) // 2, (-width % multiple) // 2
    return maps[:, :, top : top + height, left : left + width]


class UNet(nn.Module):
    """Stages down, each but the last pooled; then up again, each joined to the map of the same size on the way down."""

    def __init__(
        self, style: Style, *, channels: int, outputs: int, widths: list[int], up: str, dropout: float
    ) -> None:
        super().__init__()
        self.multiple = 1 << (len(widths) - 1)
        self.down = nn.ModuleList(
            stage((a, b, b), style) for a, b in zip([channels, *widths[:-1]], widths, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.up = nn.ModuleList(_doubled(2 * width, width, up) for width in widths[-2::-1])
        self.join = nn.ModuleList(stage((2 * width, width, width), style) for width in widths[-2::-1])
        self.head = nn.Conv2d(widths[0], outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps, passed = padded(x, self.multiple), list[Tensor]()
        for down in self.down:
            maps = down(self.pool(maps) if passed else maps)
            passed.append(maps)
        maps = self.dropout(passed.pop())
        for up, join in zip(self.up, self.join, strict=True):
            maps = join(_beside(passed.pop(), up(maps)))
        return cropped(self.head(maps), x, self.multiple)


def _doubled(inputs: int, outputs: int, kind: str) -> nn.Module:
    """A map of twice the size, by a 2x2 transposed convolution or by nearest neighbours and a 3x3 convolution."""
    if kind == "transposed":
        return transposed(inputs, outputs, kernel=2, factor=2)
    return resized(inputs, outputs, factor=2, mode="nearest")


def _beside(a: Tensor, b: Tensor) -> Tensor:
    """The channels of both maps; under autocast one of them may be of lower precision."""
    from torch import cat

    return cat((a, b.to(a.dtype)), dim=1)


class FCN(nn.Module):
    """VGG's stages and its classifier as convolutions; scores of coarse maps are enlarged and added to those of finer ones."""

    def __init__(
        self,
        style: Style,
        *,
        channels: int,
        outputs: int,
        widths: list[int],
        depths: tuple[int, ...],
        hidden: int,
        dropout: float,
        skips: int,
        up: str,
    ) -> None:
        super().__init__()
        self.multiple = 1 << len(depths)
        inputs = [channels, *widths[:-1]]
        self.stages = nn.ModuleList(
            stage((a, *[b] * depth), style) for a, b, depth in zip(inputs, widths, depths, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        self.classifier = nn.Sequential(
            *_classifier(style, widths[-1], hidden, kernel=7, dropout=dropout),
            *_classifier(style, hidden, hidden, kernel=1, dropout=dropout),
        )
        self.score = nn.Conv2d(hidden, outputs, 1)
        self.skips = nn.ModuleList(nn.Conv2d(width, outputs, 1) for width in widths[-2::-1][:skips])
        self.up = nn.ModuleList(_enlarged(outputs, 2, up) for _ in range(skips))
        self.last = _enlarged(outputs, self.multiple >> skips, up)

    def forward(self, x: Tensor) -> Tensor:
        maps, passed = padded(x, self.multiple), list[Tensor]()
        for each in self.stages:
            maps = self.pool(each(maps))
            passed.append(maps)
        scores: Tensor = self.score(self.classifier(passed.pop()))
        for up, skip in zip(self.up, self.skips, strict=True):
            scores = up(scores) + skip(passed.pop())
        return cropped(self.last(scores), x, self.multiple)


def _classifier(style: Style, inputs: int, outputs: int, *, kernel: int, dropout: float) -> list[nn.Module]:
    """One of VGG's two hidden linear layers, as the convolution that computes it at every place."""
    from markone.nets.blocks import activation_module, normalize_maps

    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=style.normalization != "batch")
    norm = [normalize_maps(style.normalization, outputs)] if style.normalization != "none" else []
    return [conv, *norm, activation_module(style.activation), *([nn.Dropout(dropout)] if dropout else [])]


def _enlarged(outputs: int, factor: int, kind: str) -> nn.Module:
    """Maps of scores ``factor`` times larger; the transposed kernel is twice the stride, as in the paper."""
    if kind == "transposed":
        return transposed(outputs, outputs, kernel=2 * factor, factor=factor)
    if kind == "resize":
        return resized(outputs, outputs, factor=factor, mode="bilinear")
    return nn.Upsample(scale_factor=factor, mode="bilinear")


class EncoderDecoder(nn.Module):
    """Stages that each end in a pooling, and their mirror image; nothing but the last map passes, and where maxima were."""

    def __init__(
        self,
        style: Style,
        *,
        channels: int,
        outputs: int,
        widths: list[int],
        depths: tuple[int, ...],
        up: str,
        dropout: float,
    ) -> None:
        super().__init__()
        self.multiple = 1 << len(depths)
        inputs, unpooled = [channels, *widths[:-1]], up == "unpooling"
        self.down = nn.ModuleList(
            stage((a, *[b] * depth), style) for a, b, depth in zip(inputs, widths, depths, strict=True)
        )
        self.pool = nn.MaxPool2d(2, return_indices=True) if unpooled else nn.MaxPool2d(2)
        self.unpool = nn.MaxUnpool2d(2) if unpooled else None
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.up = nn.ModuleList(nn.Identity() if unpooled else _doubled(b, b, up) for b in widths[::-1])
        inputs = [widths[0], *widths[:-1]]
        back = list(zip(widths, inputs, depths, strict=True))[::-1]
        self.decode = nn.ModuleList(stage((*[b] * depth, a), style) for b, a, depth in back)
        self.head = nn.Conv2d(widths[0], outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps, maxima = padded(x, self.multiple), list[Tensor]()
        for down in self.down:
            maps = self.pool(down(maps))
            if self.unpool is not None:
                maps, places = maps
                maxima.append(places)
        maps = self.dropout(maps)
        for up, decode in zip(self.up, self.decode, strict=True):
            maps = decode(up(maps) if self.unpool is None else self.unpool(maps, maxima.pop()))
        return cropped(self.head(maps), x, self.multiple)
