"""Every kind of net with its paper and its size, without building one: the figures stand in a file beside this one."""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

FILE = "catalogue.json"
SIZELESS = frozenset({"timm"})  # stands for all nets of a library, so it has no size of its own


@dataclass(frozen=True)
class Entry:
    """One kind of net at its own input shape and outputs: ``flops`` of one input, ``layers`` with activations and all else
    that computes. A kind of SIZELESS has None for these."""

    name: str
    year: int
    paper: str
    input_shape: tuple[int, ...]
    outputs: int
    parameters: int | None = None
    flops: int | None = None
    layers: int | None = None


def catalogue() -> list[Entry]:
    """All kinds of NETS, by year, then in the order of their names with their numbers as numbers."""
    from markone.nets import NETS

    figures = _figures()
    entries = [
        Entry(kind, variant.year, variant.paper, variant.input_shape, variant.outputs, **figures.get(kind, {}))
        for net in NETS
        for kind, variant in net.variants.items()
    ]
    return sorted(entries, key=lambda entry: (entry.year, _in_order(entry.name)))


def counted(kind: str) -> dict[str, int]:
    """The figures of one kind, computed anew."""
    import torch

    from markone.nets import NETS
    from markone.nets.summary import summarize

    spec, variant = next((net, net.variants[kind]) for net in NETS if kind in net.variants)
    with torch.device("meta"):
        net = spec.from_dict({"kind": kind}).make(variant.input_shape, variant.outputs)
    summary = summarize(net, variant.input_shape)
    return {"parameters": summary.parameters, "flops": summary.flops, "layers": len(summary.layers)}


@cache
def _figures() -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = json.loads((files("markone.nets") / FILE).read_text(encoding="utf-8"))
    return found


def _in_order(kind: str) -> list[tuple[int, str]]:
    """resnet-18 before resnet-101."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in kind.split("-")]
