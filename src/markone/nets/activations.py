"""ACTIVATIONS: every activation function by name, with its formula, its paper and what initializers and vitals need."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor, nn

ActivationName = Literal[
    "threshold", "identity", "sigmoid", "tanh", "relu", "leaky-relu", "elu", "selu", "gelu", "silu"
]

SATURATED_SLOPE = 0.05  # an output is saturated where |f'| is under this fraction of the largest |f'|

LEAK = 0.01  # Maas et al. 2013
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772  # Klambauer et al. 2017, equation 14


@dataclass(frozen=True)
class Activation:
    """One activation function f.

    ``gain`` is 1 / sqrt(E f(z)^2) for a standard normal z: weights of variance gain^2 / fan_in behind f keep the second
    moment of the signal (He et al. 2015 for ReLU: sqrt 2). torch's ``calculate_gain`` differs for sigmoid (1), tanh
    (5/3) and SELU (3/4).

    ``low`` and ``high`` bound the outputs whose slope |f'| is at least SATURATED_SLOPE of the largest; None where f has
    no such side, or where the output does not tell the slope (GELU, SiLU).
    """

    name: ActivationName
    formula: str
    paper: str
    year: int
    range: tuple[float, float]
    gain: float
    low: float | None
    high: float | None

    @property
    def saturates(self) -> Literal["never", "below", "both"]:
        """On which sides f goes flat."""
        return "never" if self.low is None else "below" if self.high is None else "both"

    def saturated(self, outputs: "Tensor") -> "Tensor":
        """Which of the outputs f(x), of any shape, lie where f is flat: a bool tensor of that shape."""
        import torch

        if self.low is None:
            return torch.zeros_like(outputs, dtype=torch.bool)
        flat = outputs <= self.low
        return flat if self.high is None else flat | (outputs >= self.high)

    def build(self) -> "nn.Module":
        """A fresh module, so that each place in a net has its own name and its own hooks."""
        from markone.nets.blocks import activation_module

        return activation_module(self.name)


_LOGISTIC_EDGE = (1 + math.sqrt(1 - SATURATED_SLOPE)) / 2  # y (1 - y) = SATURATED_SLOPE / 4
_TANH_EDGE = math.sqrt(1 - SATURATED_SLOPE)  # 1 - y^2 = SATURATED_SLOPE

_ALL = (
    Activation(
        "threshold",
        "1 where x >= 0, else 0",
        "McCulloch and Pitts, A logical calculus of the ideas immanent in nervous activity",
        1943,
        (0.0, 1.0),
        math.sqrt(2.0),
        None,
        None,
    ),
    Activation(
        "identity", "x", "Widrow and Hoff, Adaptive switching circuits", 1960, (-math.inf, math.inf), 1.0, None, None
    ),
    Activation(
        "sigmoid",
        "1 / (1 + exp(-x))",
        "Rumelhart, Hinton and Williams, Learning representations by back-propagating errors",
        1986,
        (0.0, 1.0),
        1.8462285453,
        1 - _LOGISTIC_EDGE,
        _LOGISTIC_EDGE,
    ),
    Activation(
        "tanh",
        "(exp(x) - exp(-x)) / (exp(x) + exp(-x))",
        "LeCun, Bottou, Orr and Mueller, Efficient BackProp",
        1998,
        (-1.0, 1.0),
        1.5925374197,
        -_TANH_EDGE,
        _TANH_EDGE,
    ),
    Activation(
        "relu",
        "max(0, x)",
        "Nair and Hinton, Rectified linear units improve restricted Boltzmann machines",
        2010,
        (0.0, math.inf),
        math.sqrt(2.0),
        0.0,
        None,
    ),
    Activation(
        "leaky-relu",
        "x where x >= 0, else 0.01 x",
        "Maas, Hannun and Ng, Rectifier nonlinearities improve neural network acoustic models",
        2013,
        (-math.inf, math.inf),
        math.sqrt(2.0 / (1.0 + LEAK**2)),
        0.0,
        None,
    ),
    Activation(
        "elu",
        "x where x >= 0, else exp(x) - 1",
        "Clevert, Unterthiner and Hochreiter, Fast and accurate deep network learning by exponential linear units",
        2016,
        (-1.0, math.inf),
        1.2451983007,
        SATURATED_SLOPE - 1,
        None,
    ),
    Activation(
        "selu",
        "1.0507 (x where x >= 0, else 1.6733 (exp(x) - 1))",
        "Klambauer, Unterthiner, Mayr and Hochreiter, Self-normalizing neural networks",
        2017,
        (-SELU_SCALE * SELU_ALPHA, math.inf),
        1.0,
        SELU_SCALE * SELU_ALPHA * (SATURATED_SLOPE - 1),
        None,
    ),
    Activation(
        "gelu",
        "x Phi(x), Phi the normal distribution function",
        "Hendrycks and Gimpel, Gaussian error linear units",
        2016,
        (-0.1699712, math.inf),
        1.5335304412,
        None,
        None,
    ),
    Activation(
        "silu",
        "x / (1 + exp(-x))",
        "Elfwing, Uchibe and Doya, Sigmoid-weighted linear units for neural network function approximation",
        2018,
        (-0.2784645, math.inf),
        1.6765324703,
        None,
        None,
    ),
)

ACTIVATIONS: Mapping[str, Activation] = {activation.name: activation for activation in _ALL}


def activation_of(module: Any) -> Activation | None:
    """The entry that a module computes, or None if it is no activation of the table."""
    from markone.nets.blocks import activation_name

    name = activation_name(module)
    return ACTIVATIONS[name] if name else None
