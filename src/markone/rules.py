"""Learning rules: how a batch changes the weights.

Backpropagation follows the gradient of the loss. The older rules change one layer of weights by what meets there: its
inputs, its outputs and the targets. They are written as their papers have them, and put minus the change, averaged over
the batch, where the gradient would be, so that a plain step w <- w + lr change follows.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from markone.errors import SpecError
from markone.spec import KIND, Spec

if TYPE_CHECKING:
    from torch import Tensor, nn


SHOWN = 3  # layers that a message names


class RuleSpec(Spec):
    """A learning rule; ``build`` gives its run-time form for one net."""

    kind: str

    tasks: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})

    @property
    def is_taught(self) -> bool:
        """Whether the targets decide what is learned."""
        return True

    def build(self, net: "nn.Module", *, task: str, optimizer: str, mixup: bool) -> "LocalRule | None":
        """The rule at work on a net; None for backpropagation. Raises SpecError that names what it cannot be used with."""
        return None


class Backpropagation(RuleSpec):
    """change = -dLoss/dw in every layer. Rumelhart, Hinton and Williams 1986."""

    kind: Literal["backpropagation"] = "backpropagation"


class LocalRuleSpec(RuleSpec):
    """A rule for one linear layer y = W x, from its inputs and outputs and the targets alone."""

    bias: ClassVar[bool] = True
    """Whether the bias is learned, as the weight of one more input that is always 1."""

    @abstractmethod
    def change(self, W: "Tensor", x: "Tensor", y: "Tensor", t: "Tensor") -> "Tensor":
        """The change of W (outputs, inputs), summed over the samples of x (n, inputs), y and t (n, outputs).

        t: +1 for the output of the sample's class and -1 for the others, or the numbers of regression.
        """

    def mistakes(self, y: "Tensor", t: "Tensor") -> "Tensor | None":
        """How many outputs were mistaken, a scalar; None for a rule that knows no mistakes."""
        return None

    def build(self, net: "nn.Module", *, task: str, optimizer: str, mixup: bool) -> "LocalRule":
        if task not in self.tasks:
            raise SpecError(
                "rule-task", f"rule {self.kind} is made for {' and '.join(sorted(self.tasks))}, not for {task}."
            )
        if optimizer != "sgd":
            raise SpecError(
                "rule-optimizer",
                f"rule {self.kind} is itself the step, which optimizer {optimizer} would change; set optimizer.kind = sgd.",
            )
        if mixup:
            raise SpecError(
                "rule-mixup", f"rule {self.kind} has no meaning for mixed samples; set augmentation.mixup = none."
            )
        return LocalRule(self, _only_layer(net, self.kind))


class Hebb(LocalRuleSpec):
    """change = y x: what is active together is wired together; with a teacher, y is clamped to the target t.

    Hebb, The organization of behavior, 1949. Without a teacher |W| grows without bound, along the first principal
    component of the inputs.
    """

    kind: Literal["hebb"] = "hebb"
    teacher: bool = Field(True, description="whether the outputs are clamped to the targets while it learns")

    bias: ClassVar[bool] = False

    @property
    def is_taught(self) -> bool:
        return self.teacher

    def change(self, W: "Tensor", x: "Tensor", y: "Tensor", t: "Tensor") -> "Tensor":
        y = t if self.teacher else y
        return y.T @ x


class Oja(LocalRuleSpec):
    """change = y (x - y w), for several outputs y (x - W^T y): W comes to span the first principal components, |w| = 1.

    Oja, A simplified neuron model as a principal component analyzer, 1982; the subspace rule: Oja, Neural networks,
    principal components, and subspaces, 1989. Inputs must have mean 0.
    """

    kind: Literal["oja"] = "oja"

    bias: ClassVar[bool] = False

    @property
    def is_taught(self) -> bool:
        return False

    def change(self, W: "Tensor", x: "Tensor", y: "Tensor", t: "Tensor") -> "Tensor":
        return y.T @ (x - y @ W)


class PerceptronRule(LocalRuleSpec):
    """change = t x where the output is mistaken, t y <= 0, and nothing elsewhere; each output learns by itself.

    Rosenblatt, Principles of neurodynamics, 1962. Mistakes are counted, and an epoch without one ends the training. In
    batches of one, from weights 0 and at a constant rate, no more than (R / gamma)^2 are ever made: ``novikoff_bound``.
    In larger batches an epoch is judged by the samples it shows: those of the incomplete batch that it leaves out are not.
    """

    kind: Literal["perceptron"] = "perceptron"

    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})

    def change(self, W: "Tensor", x: "Tensor", y: "Tensor", t: "Tensor") -> "Tensor":
        mistaken = t * y <= 0
        return (t * mistaken).T @ x

    def mistakes(self, y: "Tensor", t: "Tensor") -> "Tensor":
        return (t * y <= 0).sum()


class Delta(LocalRuleSpec):
    """change = (t - y) x: least mean squares. Widrow and Hoff, Adaptive switching circuits, 1960."""

    kind: Literal["delta"] = "delta"

    def change(self, W: "Tensor", x: "Tensor", y: "Tensor", t: "Tensor") -> "Tensor":
        return (t - y).T @ x


RULES: tuple[type[RuleSpec], ...] = (Backpropagation, Hebb, Oja, PerceptronRule, Delta)
Rule = Annotated[Backpropagation | Hebb | Oja | PerceptronRule | Delta, KIND]


class LocalRule:
    """A rule at work on one layer. It counts mistakes on the device; nothing here waits for it."""

    def __init__(self, spec: LocalRuleSpec, layer: "nn.Linear") -> None:
        import torch

        self.spec, self.layer = spec, layer
        self.mistakes = torch.zeros((), dtype=torch.int64, device=layer.weight.device)
        self.mistakes_before = torch.zeros_like(self.mistakes)
        self.counts = type(spec).mistakes is not LocalRuleSpec.mistakes

    def learn(self, forward: "Callable[[], Tensor]", targets: "Tensor", *, share: float) -> "Tensor":
        """Runs ``forward``, which gives the loss of one batch, and adds minus the change times ``share`` to the gradients."""
        import torch

        seen: list[tuple[Tensor, Tensor]] = []
        handle = self.layer.register_forward_hook(lambda _layer, inputs, output: seen.append((inputs[0], output)))
        try:
            with torch.no_grad():
                loss = forward()
                self._learn(*seen[-1], targets, share)
        finally:
            handle.remove()
        return loss * share

    def _learn(self, x: "Tensor", y: "Tensor", targets: "Tensor", share: float) -> None:
        import torch

        weight, bias = self.layer.weight, self.layer.bias if self.spec.bias else None
        x, y = x.to(weight.dtype), y.to(weight.dtype)
        t = target_code(targets, y.shape[1]).to(weight.dtype)
        if (wrong := self.spec.mistakes(y, t)) is not None:
            self.mistakes += wrong
        W: Tensor = weight
        if bias is not None:
            x = torch.cat((x, x.new_ones(len(x), 1)), dim=1)
            W = torch.cat((W, bias.unsqueeze(1)), dim=1)
        gradient = self.spec.change(W, x, y, t) * (-share / len(x))
        _add_gradient(weight, gradient[:, : weight.shape[1]])
        if bias is not None:
            _add_gradient(bias, gradient[:, -1])

    def end_epoch(self) -> bool:
        """Whether the epoch that ends here had mistakes to make and made none."""
        converged = self.counts and bool(self.mistakes == self.mistakes_before)
        self.mistakes_before.copy_(self.mistakes)
        return converged

    def counters(self) -> dict[str, float]:
        """What the record keeps at an epoch's end: the mistakes since the beginning. Waits for the device."""
        return {"mistakes": float(self.mistakes)} if self.counts else {}

    def state_dict(self) -> "dict[str, Tensor]":
        return {"mistakes": self.mistakes, "mistakes_before": self.mistakes_before}

    def load_state_dict(self, state: "dict[str, Tensor]") -> None:
        self.mistakes.copy_(state["mistakes"])
        self.mistakes_before.copy_(state["mistakes_before"])


