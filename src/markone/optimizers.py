"""Optimizers: specs over torch's own classes, fused where torch has it.

``build`` gives a torch optimizer that can be resumed exactly: its state is tensors and numbers only, every group keeps
its base rate as ``initial_lr``, and a loaded state takes the memory layout of the parameters.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from markone.errors import SpecError
from markone.spec import KIND, Spec

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer as TorchOptimizer

LR = "learning rate: what the schedule's factor multiplies"
DECAY = "decoupled weight decay of the weights (parameters of two or more dimensions)"


class OptimizerSpec(Spec):
    """A rule that turns gradients into steps."""

    kind: str
    lr: float

    @abstractmethod
    def make(self, net: "nn.Module", *, fused: bool) -> "TorchOptimizer":
        """torch's optimizer over the trainable parameters; ``fused``: whether torch has fused kernels where they sit."""

    def build(self, net: "nn.Module", *, lr_factor: Callable[[str], float] | None = None) -> "TorchOptimizer":
        """The optimizer of one net; ``lr_factor`` gives the factor of the learning rate by a parameter's name.

        Raises SpecError if nothing in the net can be trained.
        """
        parameters = trainable(net)
        if not parameters:
            raise SpecError("nothing-to-train", "the net has no parameter that can be trained; unfreeze a layer.")
        optimizer = self.make(net, fused=all(p.device.type in ("cpu", "cuda") for p in parameters))
        if lr_factor is not None:
            _scale(optimizer, {parameter: lr_factor(name) for name, parameter in net.named_parameters()})
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        optimizer.register_load_state_dict_post_hook(_lay_out)
        return optimizer


def trainable(net: "nn.Module") -> "list[nn.Parameter]":
    """The parameters that require a gradient, in the net's order."""
    return [parameter for parameter in net.parameters() if parameter.requires_grad]


def _scale(optimizer: "TorchOptimizer", factors: "Mapping[nn.Parameter, float]") -> None:
    """Splits every group by the factors of its parameters; the groups keep their order."""
    optimizer.param_groups[:] = [
        {**group, "lr": group["lr"] * factor, "params": [p for p in group["params"] if factors[p] == factor]}
        for group in optimizer.param_groups
        for factor in dict.fromkeys(factors[parameter] for parameter in group["params"])
    ]


def _lay_out(optimizer: "TorchOptimizer") -> None:
    """Give every state tensor its parameter's strides: fused kernels walk both in storage order."""
    import torch

    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if torch.is_tensor(value) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


class SGD(OptimizerSpec):
    """w <- w - lr g. Robbins and Monro, A stochastic approximation method, 1951."""

    kind: Literal["sgd"] = "sgd"
    lr: float = Field(0.1, gt=0, description=LR)

    def make(self, net: "nn.Module", *, fused: bool) -> "TorchOptimizer":
        from torch.optim import SGD

        return SGD(trainable(net), self.lr, fused=fused)


class Momentum(OptimizerSpec):
    """v <- momentum v + g, w <- w - lr v. Polyak 1964; Rumelhart, Hinton and Williams 1986."""

    kind: Literal["momentum"] = "momentum"
    lr: float = Field(0.05, gt=0, description=LR)
    momentum: float = Field(0.9, gt=0, lt=1, description="share of the last step that goes on")

    def make(self, net: "nn.Module", *, fused: bool) -> "TorchOptimizer":
        from torch.optim import SGD

        return SGD(trainable(net), self.lr, momentum=self.momentum, fused=fused)


class Nesterov(OptimizerSpec):
    """v <- momentum v + g, w <- w - lr (g + momentum v). Nesterov 1983, in the form of Sutskever et al. 2013."""

    kind: Literal["nesterov"] = "nesterov"
    lr: float = Field(0.05, gt=0, description=LR)
    momentum: float = Field(0.9, gt=0, lt=1, description="share of the last step that goes on")

    def make(self, net: "nn.Module", *, fused: bool) -> "TorchOptimizer":
        from torch.optim import SGD

        return SGD(trainable(net), self.lr, momentum=self.momentum, nesterov=True, fused=fused)


class Adagrad(OptimizerSpec):
    """s <- s + g^2, w <- w - lr g / (sqrt(s) + epsilon). Duchi, Hazan and Singer 2011."""

    kind: Literal["adagrad"] = "adagrad"
    lr: float = Field(0.01, gt=0, description=LR)
    epsilon: float = Field(1e-10, gt=0, description="keeps the division finite")

    def make(self, net: "nn.Module", *, fused: bool) -> "TorchOptimizer":
        from torch.optim import Adagrad

        parameters = trainable(net)
        on_cpu = all(parameter.device.type == "cpu" for parameter in parameters)
        return Adagrad(parameters, self.lr, eps=self.epsilon, fused=on_cpu or None)  # torch fuses it on the CPU only


