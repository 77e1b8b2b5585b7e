"""Autopsy of a loss that is no number: the first of inputs, weights, modules and operations that is not finite."""

from typing import TYPE_CHECKING, Any

from markone.training.graph import read
from markone.training.places import users_line_of

if TYPE_CHECKING:
    import torch

    from markone.training.modules import Modules

SAVED = ("result", "self", "other", "input", "mat1")


def autopsy(root: "torch.Tensor", modules: "Modules", call: Any) -> dict[str, Any]:
    """What is not finite, by where it is: inputs_finite, parameters (names), module (the first one), operation and its line.

    The module is found by calling a copy of the net with the same inputs and weights once more. It is None where the net itself gives
    finite outputs, or cannot be called again: then the operation tells which node of the graph was the first.
    """
    found: dict[str, Any] = {"inputs_finite": None, "parameters": [], "module": None, "operation": None}
    bad = [name for name, parameter in modules.parameters() if not _is_finite(parameter)]
    found["parameters"] = bad[:10]
    if call is not None:
        found["inputs_finite"] = all(_is_finite(value) for value in call.tensors())
        if found["inputs_finite"]:
            found["module"] = call.first_bad_module()
    if found["module"] is None:
        found |= _operation(root)
    return found


def _operation(root: "torch.Tensor") -> dict[str, Any]:
    """The oldest node that saved a value which is not finite; the root's own where none did."""
    nodes = sorted(read(root).nodes, key=lambda node: node._sequence_nr())
    for node in nodes:
        if any(not _is_finite(value) for value in _kept(node)):
            return {"operation": node.name().removesuffix("0").removesuffix("Backward"), "line": users_line_of(node)}
    return {"operation": nodes[-1].name().removesuffix("0").removesuffix("Backward") if nodes else None}


def _kept(node: Any) -> "list[torch.Tensor]":
    import torch

    values = []
    for name in SAVED:
        try:
            value = getattr(node, f"_saved_{name}", None)
        except RuntimeError:
            continue
        if isinstance(value, torch.Tensor):
            values.append(value)
    return values


def _is_finite(value: "torch.Tensor") -> bool:
    return not value.is_floating_point() or bool(value.detach().isfinite().all())
