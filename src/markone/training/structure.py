"""What a net is made of, from one real step: its layers in the order in which they ran, what lies between them, how they begin.

Modules are heard while they run; what lies between two of them is read from the autograd graph, where functions leave their trace as
modules do. The facts ``structure``, ``output`` and ``targets`` come of it. Nothing is kept once they are written.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from markone.training.graph import SHAPES, Node, Reading, Term, inputs_of, name_of_node, saved
from markone.training.modules import own_parameters
from markone.training.places import users_line

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.utils.hooks import RemovableHandle

MOST_MODULES = 1000  # more layers than that are not described
MOST_CALLS = 4000
MOST_BETWEEN = 40  # nodes between two layers
MOST_VALUES = 50  # distinct targets that are counted one by one
MOST_TARGETS = 100_000  # numbers of a batch's targets that are looked at
MOST_NUMBERS = 2**20  # of a tensor that statistics are taken of: its first rows
ALIKE = 1e-6  # relative difference of two units' projections: the rounding of float32

LINEAR = SHAPES | {
    *("Neg", "Mean", "Sum", "Expand", "Repeat", "Flip", "Roll", "ConstantPadNd", "ReflectionPad2D", "ReplicationPad2D"),
    *("AvgPool1D", "AvgPool2D", "AvgPool3D", "AdaptiveAvgPool1D", "AdaptiveAvgPool2D", "MkldnnAdaptiveAvgPool2D"),
    *("UpsampleNearest1D", "UpsampleNearest2D", "UpsampleBilinear2D", "NativeDropout", "FeatureDropout"),
    *("NativeBatchNorm", "CudnnBatchNorm", "MiopenBatchNorm"),
}
"""Nodes that are linear in their one input, or affine: those of batch normalization and dropout for a given batch and mask."""

NONLINEAR = {
    "Relu": "relu",
    "LeakyRelu": "leaky-relu",
    "PreluKernel": "prelu",
    "Prelu": "prelu",
    "Elu": "elu",
    "Gelu": "gelu",
    "Silu": "silu",
    "Mish": "mish",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Softmax": "softmax",
    "LogSoftmax": "log-softmax",
    "Hardtanh": "hardtanh",
    "Hardsigmoid": "hardsigmoid",
    "Hardswish": "hardswish",
    "Softplus": "softplus",
    "LogSigmoidForward": "log-sigmoid",
    "Threshold": "threshold",
}
"""Nodes of activations, and the names of these."""


class _Call:
    """One module that ran: what went in and came out."""

    def __init__(self, name: str, module: "nn.Module", given: "torch.Tensor | None", made: "torch.Tensor") -> None:
        self.name, self.module = name, module
        self.before: Node = given.grad_fn if given is not None else None
        self.after: Node = made.grad_fn
        self.given = tuple(given.shape) if given is not None else ()
        self.made = tuple(made.shape)
        self.place = users_line()
        self.statistics = _statistics(given, made)


class Structure:
    """Listens to one forward pass; ``facts`` reads the graph of its loss, before the backward pass frees it."""

    def __init__(
        self, layers: "Iterable[tuple[str, nn.Module]]", hook: Callable[[Callable[..., None]], Callable[..., None]]
    ) -> None:
        """hook: makes a forward hook of what hears (a guarded one, where the net is somebody else's)."""
        from torch import nn

        self._calls: list[_Call] = []
        self.handles: list[RemovableHandle] = []
        fast: set[int] = set()  # torch computes these otherwise, and to other bits, where hooks are on them
        for name, module in layers:
            if isinstance(module, nn.TransformerEncoderLayer) and not module.training:
                fast.update(map(id, module.modules()))
            if id(module) not in fast and _is_layer(module) and len(self.handles) < MOST_MODULES:
                self.handles.append(module.register_forward_hook(hook(partial(self._hear, name))))

    def _hear(self, name: str, module: "nn.Module", inputs: Any, outputs: Any) -> None:
        import torch

        made = outputs[0] if isinstance(outputs, tuple | list) and outputs else outputs
        if not isinstance(made, torch.Tensor) or not made.is_floating_point() or not torch.is_grad_enabled():
            return
        if made.numel() == 0 or made.is_sparse or made.is_nested or len(self._calls) >= MOST_CALLS:
            return
        from markone.training.rows import first_tensor  # it has torch, which a diagnosis does without

        self._calls.append(_Call(name, module, first_tensor(inputs, {}), made))

    def forget(self) -> None:
        """A pass that no backward pass followed was none of the training, and its graph is let go."""
        self._calls = []

    def facts(self, reading: Reading) -> dict[str, Any]:
        """The facts by name; none where nothing of what was heard reaches the loss. Forgets what it has heard."""
        calls, self._calls = self._calls, []
        used = [one for one in calls if one.after is None or one.after in reading.nodes]
        if not any(one.after is not None for one in used):
            return {}
        between = _Between(used)
        layers, known = [], set()
        for call in used:
            if call.name not in known:
                known.add(call.name)
                layers.append(_layer(call, between))
        _fill(layers, [*_first_calls(used)])
        longest, shortest = _depth(reading, between.weights)
        found: dict[str, Any] = {"structure": {"layers": layers, "longest": longest, "shortest": shortest}}
        if len(reading.terms) == 1:
            found["output"] = _output(reading.terms[0], between)
        return found


def structure_of(net: "nn.Module", forward: "Callable[[], torch.Tensor]") -> dict[str, Any]:
    """The facts of a net from one forward pass in training mode; ``forward`` gives the loss. Buffers are put back."""
    import torch

    from markone.training.graph import read
    from markone.training.monitor import buffers_kept

    structure = Structure(net.named_modules(), lambda hear: hear)
    try:
        with torch.enable_grad(), buffers_kept(net):
            return structure.facts(read(forward()))
    finally:
        for handle in structure.handles:
            handle.remove()


def targets_fact(kind: str, targets: "torch.Tensor") -> dict[str, Any] | None:
    """What the targets (n, ...) of a loss are: numbers, classes, one of several, several of many."""
    values = targets.detach()
    if values.ndim == 0 or not values.numel() or values.is_complex():
        return None
    values = values[: max(1, MOST_TARGETS * len(values) // values.numel())]
    rows = values.float().reshape(len(values), -1)
    distinct, counts = rows.unique(return_counts=True)
    few = len(distinct) <= MOST_VALUES
    binary = bool(((rows == 0) | (rows == 1)).all())
    sums = rows.sum(1)
    return {
        "loss": kind,
        "dtype": str(targets.dtype).removeprefix("torch."),
        "rows": len(values),
        "shape": list(targets.shape[1:]),
        "smallest": float(rows.min()),
        "largest": float(rows.max()),
        "mean": float(rows.mean()),
        "std": float(rows.std(correction=0)),
        "whole": bool((rows == rows.round()).all()),
        "binary": binary,
        "distinct": len(distinct),
        "counts": dict(zip(map(str, distinct.tolist()), counts.tolist(), strict=True)) if few else {},
        "one_hot": binary and rows.shape[1] > 1 and bool((sums == 1).all()),
        "hot": float(sums.mean()) if binary else None,
    }


class _Between:
    """The graph between the layers that ran."""

    def __init__(self, calls: list[_Call]) -> None:
        self.weights = {one.after: one.name for one in calls if one.after is not None and _has_weights(one.module)}
        self._drops = {one.after: one for one in calls if one.after is not None and _is_dropout(one.module)}

    def chain(self, node: Node) -> tuple[str | None, list[str]]:
        """The layer with weights that feeds a node by itself (None: several do, or none), and the nodes from there, in forward order."""
        names: list[str] = []
        while node is not None and node not in self.weights and len(names) < MOST_BETWEEN:
            names.append(self._name(node))
            inner = [one for one in inputs_of(node) if one is not None and not hasattr(one, "variable")]
            node = inner[0] if len(inner) == 1 else None
        return self.weights.get(node), names[::-1]

    def _name(self, node: Node) -> str:
        if node in self._drops:
            return "Dropout"
        name = name_of_node(node)
        factor = saved(node, "other") if name in ("Mul", "Div") else None
        if factor is not None and factor.numel() == 1 and not factor.requires_grad:
            return "Scale"
        inner = [one for one in inputs_of(node) if one is not None]
        return "Shift" if name in ("Add", "Sub") and len(inner) == 1 else name


def is_linear(chain: Iterable[str]) -> bool:
    """Whether nothing bends the signal on a chain of nodes."""
    return all(name in LINEAR or name in ("Dropout", "Scale", "Shift") for name in chain)


def activations_in(chain: Iterable[str]) -> list[str]:
    """The activations on a chain of nodes.

    >>> activations_in(["View", "Relu", "Dropout"])
    ['relu']
    """
    return [NONLINEAR[name] for name in chain if name in NONLINEAR]


def _layer(call: _Call, between: _Between) -> dict[str, Any]:
    """What is known without looking at a number."""
    module = call.module
    found: dict[str, Any] = {
        "name": call.name,
        "kind": type(module).__name__,
        "role": _role(module),
        "place": call.place,
        "given": list(call.given),
        "made": list(call.made),
        "trains": any(one.requires_grad for one in own_parameters(module)),
        "reached": call.after is not None,
    }
    if found["role"] in ("weights", "normalization"):
        found["source"], found["chain"] = between.chain(call.before)
        found["has_bias"] = _own(module, "bias") is not None
    if found["role"] == "dropout":
        found["p"] = float(module.p)  # type: ignore[arg-type]
    if found["role"] == "weights":
        found["fan_in"], found["fan_out"] = _fans(module)
        found["groups"] = int(getattr(module, "groups", 1))
    return found


def _fill(layers: list[dict[str, Any]], calls: list[_Call]) -> None:
    """Adds the statistics of outputs and weights; the host waits once for all of them."""
    import torch

    waiting: list[tuple[dict[str, Any], str, torch.Tensor]] = []
    with torch.no_grad():
        for layer, call in zip(layers, calls, strict=True):
            waiting += [(layer, name, value) for name, value in call.statistics.items()]
            if layer["role"] == "weights":
                waiting += [(layer, name, value) for name, value in _of_weights(call.module)]
        values = torch.stack([value.float().cpu() for _, _, value in waiting]).tolist() if waiting else []
    for (layer, name, _), value in zip(waiting, values, strict=True):
        layer[name] = value


def _first_calls(calls: list[_Call]) -> Iterator[_Call]:
    known = set()
    for one in calls:
        if one.name not in known:
            known.add(one.name)
            yield one


def _statistics(given: "torch.Tensor | None", made: "torch.Tensor") -> "dict[str, torch.Tensor]":
    import torch

    with torch.no_grad():
        values = _first_rows(made.detach()).float()
        low, high = values.aminmax()
        found = {"mean": values.mean(), "std": values.std(correction=0), "smallest": low, "largest": high}
        if given is not None and given.is_floating_point() and given.numel():
            found["given_rms"] = _first_rows(given.detach()).float().square().mean().sqrt()
        if values.ndim > 1 and len(values) > 1:
            found["row_std"] = values.std(0, correction=0).mean()
    return found


def _of_weights(module: "nn.Module") -> "Iterator[tuple[str, torch.Tensor]]":
    """The weights' mean, size, and the shares of units and of inputs that have an equal beside them; the bias likewise."""
    weight, bias = _own(module, "weight"), _own(module, "bias")
    if weight is None:
        return
    matrix = weight.detach()
    matrix = _first_rows(matrix.transpose(0, 1) if "Transpose" in type(module).__name__ else matrix).float()
    yield "weight_mean", matrix.mean()
    yield "weight_std", matrix.std(correction=0)
    yield "alike_units", _alike(matrix.flatten(1))
    yield "alike_inputs", _alike(matrix.transpose(0, 1).flatten(1))
    if bias is not None and bias.numel():
        yield "bias_mean", bias.detach().float().mean()
        yield "bias_std", bias.detach().float().std(correction=0)
        yield "bias_size", bias.detach().float().square().mean().sqrt()


def _first_rows(values: "torch.Tensor") -> "torch.Tensor":
    if values.ndim == 0 or values.numel() <= MOST_NUMBERS:
        return values
    return values[: max(2, MOST_NUMBERS * len(values) // values.numel())]


def _alike(rows: "torch.Tensor") -> "torch.Tensor":
    """The share of the rows that equal another one, by their projections on a fixed direction."""
    import torch

    if len(rows) < 2:
        return torch.zeros((), device=rows.device)
    direction = torch.arange(1, rows.shape[1] + 1, device=rows.device, dtype=rows.dtype).mul(2.399963).cos()
    values = (rows @ direction).sort().values
    scale = rows.square().sum(1).mean().sqrt().clamp_min(1e-30)
    near = values.diff() <= ALIKE * scale
    off = torch.zeros(1, dtype=torch.bool, device=rows.device)
    return (torch.cat((near, off)) | torch.cat((off, near))).float().mean()


def _output(term: Term, between: _Between) -> dict[str, Any]:
    """What the loss was given: its values, and what lies between it and the last layer."""
    feed = next(iter(inputs_of(term.node)), None)
    source, chain = between.chain(feed)
    given = term.saved("self")
    found: dict[str, Any] = {"loss": term.kind, "source": source, "chain": chain, "place": term.place}
    if given is not None and given.numel() and given.is_floating_point():
        values = given.detach().float()
        found |= {"shape": list(given.shape), "smallest": float(values.min()), "largest": float(values.max())}
        found |= {"mean": float(values.mean()), "std": float(values.std(correction=0))}
        if values.ndim > 1 and len(values) > 1:
            found["row_std"] = float(values.std(0, correction=0).mean())
    return found


def _depth(reading: Reading, weights: dict[Node, str]) -> tuple[int, int]:
    """The layers with weights on the longest and on the shortest way from the loss to the first of them."""
    longest: dict[Node, int] = {}
    shortest: dict[Node, int] = {}
    for node in sorted(reading.nodes, key=lambda node: int(node._sequence_nr())):
        inner = [one for one in inputs_of(node) if one in longest]
        own = int(node in weights)
        longest[node] = own + max((longest[one] for one in inner), default=0)
        below = [shortest[one] for one in inner if longest[one]]
        shortest[node] = own + (min(below) if below else 0)
    return longest.get(reading.root, 0), shortest.get(reading.root, 0)


def _is_layer(module: "nn.Module") -> bool:
    return next(module.children(), None) is None or any(one.ndim > 1 for one in own_parameters(module))


def _has_weights(module: "nn.Module") -> bool:
    return any(one.ndim > 1 for one in own_parameters(module))


def _is_dropout(module: "nn.Module") -> bool:
    from torch.nn.modules.dropout import _DropoutNd

    return isinstance(module, _DropoutNd) and module.training and module.p > 0


def _role(module: "nn.Module") -> str:
    """ "weights" (linear, convolution), "embedding-like" (other weights), "activation", "normalization", "dropout", "pooling", "other"."""
    from torch.nn.modules import pooling
    from torch.nn.modules.dropout import _DropoutNd

    from markone.training.vitals import role

    known = role(module)
    if known is not None:
        return known
    if isinstance(module, _DropoutNd):
        return "dropout"
    if type(module).__module__ == pooling.__name__:
        return "pooling"
    if type(module).__module__ == "torch.nn.modules.activation" and not _has_weights(module):
        return "activation"
    return "tensor" if _has_weights(module) else "other"


def _fans(module: "nn.Module") -> tuple[int, int]:
    """Numbers that one output is the sum of, and outputs that one input goes into."""
    from torch import nn

    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    places, groups = math.prod(module.kernel_size), module.groups  # type: ignore[arg-type]
    return int(module.in_channels // groups * places), int(module.out_channels // groups * places)  # type: ignore[operator]


def _own(module: "nn.Module", name: str) -> "torch.Tensor | None":
    """A parameter of its own; one that is computed from others is left alone, as computing it may change them (spectral norm)."""
    found: torch.Tensor | None = vars(module)["_parameters"].get(name)
    return found