class Adadelta(OptimizerSpec):
    """w <- w - lr d, d = g sqrt(a + epsilon) / sqrt(s + epsilon), s and a the running means of g^2 and of earlier d^2.

    Zeiler, ADADELTA, 2012.
    """

    kind: Literal["adadelta"] = "adadelta"
    lr: float = Field(1.0, gt=0, description=LR)
    rho: float = Field(0.9, ge=0, lt=1, description="decay of the running squares")
    epsilon: float = Field(1e-6, gt=0, description="keeps the division finite, and begins the motion")

    def make(self, net: "nn.Module", *, fused: bool) -> "TorchOptimizer":
        from torch.optim import Adadelta

        return Adadelta(trainable(net), self.lr, rho=self.rho, eps=self.epsilon, foreach=fused)


class RMSprop(OptimizerSpec):
    """s <- alpha s + (1 - alpha) g^2, w <- w - lr g / (sqrt(s) + epsilon). Tieleman and Hinton, lecture 6.5, 2012."""

    kind: Literal["rmsprop"] = "rmsprop"
    lr: float = Field(0.001, gt=0, description=LR)
    alpha: float = Field(0.99, ge=0, lt=1, description="decay of the running square")
    momentum: float = Field(0.0, ge=0, lt=1, description="share of the last step that goes on")
    epsilon: float = Field(1e-8, gt=0, description="keeps the division finite")

    def make(self, net: "nn.Module", *, fused: bool) -> "TorchOptimizer":
        from torch.optim import RMSprop

        return RMSprop(
            trainable(net), self.lr, alpha=self.alpha, eps=self.epsilon, momentum=self.momentum, foreach=fused
        )


class Adam(OptimizerSpec):
    """w <- w - lr m / (sqrt(s) + epsilon), m and s the running means of g and g^2, divided by 1 - beta^t.

    Kingma and Ba, Adam, 2015.
    """

    kind: Literal["adam"] = "adam"
    lr: float = Field(0.001, gt=0, description=LR)
    beta1: float = Field(0.9, ge=0, lt=1, description="decay of the running gradient")
    beta2: float = Field(0.999, ge=0, lt=1, description="decay of the running square")
    epsilon: float = Field(1e-8, gt=0, description="keeps the division finite")

    def make(self, net: "nn.Module", *, fused: bool) -> "TorchOptimizer":
        from torch.optim import Adam

        return Adam(trainable(net), self.lr, betas=(self.beta1, self.beta2), eps=self.epsilon, fused=fused)


class AdamW(OptimizerSpec):
    """w <- (1 - lr weight_decay) w before Adam's step, on weights; biases and normalization are not decayed.

    Loshchilov and Hutter, Decoupled weight decay regularization, 2019.
    """

    kind: Literal["adamw"] = "adamw"
    lr: float = Field(0.001, gt=0, description=LR)
    beta1: float = Field(0.9, ge=0, lt=1, description="decay of the running gradient")
    beta2: float = Field(0.999, ge=0, lt=1, description="decay of the running square")
    epsilon: float = Field(1e-8, gt=0, description="keeps the division finite")
    weight_decay: float = Field(0.01, ge=0, description=DECAY)

    def make(self, net: "nn.Module", *, fused: bool) -> "TorchOptimizer":
        from torch.optim import AdamW

        groups = _decayed(trainable(net), self.weight_decay)
        return AdamW(groups, self.lr, betas=(self.beta1, self.beta2), eps=self.epsilon, fused=fused)


class Muon(OptimizerSpec):
    """w <- (1 - lr weight_decay) w - 0.2 lr sqrt(max(rows, columns)) O, O nearest to the momentum with O O^T = I.

    Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024. A kernel (out, in, *places) is taken as
    a matrix (out, in x places); the last weights of the net, biases and normalization go by AdamW. With the factor
    0.2 sqrt(max) of Liu et al., Muon is scalable for LLM training, 2025, steps are as large as AdamW's, so that one lr
    serves both.
    """

    kind: Literal["muon"] = "muon"
    lr: float = Field(0.001, gt=0, description=LR)
    momentum: float = Field(0.95, ge=0, lt=1, description="decay of the running gradient of the matrices")
    weight_decay: float = Field(0.01, ge=0, description=DECAY)

    def make(self, net: "nn.Module", *, fused: bool) -> "TorchOptimizer":
        from markone.muon import MuonWithAdamW

        return MuonWithAdamW(
            trainable(net), lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay, fused=fused
        )


OPTIMIZERS: tuple[type[OptimizerSpec], ...] = (
    SGD,
    Momentum,
    Nesterov,
    Adagrad,
    Adadelta,
    RMSprop,
    Adam,
    AdamW,
    Muon,
)

Optimizer = Annotated[SGD | Momentum | Nesterov | Adagrad | Adadelta | RMSprop | Adam | AdamW | Muon, KIND]


def _decayed(parameters: "list[nn.Parameter]", weight_decay: float) -> list[dict[str, Any]]:
    """The groups of the weights, decayed, and of the rest, which is not; an empty group is left out."""
    weights = [parameter for parameter in parameters if parameter.ndim >= 2]
    rest = [parameter for parameter in parameters if parameter.ndim < 2]
    groups = ({"params": weights, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0})
    return [group for group in groups if group["params"]]
