"""Sequences: what a net's tokens and the targets of its loss say of each other: padding that counts, and targets at the wrong place."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markone.training import copies
from markone.training.graph import Node, Term, inputs_of, name_of_node
from markone.training.probing import Call

if TYPE_CHECKING:
    import torch

LEAST_TOKENS = 64  # positions of a batch, below which chance makes patterns
MOST_TOKENS = 2**20
SAME = 0.99  # of the positions: a few tokens may be masked or corrupted on purpose
UNLIKE = 0.9  # at the right place: so that a text of one word is no proof
OUTSIDE = 0.01  # of the other positions, that may hold the token that fills rows up
ROUNDING = 1e-4  # of the outputs' size: batched products of other values round alike, but for this


@dataclass(frozen=True, eq=False)
class Aligned:
    """Targets (n, l) beside tokens (n, t) that a net was called with; start: the position whose output meets the first target."""

    targets: "torch.Tensor"
    tokens: "torch.Tensor"
    ignored: int
    start: int

    def share_at(self, offset: int, *, axis: int = 1) -> float:
        """The share of the targets that are the token so many positions further on."""
        targets, tokens = (self.targets, self.tokens) if axis else (self.targets.T, self.tokens.T)
        shift = self.start + offset
        first, last = max(0, -shift), min(targets.shape[1], tokens.shape[1] - shift)
        if last - first < 1 or targets.shape[0] != tokens.shape[0]:
            return 0.0
        wanted, there = targets[:, first:last], tokens[:, first + shift : last + shift]
        counted = wanted != self.ignored
        total = int(counted.sum())
        return float(((wanted == there) & counted).sum()) / total if 2 * total >= LEAST_TOKENS else 0.0

    @property
    def is_right(self) -> bool:
        """Whether the targets are the next tokens."""
        return max(self.share_at(1), self.share_at(1, axis=0)) >= UNLIKE


def tokens_of(arguments: tuple[Any, ...], options: dict[str, Any]) -> "list[torch.Tensor]":
    """The whole numbers (n, t) that a net was called with."""
    import torch

    return [
        one.detach()
        for one in copies.tensors_in([*arguments, *options.values()])
        if one.ndim == 2 and one.dtype in (torch.int64, torch.int32) and LEAST_TOKENS <= one.numel() <= MOST_TOKENS
    ]


def aligned(term: Term, tokens: "list[torch.Tensor]") -> Iterator[Aligned]:
    """The targets of a cross-entropy over positions, beside each array of tokens that they fit to."""
    target = term.saved("target")
    if term.kind != "nll" or target is None or not tokens:
        return
    flat, ignored = target.detach().reshape(-1), int(term.node._saved_ignore_index)
    start = _start(term.node)
    for one in tokens:
        rows, length = one.shape
        here = len(flat) // rows
        if here * rows != len(flat) or not 0 <= length - here <= 2 or start is None or one.device != flat.device:
            continue
        if one.data_ptr() != target.data_ptr():  # else the labels themselves, that some nets are given along
            yield Aligned(flat.view(rows, here), one, ignored - 2**64 if ignored >= 2**63 else ignored, start)


def _start(node: Node) -> int | None:
    """How many of the first positions of the outputs were cut off before the loss; None where their order is not known."""
    start = 0
    inner = next(iter(inputs_of(node)), None)
    for _ in range(12):
        if inner is None:
            break
        name = name_of_node(inner)
        if name == "Slice":
            first = int(inner._saved_start)
            start += first if int(inner._saved_dim) == 1 and 0 <= first < 2**31 else 0
        elif name in ("Select", "Index", "Gather", "MaskedSelect"):
            return None
        elif name not in PLAIN:
            break
        inner = next(iter(inputs_of(inner)), None)
    return start


PLAIN = frozenset(
    {"LogSoftmax", "View", "UnsafeView", "Reshape", "ReshapeAlias", "Squeeze", "Unsqueeze", "ToCopy", "Clone"}
    | {"Transpose", "Permute", "Contiguous"}
)


def padding_in(pair: Aligned, weight: "torch.Tensor | None") -> tuple[int, float] | None:
    """The class that fills the rows' ends, and its share of all targets; None where the rows end as they may.

    Proven by the inputs: they end in one token over and over as well, where the targets do, and the rows are of different lengths. One
    such target a row is not counted, since it may be the mark of the end.
    """
    for targets, tokens in ((pair.targets, pair.tokens), (pair.targets.T, pair.tokens.T)):
        if targets.shape[0] < 2 or targets.shape[1] < 4:
            continue
        ends, fill = _run(targets), targets[:, -1]
        classes, counts = fill.unique(return_counts=True)
        pad = int(classes[counts.argmax()])
        if pad == pair.ignored or (weight is not None and float(weight[pad]) == 0):
            continue
        lengths = ends * (fill == pad)
        inputs = _run(tokens) * (tokens[:, -1] == tokens[:, -1].mode().values)
        padded = lengths >= 2
        same = ((lengths - inputs).abs() <= 1) & padded
        outside = (targets == pad).sum() - lengths.sum()
        if not bool(padded.any()) or 2 * int(same.sum()) < 2 * int(padded.sum()) or len(lengths.unique()) < 3:
            continue
        if float(outside) > OUTSIDE * targets.numel():
            continue
        return pad, float((lengths - 1).clamp_min(0).sum()) / targets.numel()
    return None


def _run(values: "torch.Tensor") -> "torch.Tensor":
    """How many of the last values of each row (n, t) are alike."""
    return (values.flip(1) == values[:, -1:]).long().cumprod(1).sum(1)


def misplaced(pair: Aligned) -> tuple[int, float] | None:
    """The offset at which the targets are the tokens, if it is one that teaches nothing; None where it is the next one, or none."""
    if pair.targets.numel() < LEAST_TOKENS or pair.is_right:
        return None
    for offset in (0, -1, 2):
        share = max(pair.share_at(offset), pair.share_at(offset, axis=0) if not pair.start else 0.0)
        if share >= SAME:
            return offset, share
    return None


def is_causal(call: Call, tokens: "torch.Tensor") -> bool:
    """Whether what comes later in a row changes no output before it, though what comes earlier changes those after: it is to foresee."""
    import torch

    try:
        net = call.shadow().eval()
        with copies.undisturbed(), torch.no_grad(), call.precision():
            as_given = _outputs(net, call, tokens, tokens)
            for axis in (0, 1):
                half = tokens.shape[axis] // 2
                late, early = (_altered(tokens, axis, half, late=which) for which in (True, False))
                if half < 2 or torch.equal(late, tokens) or torch.equal(early, tokens):
                    continue
                kept = _change(as_given, _outputs(net, call, tokens, late)).narrow(axis, 0, half)
                moved = _change(as_given, _outputs(net, call, tokens, early)).narrow(
                    axis, half, tokens.shape[axis] - half
                )
                if float(kept.max()) <= ROUNDING < float(moved.max()):
                    return True
    except Exception:  # foreign code
        return False
    return False


def _altered(tokens: "torch.Tensor", axis: int, half: int, *, late: bool) -> "torch.Tensor":
    changed = tokens.clone()
    part = changed.narrow(axis, half, tokens.shape[axis] - half) if late else changed.narrow(axis, 0, half)
    part.copy_(part.flip(axis).roll(1, 1 - axis))
    return changed


def _outputs(net: "torch.nn.Module", call: Call, tokens: "torch.Tensor", instead: "torch.Tensor") -> "torch.Tensor":
    """What the net gives (n, t, anything) with other tokens in their place."""
    where = tokens.data_ptr()

    def change(value: Any) -> Any:
        same = (
            getattr(value, "data_ptr", None) is not None and value.data_ptr() == where and value.shape == tokens.shape
        )
        return instead if same else copies.cloned(value)

    given = net(*copies.mapped(call.arguments, change), **copies.mapped(call.options, change))
    rows, length = tokens.shape
    found = next(one for one in copies.tensors_in(given) if one.is_floating_point() and one.ndim > 1)
    if found.shape[:2] != (rows, length) and found.ndim == 3 and found.shape[::2] == (rows, length):
        found = found.transpose(1, 2)
    if found.shape[:2] != (rows, length) and found.shape[0] != rows * length:
        raise ValueError("outputs of an unknown layout")
    return found.detach().float().reshape(rows, length, -1)


def _change(before: "torch.Tensor", after: "torch.Tensor") -> "torch.Tensor":
    return (after - before).abs().amax(2) / before.abs().mean().clamp_min(1e-12)
