"""Autopsy of a loss that is no number: the first of inputs, weights, modules and operations that is not finite."""

from typing import TYPE_CHECKING, Any

from markone.training.graph import name_of_node, read, saved
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
    """The oldest node that must have given, or was given, a value which is not finite; the root's own where none shows it."""
    nodes = sorted(read(root).nodes, key=lambda node: node._sequence_nr())
    for node in nodes:
        impossible = _impossible(node)
        if impossible or any(not _is_finite(value) for value in _kept(node)):
            return {"operation": impossible or name_of_node(node), "line": users_line_of(node)}
    return {"operation": name_of_node(nodes[-1]) if nodes else None}


def _impossible(node: Any) -> str | None:
    """A logarithm of nothing or less, a division by zero: their inputs are finite, and are kept."""
    name, values = name_of_node(node), dict(zip(SAVED, _saved(node), strict=True))
    if name in ("Log", "Log2", "Log10") and values["self"] is not None:
        return f"{name} of a value that is not over 0" if bool((values["self"] <= 0).any()) else None
    if name == "Div" and values["other"] is not None:
        return "Div by zero" if bool((values["other"] == 0).any()) else None
    return None


def _kept(node: Any) -> "list[torch.Tensor]":
    return [value for value in _saved(node) if value is not None]


def _saved(node: Any) -> "list[torch.Tensor | None]":
    return [saved(node, name) for name in SAVED]


def _is_finite(value: "torch.Tensor") -> bool:
    return not value.is_floating_point() or bool(value.detach().isfinite().all())
