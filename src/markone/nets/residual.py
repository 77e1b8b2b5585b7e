"""The modules of residual nets, named as torchvision's; imported only when one is built."""

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from markone.nets.blocks import activation_module, normalize_maps

if TYPE_CHECKING:
    from markone.nets.resnet import ResNet as Spec

EXPANSION = 4  # of a bottleneck: its last convolution gives 4 times the stage's width


class Padding(nn.Module):
    """Every ``stride``-th pixel, and zeros for the channels that are new: a shortcut without parameters."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.channels, self.stride = channels, stride

    def forward(self, x: Tensor) -> Tensor:
        new = self.channels - x.shape[1]
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, new // 2, new - new // 2))


class Conv2d(nn.Conv2d):
    """torch's, for 1x1 convolutions of every ``stride``-th pixel.

    The pixels are picked first: torch 2.13's backward of a strided 1x1 convolution writes past its memory on the CPU where
    maps are channels-last and have few channels (4 are enough).
    """

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x[:, :, :: self.stride[0], :: self.stride[1]], self.weight, self.bias)


class Block(nn.Module):
    """Two or three convolutions and the shortcut around them.

    As published: conv, norm, f, conv, norm, (f, conv, norm,) + shortcut, f. With pre-activation: norm, f, conv twice or
    three times, + shortcut; where the shortcut is a projection it starts behind the first f.
    """

    def __init__(self, spec: "Spec", inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.outputs = width * (EXPANSION if spec.bottleneck else 1)
        inner = max(1, width * spec.group_width // 64) * spec.groups
        sizes = [inputs, inner, inner, self.outputs] if spec.bottleneck else [inputs, width, width]
        strided = 1 if spec.bottleneck else 0  # as torchvision: the 3x3 convolution of a bottleneck takes the stride
        self.preactivation = spec.preactivation
        self.count = len(sizes) - 1
        for place in range(self.count):
            wide = not spec.bottleneck or place == 1
            conv = nn.Conv2d(
                sizes[place],
                sizes[place + 1],
                3 if wide else 1,
                stride if place == strided else 1,
                padding=1 if wide else 0,
                groups=spec.groups if spec.bottleneck and wide else 1,
                bias=spec.normalization != "batch",  # batch norm takes any bias off again
            )
            norm = normalize_maps(spec.normalization, sizes[place if spec.preactivation else place + 1])
            parts = {"conv": conv, "bn": norm, "activation": activation_module(spec.activation)}
            for name in ("bn", "activation", "conv") if spec.preactivation else ("conv", "bn", "activation"):
                self.add_module(f"{name}{place + 1}", parts[name])
        self.downsample = self._shortcut(spec, inputs, stride)

    def _shortcut(self, spec: "Spec", inputs: int, stride: int) -> nn.Module | None:
        self.plain = spec.shortcut is None
        if self.plain or (stride == 1 and inputs == self.outputs):
            return None
        if spec.shortcut == "padding":
            return Padding(self.outputs, stride)
        conv = Conv2d(inputs, self.outputs, 1, stride, bias=spec.normalization != "batch")
        return conv if spec.preactivation else nn.Sequential(conv, normalize_maps(spec.normalization, self.outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self._before(x) if self.preactivation else self._behind(x)

    def _behind(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        for place in range(1, self.count + 1):
            x = self.get_submodule(f"bn{place}")(self.get_submodule(f"conv{place}")(x))
            if place == self.count and not self.plain:
                x = x + shortcut
            x = self.get_submodule(f"activation{place}")(x)
        return x

    def _before(self, x: Tensor) -> Tensor:
        shortcut = x
        for place in range(1, self.count + 1):
            x = self.get_submodule(f"activation{place}")(self.get_submodule(f"bn{place}")(x))
            if place == 1 and self.downsample is not None:
                shortcut = self.downsample(x)
            x = self.get_submodule(f"conv{place}")(x)
        return x if self.plain else x + shortcut


class ResNet(nn.Module):
    """A stem, stages ``layer1``, ``layer2``, ... of blocks, the mean over places, dropout, a linear head ``fc``."""

    def __init__(self, spec: "Spec", *, channels: int, outputs: int, small: bool) -> None:
        super().__init__()
        width, bias = spec.width, spec.normalization != "batch"
        self.conv1 = nn.Conv2d(channels, width, 3 if small else 7, 1 if small else 2, 1 if small else 3, bias=bias)
        early, late = (False, True) if spec.preactivation else (True, False)
        self.bn1 = normalize_maps(spec.normalization if early else "none", width)
        self.activation1 = activation_module(spec.activation if early else "identity")
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, padding=1)
        inputs, self.stages = width, list[str]()
        for stage, depth in enumerate(spec.depths, 1):
            blocks = list[Block]()
            for place in range(depth):
                blocks.append(Block(spec, inputs, width << (stage - 1), stride=2 if stage > 1 and place == 0 else 1))
                inputs = blocks[-1].outputs
            self.stages.append(f"layer{stage}")
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.bn2 = normalize_maps(spec.normalization if late else "none", inputs)
        self.activation2 = activation_module(spec.activation if late else "identity")
        self.dropout = nn.Dropout(spec.dropout) if spec.dropout else nn.Identity()
        self.fc = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.activation1(self.bn1(self.conv1(x))))
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
        x = self.activation2(self.bn2(x)).mean(dim=(2, 3))
        scores: Tensor = self.fc(self.dropout(x))
        return scores
