"""Regularization: what keeps a net simple, beside its dropout and the data's augmentation.

Weights are the trainable parameters of two or more dimensions: biases and the scales of normalization are never
shrunk.
"""

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from markone.errors import SpecError
from markone.spec import Spec

if TYPE_CHECKING:
    from torch import Tensor, nn


class EarlyStopping(Spec):
    """Stop when the main metric on validation has not improved for so many epochs; the best weights are kept. Prechelt 1998."""

    patience: int = Field(10, ge=1, description="epochs without a gain after which the training stops")
    min_improvement: float = Field(
        0.0, ge=0, description="least change of the main metric (accuracy, RMSE) that counts as a gain"
    )


class Regularization(Spec):
    """Every way to regularize; none is off. m is the number of training samples."""

    l1: float | None = Field(None, gt=0, description="lambda in the cost's term lambda/m sum |w| (Tibshirani 1996)")
    l2: float | None = Field(
        None, gt=0, description="lambda in the cost's term lambda/(2m) sum w^2 (Krogh and Hertz 1992)"
    )
    weight_decay: float | None = Field(
        None,
        gt=0,
        description="w <- (1 - lr weight_decay) w at every step, for any optimizer (Loshchilov and Hutter 2019)",
    )
    label_smoothing: float | None = Field(
        None, gt=0, lt=1, description="share of each target that goes to all classes alike (Szegedy et al. 2016)"
    )
    clip: float | None = Field(None, gt=0, description="greatest norm of all gradients together (Pascanu et al. 2013)")
    ema: float | None = Field(
        None, gt=0, lt=1, description="decay of the running average of the weights (Polyak and Juditsky 1992)"
    )
    early_stopping: EarlyStopping | None = Field(None, description="stop when validation no longer gains")

    def build(
        self, net: "nn.Module", *, samples: int, lr_factor: "Callable[[str], float] | None" = None
    ) -> "Regularizer":
        """The run-time form for one net and so many training samples. Raises SpecError unless there is a sample."""
        if samples < 1:
            raise SpecError("sample-count", f"regularization needs at least 1 training sample, and got {samples}.")
        return Regularizer(self, net, samples, lr_factor)

    def build_average(self, net: "nn.Module") -> "Average | None":
        """The running average of the net's weights; None when off."""
        return None if self.ema is None else Average(net, self.ema)


class Regularizer:
    """A Regularization at work on one net; what is off returns at once.

    In a step: loss.backward(), add_gradients(), clip(), decay(lr), optimizer.step().
    """

    def __init__(
        self, spec: Regularization, net: "nn.Module", samples: int, lr_factor: "Callable[[str], float] | None" = None
    ) -> None:
        self._l1, self._l2 = (spec.l1 or 0.0) / samples, (spec.l2 or 0.0) / samples
        self._weight_decay, self._clip = spec.weight_decay, spec.clip
        self._parameters = [parameter for parameter in net.parameters() if parameter.requires_grad]
        self._weights = weights_of(net)
        self._decayed: dict[float, list[Tensor]] = {}  # by the factor of their learning rate
        for name, parameter in net.named_parameters():
            if parameter.requires_grad and parameter.ndim >= 2:
                self._decayed.setdefault(lr_factor(name) if lr_factor else 1.0, []).append(parameter)

    def cost(self) -> "Tensor":
        """l1/m sum |w| + l2/(2m) sum w^2, a scalar on the net's device; 0 when both are off."""
        import torch

        weights = [weight.detach() for weight in self._weights]
        cost = torch.zeros((), device=self._parameters[0].device if self._parameters else None)
        if self._l1 and weights:
            cost = cost + self._l1 * torch.stack(torch._foreach_norm(weights, 1)).sum()
        if self._l2 and weights:
            cost = cost + self._l2 / 2 * torch.stack(torch._foreach_norm(weights, 2)).square().sum()
        return cost

    def add_gradients(self) -> None:
        """Adds l1/m sign(w) + l2/m w, the gradient of ``cost``, to the gradients that there are."""
        if not (self._l1 or self._l2):
            return
        import torch

        pairs = [(weight.detach(), weight.grad) for weight in self._weights if weight.grad is not None]
        weights, grads = [weight for weight, _ in pairs], [grad for _, grad in pairs]
        if self._l2 and pairs:
            torch._foreach_add_(grads, weights, alpha=self._l2)
        if self._l1 and pairs:
            torch._foreach_add_(grads, torch._foreach_sign(weights), alpha=self._l1)

    def clip(self) -> "Tensor | None":
        """Scales all gradients by min(1, clip / norm); gives the norm before, a scalar on the device, or None if off."""
        if self._clip is None:
            return None
        from torch.nn.utils import clip_grad_norm_

        return clip_grad_norm_(self._parameters, self._clip, foreach=True)

    def decay(self, lr: float) -> None:
        """w <- (1 - lr weight_decay) w, before the optimizer's step; with Adam this is AdamW. Slowed layers decay as slowly."""
        if self._weight_decay is None or not self._weights:
            return
        import torch

        with torch.no_grad():
            for factor, weights in self._decayed.items():
                torch._foreach_mul_(weights, 1 - lr * factor * self._weight_decay)


