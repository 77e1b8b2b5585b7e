"""What the autograd graph of one real step says: which leaves the loss reaches, what its terms are and what feeds them.

Nothing is computed anew: nodes keep what they saved for the backward pass. It must be read before that pass frees it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from markone.training.places import users_line_of

if TYPE_CHECKING:
    import torch

Node = Any  # torch.autograd.graph.Node; its saved tensors are attributes that no stub names

LOSSES = {
    "NllLoss": "nll",
    "NllLoss2D": "nll",
    "MseLoss": "mse",
    "SmoothL1Loss": "smooth-l1",
    "HuberLoss": "huber",
    "BinaryCrossEntropy": "bce",
    "BinaryCrossEntropyWithLogits": "bce-with-logits",
}
"""Nodes that are a loss by themselves: they save their input, their target and how they reduce."""

SHAPES = frozenset(
    {"View", "UnsafeView", "Reshape", "ReshapeAlias", "Squeeze", "Unsqueeze", "Transpose", "Permute", "T", "Movedim"}
    | {"Clone", "ToCopy", "Alias", "Contiguous", "AsStrided", "Flatten", "Unfold", "Detach", "Split", "SplitWithSizes"}
    | {"Slice", "Select", "Narrow", "MaskedSelect", "Index", "Gather", "Unbind"}
)
"""Nodes that move, pick or convert values, and change none."""

ACTIVATIONS = {
    "Softmax": (0.0, 1.0),
    "LogSoftmax": (float("-inf"), 0.0),
    "Sigmoid": (0.0, 1.0),
    "Tanh": (-1.0, 1.0),
    "Relu": (0.0, float("inf")),
}
"""What can stand between a net and its loss, and the values it can give."""

LINEAR = frozenset({"Addmm", "Mm", "Convolution", "Linear", "Baddbmm", "Bmm"})
"""What a layer of weights computes, and nothing more."""

STEP_FUNCTIONS = frozenset(["Round", "Sign", "Floor", "Ceil", "Trunc", "Heaviside", "Sgn"])
"""Functions whose derivative is zero wherever it exists."""

LEAF = "AccumulateGrad"
REDUCTIONS = ("none", "mean", "sum")


@dataclass(frozen=True)
class Feed:
    """What gives a loss its input: the activation in front of it, if there is one, and what in turn feeds that."""

    activation: str | None
    axis: int | None
    shape: tuple[int, ...]
    place: str | None
    before: "Feed | None" = None
    linear: bool = False  # a layer with weights gives it as it is, with any sign

    @property
    def axis_size(self) -> int | None:
        return self.shape[self.axis] if self.axis is not None and self.shape else None


@dataclass(frozen=True, eq=False)
class Term:
    """One summand of what is minimized.

    sign, factor: of its derivative by the constants between; factor is None where one of them is not a single number.
    rows: along the first axis. averaged: by the reductions on the way. straight: nothing else than reductions and constants lie between.
    """

    kind: str
    node: Node
    sign: int
    factor: float | None
    averaged: bool
    feed: Feed
    rows: int
    place: str | None
    broadcast: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    known: "Mapping[str, torch.Tensor]" = field(default_factory=dict)  # in the place of what the loss would have saved

    @property
    def weight(self) -> float | None:
        """By how much the mean over the rows counts: 1 for a mean, the number of rows for a sum."""
        if self.factor is None:
            return None
        return self.factor if self.averaged else self.factor * self.rows

    def saved(self, name: str) -> "torch.Tensor | None":
        """What the loss saved: "self" or "target"; None where there is none, or it is freed."""
        return self.known.get(name, saved(self.node, name))

    def spelled_out(self, prediction: "torch.Tensor") -> "Term":
        """A squared difference that was written by hand as the squared error that it is; any other term as it is.

        Of the difference to the target the graph keeps the value: with the prediction it gives the target.
        """
        difference = saved(self.node, "self")
        below = next(iter(inputs_of(self.node)), None)
        exponent = getattr(self.node, "_saved_exponent", 2)
        if self.kind != "square" or difference is None or below is None or self.broadcast is not None or exponent != 2:
            return self
        if name_of_node(below) != "Sub" or prediction.numel() != difference.numel():
            return self
        given = prediction.detach().reshape(difference.shape)
        target = given - difference.detach() if below.next_functions[0][0] is not None else given + difference.detach()
        return replace(self, kind="mse", known={"self": given, "target": target})


@dataclass(frozen=True, eq=False)
class Reading:
    """The graph of one root of a backward pass."""

    root: Node
    nodes: frozenset[Node]
    leaves: dict[int, "torch.Tensor"] = field(repr=False)

    @cached_property
    def terms(self) -> tuple[Term, ...]:
        return tuple(_terms(self.root))

    @cached_property
    def step_functions(self) -> list[str]:
        """Where functions with no slope were applied, in words."""
        found = {name_of_node(node): users_line_of(node) for node in self.nodes if name_of_node(node) in STEP_FUNCTIONS}
        return [f"{name.lower()}{f' at {place}' if place else ''}" for name, place in sorted(found.items())]

    @property
    def newest(self) -> int:
        return max((_age(node) for node in self.nodes), default=0)

    def older_than(self, sequence: int) -> int:
        """How many of its nodes were made before: by the graph of an earlier step."""
        return sum(_age(node) < sequence for node in self.nodes)


def read(root: "torch.Tensor") -> Reading:
    """All nodes and leaves that the loss reaches. A root without a graph gives an empty reading."""
    if root.grad_fn is None:
        return Reading(None, frozenset(), {id(root): root} if root.requires_grad else {})
    nodes, leaves, waiting = {root.grad_fn}, {}, [root.grad_fn]
    while waiting:
        for node, _ in waiting.pop().next_functions:
            if node is None or node in nodes:
                continue
            nodes.add(node)
            waiting.append(node)
            if (leaf := getattr(node, "variable", None)) is not None:
                leaves[id(leaf)] = leaf
    return Reading(root.grad_fn, frozenset(nodes - {node for node in nodes if hasattr(node, "variable")}), leaves)


def _age(node: Node) -> int:
    return int(node._sequence_nr())


def name_of_node(node: Node) -> str:
    return re.sub(r"Backward\d*$", "", node.name())


def inputs_of(node: Node) -> list[Node]:
    return [inner for inner, _ in node.next_functions]


def saved(node: Node, name: str) -> "torch.Tensor | None":
    """A tensor that a node keeps for its backward pass; None where there is none, or it is freed."""
    import torch

    try:
        value = getattr(node, f"_saved_{name}", None)
    except RuntimeError:  # freed, or changed in place since
        return None
    return value if isinstance(value, torch.Tensor) else None


def shape_of(node: Node) -> tuple[int, ...]:
    """The shape of what a node computed."""
    metadata = getattr(node, "_input_metadata", ())
    return tuple(int(size) for size in metadata[0].shape) if metadata else ()


def _terms(
    node: Node, sign: int = 1, factor: float | None = 1.0, averaged: bool = False, depth: int = 0
) -> Iterator[Term]:
    """Goes down from the root through sums, means, signs and constants to what they are taken of."""
    if node is None or depth > 40:
        return
    name, inputs = name_of_node(node), [inner for inner in inputs_of(node) if inner is not None]
    kind = LOSSES.get(name)
    if kind is not None:
        reduction = REDUCTIONS[int(node._saved_reduction)]
        yield _loss(kind, node, sign, factor, averaged or reduction == "mean")
    elif name in ("Add", "Sub") and len(inputs) == 2:
        yield from _terms(inputs[0], sign, factor, averaged, depth + 1)
        yield from _terms(inputs[1], sign if name == "Add" else -sign, factor, averaged, depth + 1)
    elif name in ("Pow", "Abs") and inputs:
        yield _difference("square" if name == "Pow" else "absolute", node, sign, factor, averaged)
    elif name == "Mul" and len(inputs) == 2 and inputs[0] is inputs[1]:
        yield _difference("square", node, sign, factor, averaged)
    elif name == "Log":
        yield _term("log", node, sign, factor, averaged, feed=_feed(next(iter(inputs), None)))
    elif name == "LogSoftmax":
        yield _term("log-probability", node, sign, factor, averaged, feed=_feed(node))
    elif (further := _constant(node, name, inputs, sign, factor, averaged)) is not None:
        yield from _terms(*further, depth + 1)
    else:
        yield _term("other", node, sign, factor, averaged, feed=_feed(node))


def _constant(
    node: Node, name: str, inputs: list[Node], sign: int, factor: float | None, averaged: bool
) -> tuple[Node, int, float | None, bool] | None:
    """The node below one that only negates, scales, averages, sums or picks; None where something else happens."""
    if len(inputs) != 1:
        return None
    below = inputs[0]
    if name == "Neg":
        return below, -sign, factor, averaged
    if name == "Mean":
        return below, sign, factor, True
    if name in ("Add", "Sum") or name in SHAPES:
        return below, sign, factor, averaged
    if name == "Where" and node._saved_condition.numel() == 1:  # Keras divides a sum only where there is a row
        return below, sign, factor, averaged
    if name == "Sub":
        return below, sign if node.next_functions[0][0] is not None else -sign, factor, averaged
    if name not in ("Mul", "Div"):
        return None
    number = _number(node)
    if number is None:
        return None
    positive, size = number
    if size is None or factor is None or (name == "Div" and not size):
        return below, sign if positive else -sign, None, averaged
    factor = factor * size if name == "Mul" else factor / size
    return below, sign if positive else -sign, factor, averaged


def _number(node: Node) -> tuple[bool, float | None] | None:
    """The sign and the size of what is multiplied by or divided by; size None for an array of one sign, None for mixed signs."""
    value = getattr(node, "_saved_other", None)
    if value is None:
        value = saved(node, "self")
    if value is None:
        return None
    if isinstance(value, int | float):
        return value >= 0, abs(float(value))
    if value.numel() == 1:
        return bool(value >= 0), abs(float(value))
    return (True, None) if bool((value >= 0).all()) else None


def _term(kind: str, node: Node, sign: int, factor: float | None, averaged: bool, *, feed: Feed, **more: Any) -> Term:
    given = saved(node, "self") if kind in LOSSES.values() else None
    shape = tuple(given.shape) if given is not None else feed.shape or shape_of(node)
    return Term(kind, node, sign, factor, averaged, feed, shape[0] if shape else 1, users_line_of(node), **more)


def _loss(kind: str, node: Node, sign: int, factor: float | None, averaged: bool) -> Term:
    source = next(iter(inputs_of(node)), None)
    feed, broadcast = _feed(source), None
    if source is not None and name_of_node(source) == "Expand":
        feed = _feed(inputs_of(source)[0])
        broadcast = (tuple(int(size) for size in source._saved_self_sym_sizes), shape_of(source))
    return _term(kind, node, sign, factor, averaged, feed=feed, broadcast=broadcast)


def _difference(kind: str, node: Node, sign: int, factor: float | None, averaged: bool) -> Term:
    """A square or an absolute value: of a difference between a prediction and a target, where a subtraction is below."""
    below = next((inner for inner in inputs_of(node) if inner is not None), None)
    if below is None or name_of_node(below) != "Sub":
        return _term("other", node, sign, factor, averaged, feed=_feed(below))
    sources = [inner for inner in inputs_of(below) if inner is not None]
    if len(sources) != 1:
        return _term("other", node, sign, factor, averaged, feed=_feed(below))
    source = sources[0]
    if name_of_node(source) == "Expand" and inputs_of(source)[0] is not None:
        source = inputs_of(source)[0]
    given, made = shape_of(source), shape_of(below)
    asked = (
        given == made or name_of_node(source) == "Unsqueeze"
    )  # differences of all pairs, as a distance matrix wants them
    return _term(kind, node, sign, factor, averaged, feed=_feed(source), broadcast=None if asked else (given, made))


def _feed(node: Node, depth: int = 0) -> Feed:
    """The first node below that does more than move values."""
    shape, inner = shape_of(node) if node is not None else (), node
    while inner is not None and inputs_of(inner) and (name_of_node(inner) in SHAPES or _is_guard(inner)):
        inner = inputs_of(inner)[0]
    if inner is None or name_of_node(inner) not in ACTIVATIONS:
        place = users_line_of(inner) if inner is not None else None
        return Feed(None, None, shape, place, linear=inner is not None and name_of_node(inner) in LINEAR)
    shape = shape_of(inner)
    axis = getattr(inner, "_saved_dim", None)
    if axis is not None:
        axis = _signed(axis) % max(len(shape), 1)
    before = _feed(inputs_of(inner)[0], depth + 1) if depth < 3 else None
    return Feed(name_of_node(inner), axis, shape, users_line_of(inner), before)


def _is_guard(node: Node) -> bool:
    """Whether it only keeps values away from where a logarithm has none: a clamp, or a constant that is added."""
    return name_of_node(node) in ("Clamp", "ClampMin") or (name_of_node(node) == "Add" and len(inputs_of(node)) == 1)


def _signed(axis: int) -> int:
    """Autograd shows a negative axis as an unsigned number of 64 bits."""
    return axis - 2**64 if axis >= 2**63 else axis
