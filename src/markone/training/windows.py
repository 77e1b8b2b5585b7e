"""What a Witness keeps of the parties of a loop: the nets it calls, the optimizers it steps, and the events from one step to the next."""

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from markone.training.foreign import NetSample
from markone.training.rows import Order

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.optim import Optimizer


@dataclass(eq=False)
class Entry:
    """A net that the script calls. Counts of its forward passes: with or without a graph, in training or in evaluation mode."""

    name: str
    net: "nn.Module"
    order: Order = field(default_factory=Order)
    place: str | None = None  # the line that calls it in training
    trained: bool = False
    feeds_another: bool = False
    has_switches: bool = False
    evaluations: int = 0
    blind: Counter[bool] = field(default_factory=Counter)  # passes without a graph, by training mode
    blind_place: str | None = None
    blind_step: int = 0
    first_mode: bool | None = None
    evaluated_before: bool = False
    forwards: int = 0  # with a graph, since the last backward pass
    unused: Counter[bool] = field(default_factory=Counter)  # passes with a graph that no backward pass followed


@dataclass(eq=False)
class Descent:
    """An optimizer, and what happened since its last step."""

    optimizer: "Optimizer"
    name: str
    place: str | None
    steps: int = 0
    backwards: int = 0
    spent: bool = False  # its gradients have been used by a step, and nobody has been seen clearing them
    carried: bool = False  # and a backward pass has added to them
    newest: int = 0  # the youngest node that its last inspected step used
    norm: "torch.Tensor | None" = None  # of the gradient, just after the last backward pass
    rates: "tuple[float, int]" = (0.0, 0)  # the largest learning rate, and the steps far below it
    collapsed_step: int = 0
    clips: list[float] = field(default_factory=list)
    clip_place: str | None = None
    schedule_place: str | None = None
    schedule: str | None = None  # its class
    unscaled: bool = False
    skipped: int = 0
    gradients: dict[int, "Counter[str]"] = field(default_factory=dict)

    @property
    def parameters(self) -> "list[torch.Tensor]":
        return [one for group in self.optimizer.param_groups for one in group["params"]]

    @property
    def decay(self) -> float:
        """The largest weight decay of its groups."""
        return max((float(group.get("weight_decay") or 0.0) for group in self.optimizer.param_groups), default=0.0)

    @property
    def is_adaptive(self) -> bool:
        """Whether the size of a gradient does not decide the size of a step."""
        name = type(self.optimizer).__name__
        return not name.startswith("SGD") and name != "LBFGS"


@dataclass(eq=False)
class Window:
    """The events from one step to the next."""

    inspected: bool
    began: float
    backwards: int = 0
    stepped: bool = False
    closed_form: bool = False  # a closure computes the gradients inside the step
    looked: bool = False  # at the gradients that it made
    scaled: bool = False
    sample: NetSample | None = None
    lines: list[str | None] = field(default_factory=list)
    weights: list[float | None] = field(default_factory=list)
    reached: set[int] = field(default_factory=set)
    readings: int = 0
    newest: int = 0
    loss: "torch.Tensor | None" = None  # of the last backward pass; on the host only where the step is looked at
    value: float | None = None  # the same on the host
    outputs: dict[int, Entry] = field(default_factory=dict)
    rows: int = 0  # of the batch that a net was called with

    def again(self) -> "Window":
        """The window of the next step in the place of this one: of steps that are not looked at, nothing else is kept."""
        self.backwards, self.stepped, self.closed_form, self.scaled = 0, False, False, False
        self.loss = self.value = None
        return self