class Average:
    """An exponential moving average of a net: a <- a + (1 - d) (w - a), d = min(decay, (1 + n) / (10 + n)) at update n.

    The smaller d of the first updates forgets the initial weights, as in TensorFlow's ExponentialMovingAverage.
    Running statistics are averaged like weights; whole numbers are copied. ``module`` is a copy in eval mode.
    """

    def __init__(self, net: "nn.Module", decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.module = copy.deepcopy(net).eval().requires_grad_(False)

    def update_parameters(self, net: "nn.Module") -> None:
        """Takes the net's present weights in, without waiting for the device."""
        import torch

        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        pairs = list(zip(_tensors(self.module), _tensors(net), strict=True))
        averaged = [(average, now) for average, now in pairs if now.is_floating_point()]
        torch._foreach_lerp_([average for average, _ in averaged], [now for _, now in averaged], 1 - decay)
        for average, now in pairs:
            if not now.is_floating_point():
                average.copy_(now)
        self.updates += 1

    def state_dict(self) -> "dict[str, Tensor]":
        """The averaged net's state, its names behind ``module.``, and how many updates it has had."""
        import torch

        state = {f"module.{name}": value for name, value in self.module.state_dict().items()}
        return {**state, "updates": torch.tensor(self.updates)}

    def load_state_dict(self, state: "Mapping[str, Tensor]") -> None:
        """Puts a state back."""
        self.updates = int(state["updates"])
        self.module.load_state_dict({name.removeprefix("module."): state[name] for name in state if name != "updates"})


def _tensors(net: "nn.Module") -> "list[Tensor]":
    return [tensor.detach() for tensor in (*net.parameters(), *net.buffers())]


def weights_of(net: "nn.Module") -> "list[nn.Parameter]":
    """The trainable parameters of two or more dimensions."""
    return [parameter for parameter in net.parameters() if parameter.requires_grad and parameter.ndim >= 2]


def complexity(net: "nn.Module") -> dict[str, float]:
    """How complex a net is: l0, l1 and l2 of its weights, frozen ones too, and how many parameters it has.

    l0 = number of weights that are not 0, l1 = sum |w|, l2 = sqrt(sum w^2). One transfer to the host.
    """
    import torch

    parameters = float(sum(parameter.numel() for parameter in net.parameters()))
    weights = [parameter.detach() for parameter in net.parameters() if parameter.ndim >= 2]
    if not weights:
        return {"l0": 0.0, "l1": 0.0, "l2": 0.0, "parameters": parameters}
    l0 = torch.stack([weight.count_nonzero() for weight in weights]).sum().double()
    l1 = torch.stack(torch._foreach_norm(weights, 1)).double().sum()
    l2 = torch.stack(torch._foreach_norm(weights, 2)).double().square().sum().sqrt()
    numbers: list[float] = torch.stack((l0, l1, l2)).tolist()
    return dict(zip(("l0", "l1", "l2", "parameters"), (*numbers, parameters), strict=True))