def target_code(targets: "Tensor", outputs: int) -> "Tensor":
    """Targets as a teacher shows them, (n, outputs): +1 for the output of the class and -1 for the others; numbers as they are.

    One output stands for class 1 of two.
    """
    import torch

    if targets.is_floating_point():
        return targets
    ours = torch.ones(1, device=targets.device) if outputs == 1 else torch.arange(outputs, device=targets.device)
    return 2.0 * (targets.unsqueeze(1) == ours) - 1


def novikoff_bound(pieces: "Iterable[tuple[Tensor, Tensor]]", W: "Tensor") -> float:
    """(R / gamma)^2, the most mistakes that the perceptron rule ever makes, summed over outputs.

    R = max |x|, gamma = min t (w x) / |w| for each output. ``pieces`` together are the samples: x (n, inputs), with one more
    input of 1 where there is a bias, and t (n, outputs) of -1 and +1. W (outputs, inputs): any directions that separate them;
    those of the widest margins give the least bound. Infinite where one does not separate. Novikoff, On convergence proofs
    on perceptrons, 1962.
    """
    import torch

    W = W.double()
    radius, margin = 0.0, torch.full((len(W),), math.inf, dtype=W.dtype, device=W.device)
    for piece, t in pieces:
        x = piece.double()
        radius = max(radius, float(x.norm(dim=1).max()))
        margin = torch.minimum(margin, (t * (x @ W.T)).amin(dim=0) / W.norm(dim=1))
    return float((radius / margin).square().sum()) if bool((margin > 0).all()) else math.inf


def _add_gradient(parameter: "Tensor", gradient: "Tensor") -> None:
    if parameter.grad is None:
        parameter.grad = gradient.contiguous()
    else:
        parameter.grad += gradient


def _only_layer(net: "nn.Module", kind: str) -> "nn.Linear":
    """The one linear layer that can be trained, at the end of the net. Raises SpecError where it is not alone or not last."""
    from torch import nn

    own = {name: list(module.parameters(recurse=False)) for name, module in net.named_modules()}
    layers = [name for name, parameters in own.items() if parameters]
    trained = [name for name in layers if any(parameter.requires_grad for parameter in own[name])]
    layer = net.get_submodule(trained[0]) if trained else None
    if trained == layers[-1:] and isinstance(layer, nn.Linear):
        return layer
    shown = ", ".join(trained[:SHOWN]) + (f" and {len(trained) - SHOWN} more" if len(trained) > SHOWN else "")
    raise SpecError(
        "rule-net",
        f"rule {kind} learns one linear layer, the last, and the net trains {shown or 'none'}; take net.kind = perceptron"
        " or mark-one, or rule.kind = backpropagation.",
    )
