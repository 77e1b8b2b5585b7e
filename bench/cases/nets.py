"""The layers of a case as torch modules, initialized as Keras does; and how much a step of them costs."""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from cases.description import Case, Layer, NotPortable

TRUNCATED = 0.87962566103423978  # the standard deviation of a normal distribution cut off at two of its own


class Exponential(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.exp()


class Polynomial(nn.Module):
    """A x^2 + B x + C of numbers (n, 1)."""

    def __init__(self, degree: int) -> None:
        super().__init__()
        self.powers = range(1, degree + 1)
        self.line = nn.Linear(degree, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.line(torch.cat([x**power for power in self.powers], 1))
        return made


class Mean(nn.Module):
    """Over the places of a sequence (n, places, features)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(1)


class Listed(nn.Module):
    """A net that keeps its body in a Python list, where its parameters are not found."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.body = layers[:-1]
        self.head = layers[-1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.body:
            x = layer(x)
        return self.head(x)  # type: ignore[no-any-return]


class Parted(nn.Module):
    """A net of features and a head; with ``cut`` the features learn nothing."""

    def __init__(self, layers: list[nn.Module], *, cut: bool) -> None:
        super().__init__()
        self.features, self.head, self.cut = nn.Sequential(*layers[:-1]), layers[-1], cut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = self.features(x)
        return self.head(found.detach() if self.cut else found)  # type: ignore[no-any-return]


ACTIVATIONS: dict[str, Any] = {
    "relu": nn.ReLU,
    "selu": nn.SELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "exponential": Exponential,
    "softmax": lambda: nn.Softmax(dim=1),  # over the units, or the channels of a picture
}


def build_net(case: Case) -> nn.Module:
    """Inputs (n, features), or (n, channels, height, width) for pictures. The last softmax is left to a loss that takes it itself."""
    modules: list[nn.Module] = []
    shape = _channels_first(case.shape)
    for place, layer in enumerate(case.layers):
        made, shape = _modules(layer, shape)
        modules += made
        last = place == len(case.layers) - 1
        if layer.activation and not (last and is_left_to_loss(case)):
            modules.append(ACTIVATIONS[layer.activation]())
    if "unregistered_parameters" in case.twists:
        return Listed(modules)
    if case.twists & {"detached_graph", "optimizer_missing_parameters"}:
        return Parted(modules, cut="detached_graph" in case.twists)
    return nn.Sequential(*modules)


def is_left_to_loss(case: Case) -> bool:
    """A softmax in front of the cross-entropy of probabilities is cross_entropy of the scores, and PyTorch's way to write it."""
    return case.loss == "categorical cross-entropy" and case.layers[-1].activation == "softmax"


def _channels_first(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[2], shape[0], shape[1]) if len(shape) == 3 else shape


def _modules(layer: Layer, shape: tuple[int, ...]) -> tuple[list[nn.Module], tuple[int, ...]]:
    """The modules of a layer without its activation, and the shape of what they give."""
    match layer.kind:
        case "dense":
            return [initialized(nn.Linear(shape[-1], layer.units, layer.bias), layer)], (*shape[:-1], layer.units)
        case "conv2d":
            side, padding = _side_after(layer, shape[1])
            convolution = nn.Conv2d(shape[0], layer.units, layer.size, layer.stride, padding, bias=layer.bias)
            return [initialized(convolution, layer)], (layer.units, side, side)
        case "maxpool2d":
            side, _ = _side_after(layer, shape[1])
            return [nn.MaxPool2d(layer.size, layer.stride)], (shape[0], side, side)
        case "batchnorm":
            kind = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
            return [kind(shape[0], eps=layer.eps, momentum=1 - layer.momentum)], shape
        case "dropout":
            return [nn.Dropout(layer.rate)], shape
        case "flatten":
            return [nn.Flatten()], (math.prod(shape),)
        case "embedding":
            return [nn.Embedding(layer.size, layer.units)], (*shape, layer.units)
        case "polynomial":
            made = Polynomial(layer.size)
            return [_zeroed(made)], (1,)
        case "transformer_encoder":
            inner = nn.TransformerEncoderLayer(layer.units, 4, 4 * layer.units, batch_first=True)
            stack = nn.TransformerEncoder(inner, layer.depth, enable_nested_tensor=False)
            return [stack, Mean()], (layer.units,)
    raise NotPortable(f"no port of a layer {layer.kind!r}")


def _side_after(layer: Layer, side: int) -> tuple[int, int]:
    """The side of what a window gives, and the padding. "same" with a stride of 1 keeps the side."""
    padding = layer.size // 2 if layer.padding == "same" and layer.kind == "conv2d" else 0
    after = (side + 2 * padding - layer.size) // layer.stride + 1
    if after < 1:
        raise NotPortable(f"a window of {layer.size} does not fit on {side}")
    return after, padding


def _zeroed(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def initialized(module: nn.Linear | nn.Conv2d, layer: Layer) -> nn.Module:
    """With the weights and biases that Keras would draw."""
    fill(module.weight, layer.init, spread=layer.spread)
    if module.bias is not None:
        fill(module.bias, layer.bias_init, spread=layer.spread)
    return module


def fill(tensor: torch.Tensor, init: str, *, spread: float = 1.0) -> None:
    """Draws a tensor in place: ``he_normal`` and ``lecun_normal`` are truncated at two standard deviations, as in Keras."""
    kind, *numbers = init.split()
    fan_in = tensor[0].numel() if tensor.ndim > 1 else tensor.numel()
    fan_out = tensor.numel() // fan_in * (tensor[0, 0].numel() if tensor.ndim > 1 else 1) if tensor.ndim > 1 else fan_in
    fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
    named = {
        "he_normal": (2.0, "fan_in", "normal"), "he_uniform": (2.0, "fan_in", "uniform"),
        "lecun_normal": (1.0, "fan_in", "normal"), "glorot_normal": (1.0, "fan_avg", "normal"),
        "glorot_uniform": (1.0, "fan_avg", "uniform"),
    }  # fmt: skip
    with torch.no_grad():
        if kind in ("zeros", "ones", "constant"):
            tensor.fill_({"zeros": 0.0, "ones": 1.0}.get(kind) if kind != "constant" else float(numbers[0]) * spread**2)
        elif kind == "uniform":
            tensor.uniform_(-float(numbers[0]) * spread, float(numbers[0]) * spread)
        elif kind == "normal":
            tensor.normal_(0.0, float(numbers[0]) * spread)
        elif kind == "truncated":
            std = float(numbers[0]) * spread
            nn.init.trunc_normal_(tensor, std=std, a=-2 * std, b=2 * std)
        else:
            scale, fan, shape = named[kind] if kind in named else (float(numbers[0]), numbers[1], numbers[2])
            std = math.sqrt(scale / fans[fan])
            if shape == "uniform":
                tensor.uniform_(-math.sqrt(3) * std, math.sqrt(3) * std)
            else:
                nn.init.trunc_normal_(tensor, std=std / TRUNCATED, a=-2 * std / TRUNCATED, b=2 * std / TRUNCATED)


def operations(case: Case) -> float:
    """Floating-point operations of a training step: two for a product and its sum, three passes."""
    shape, total = _channels_first(case.shape), 0.0
    for layer in case.layers:
        _, after = _modules(replace(layer, init="zeros", bias_init="zeros"), shape)
        if layer.kind == "dense":
            total += math.prod(shape) * layer.units
        elif layer.kind == "conv2d":
            total += math.prod(after) * shape[0] * layer.size**2
        elif layer.kind == "transformer_encoder":
            total += math.prod(shape) * layer.units * 12 * layer.depth
        shape = after
    return 6 * total * case.batch_size


def narrowed(case: Case, factor: int) -> Case:
    """With a part of the filters and hidden units of a convolutional net; fixed spreads grow, so that they mean the same to a layer."""
    if factor == 1:
        return case
    layers = []
    for place, layer in enumerate(case.layers):
        inside = layer.kind in ("conv2d", "dense")
        units = max(4, layer.units // factor) if inside and place < len(case.layers) - 1 else layer.units
        layers.append(replace(layer, units=units, spread=math.sqrt(factor) if inside and place else 1.0))
    return replace(case, layers=tuple(layers))
