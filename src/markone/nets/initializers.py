"""Initializations: how the weights are drawn before the first step.

All of them set the weights of linear and convolutional layers, set biases to zero, and leave every other module alone, but
that fixed random wiring is drawn too.
``fan_in`` and ``fan_out`` are torch's: for a weight (out, in, *kernel), in x places and out x places of the kernel.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from markone.nets.activations import activation_of
from markone.spec import KIND, Spec

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    Initialize = Callable[[nn.Module, torch.Generator], None]

GAIN = "factor of the standard deviation; none: the gain of the activation that the layer's input comes from"


class InitializationSpec(Spec):
    """A way to draw weights; ``build`` gives a function of (net, generator) that draws them in place."""

    @abstractmethod
    def draw(self, weight: "Tensor", gain: float, generator: "torch.Generator") -> None:
        """Fill one contiguous weight tensor (out, in, *kernel); ``gain`` is that of the activation before the layer."""

    def build(self) -> "Initialize":
        """A function of (net, generator); every draw comes from the generator, in the order of ``net.modules()``.

        The result does not depend on the memory format or device of the net.
        """
        import torch

        from markone.nets.mark_one import Wiring

        @torch.no_grad()
        def initialize(net: "nn.Module", generator: "torch.Generator") -> None:
            for module in net.modules():
                if isinstance(module, Wiring):
                    module.draw(generator)
            for layer, gain in _layers(net):
                place, gain = _outputs_first(layer, gain)
                weight = torch.empty(place.shape, dtype=place.dtype, device=generator.device)
                self.draw(weight, gain, generator)
                place.copy_(weight)
                if layer.bias is not None:
                    layer.bias.zero_()

        return initialize


def _layers(net: "nn.Module") -> "Iterator[tuple[nn.Linear, float]]":
    """Every layer with weights, with the gain of the activation that comes before it; 1 where none does."""
    from torch import nn
    from torch.nn.modules.conv import _ConvNd

    gain = 1.0
    for module in net.modules():
        if isinstance(module, nn.Linear | _ConvNd):
            yield module, gain  # type: ignore[misc]
        elif activation := activation_of(module):
            gain = activation.gain


def _outputs_first(layer: "nn.Module", gain: float) -> "tuple[Tensor, float]":
    """The weight as (out, in, *kernel), and the gain for it.

    A transposed convolution holds (in, out, *kernel), and each of its outputs sees only 1 / (product of the strides) of the
    kernel's places: its fan-in is that much smaller, its gain by the root larger.
    """
    from torch.nn.modules.conv import _ConvTransposeNd

    weight: Tensor = layer.weight  # type: ignore[assignment]
    if isinstance(layer, _ConvTransposeNd):
        return weight.transpose(0, 1), gain * math.prod(layer.stride) ** 0.5
    return weight, gain


def _fans(weight: "Tensor") -> tuple[int, int]:
    places = weight[0, 0].numel()
    return weight.shape[1] * places, weight.shape[0] * places


class Normal(InitializationSpec):
    """w ~ N(0, std^2)."""

    kind: Literal["normal"] = "normal"
    std: float = Field(0.01, gt=0, description="standard deviation; 0.01 is AlexNet's (Krizhevsky et al. 2012)")

    def draw(self, weight: "Tensor", gain: float, generator: "torch.Generator") -> None:
        weight.normal_(0.0, self.std, generator=generator)


class TruncatedNormal(InitializationSpec):
    """w ~ N(0, std^2), drawn again where |w| > 2 std; the standard deviation that remains is 0.880 std."""

    kind: Literal["truncated-normal"] = "truncated-normal"
    std: float = Field(0.02, gt=0, description="standard deviation before truncation")

    def draw(self, weight: "Tensor", gain: float, generator: "torch.Generator") -> None:
        from torch.nn import init

        init.trunc_normal_(weight, 0.0, self.std, -2 * self.std, 2 * self.std, generator=generator)


class LecunNormal(InitializationSpec):
    """w ~ N(0, 1 / fan_in). LeCun, Bottou, Orr and Mueller, Efficient BackProp, 1998; what SELU asks for."""

    kind: Literal["lecun-normal"] = "lecun-normal"

    def draw(self, weight: "Tensor", gain: float, generator: "torch.Generator") -> None:
        weight.normal_(0.0, _fans(weight)[0] ** -0.5, generator=generator)


class LecunUniform(InitializationSpec):
    """w ~ U(-a, a), a = sqrt(3 / fan_in), so that the variance is 1 / fan_in. LeCun et al. 1998, as in lecun-normal."""

    kind: Literal["lecun-uniform"] = "lecun-uniform"

    def draw(self, weight: "Tensor", gain: float, generator: "torch.Generator") -> None:
        _uniform(weight, _fans(weight)[0] ** -0.5, generator)


class GlorotNormal(InitializationSpec):
    """w ~ N(0, 2 gain^2 / (fan_in + fan_out)).

    Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010, with gain 1.
    """

    kind: Literal["glorot-normal"] = "glorot-normal"
    gain: float | None = Field(None, gt=0, description=GAIN)

    def draw(self, weight: "Tensor", gain: float, generator: "torch.Generator") -> None:
        weight.normal_(0.0, (self.gain or gain) * (2 / sum(_fans(weight))) ** 0.5, generator=generator)


class GlorotUniform(InitializationSpec):
    """w ~ U(-a, a), a = gain sqrt(6 / (fan_in + fan_out)), so that the variance is 2 gain^2 / (fan_in + fan_out).

    Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010, with gain 1.
    """

    kind: Literal["glorot-uniform"] = "glorot-uniform"
    gain: float | None = Field(None, gt=0, description=GAIN)

    def draw(self, weight: "Tensor", gain: float, generator: "torch.Generator") -> None:
        _uniform(weight, (self.gain or gain) * (2 / sum(_fans(weight))) ** 0.5, generator)


class HeNormal(InitializationSpec):
    """w ~ N(0, gain^2 / fan_in), gain^2 = 2 behind ReLU.

    He, Zhang, Ren and Sun, Delving deep into rectifiers, 2015. The gain is that of the layer's own input, as in the
    paper's derivation; ``torch.nn.init.kaiming_normal_`` takes one gain for all layers, the first included.
    """

    kind: Literal["he-normal"] = "he-normal"
    gain: float | None = Field(None, gt=0, description=GAIN)

    def draw(self, weight: "Tensor", gain: float, generator: "torch.Generator") -> None:
        weight.normal_(0.0, (self.gain or gain) * _fans(weight)[0] ** -0.5, generator=generator)


class HeUniform(InitializationSpec):
    """w ~ U(-a, a), a = gain sqrt(3 / fan_in): the variance is gain^2 / fan_in. He et al. 2015, as in he-normal."""

    kind: Literal["he-uniform"] = "he-uniform"
    gain: float | None = Field(None, gt=0, description=GAIN)

    def draw(self, weight: "Tensor", gain: float, generator: "torch.Generator") -> None:
        _uniform(weight, (self.gain or gain) * _fans(weight)[0] ** -0.5, generator)


class Orthogonal(InitializationSpec):
    """w, as a matrix (out, in x places), is gain times a random matrix with orthonormal rows or columns.

    Saxe, McClelland and Ganguli, Exact solutions to the nonlinear dynamics of learning in deep linear neural networks,
    2014.
    """

    kind: Literal["orthogonal"] = "orthogonal"
    gain: float | None = Field(None, gt=0, description=GAIN)

    def draw(self, weight: "Tensor", gain: float, generator: "torch.Generator") -> None:
        from torch.nn import init

        init.orthogonal_(weight, self.gain or gain, generator=generator)


class Constant(InitializationSpec):
    """w = value everywhere: right for a single neuron; the units of a hidden layer stay alike, which is worth seeing."""

    kind: Literal["constant"] = "constant"
    value: float = Field(0.0, description="the value of every weight")

    def draw(self, weight: "Tensor", gain: float, generator: "torch.Generator") -> None:
        weight.fill_(self.value)


def _uniform(weight: "Tensor", std: float, generator: "torch.Generator") -> None:
    edge = 3**0.5 * std
    weight.uniform_(-edge, edge, generator=generator)


INITIALIZATIONS: tuple[type[InitializationSpec], ...] = (
    Normal,
    TruncatedNormal,
    LecunNormal,
    LecunUniform,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    Orthogonal,
    Constant,
)

Initialization = Annotated[
    Normal
    | TruncatedNormal
    | LecunNormal
    | LecunUniform
    | GlorotNormal
    | GlorotUniform
    | HeNormal
    | HeUniform
    | Orthogonal
    | Constant,
    KIND,
]
