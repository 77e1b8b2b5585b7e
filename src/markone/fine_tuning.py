"""FineTuning: which weights of a net stay as they are, and which learn more slowly than the rest."""

import math
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING

from pydantic import Field

from markone.errors import SpecError
from markone.spec import Spec

if TYPE_CHECKING:
    from torch import nn

EARLY_STRIDE = 4


class FineTuning(Spec):
    """Frozen layers, and factors of the learning rate by layer. A pattern takes all of a layer that it names.

    Yosinski, Clune, Bengio and Lipson, How transferable are features in deep neural networks?, 2014; learning rates by
    layer: Howard and Ruder, Universal language model fine-tuning for text classification, 2018.
    """

    frozen: tuple[str, ...] = Field(
        (),
        description="layers whose weights and running statistics stay as they are: names or patterns, such as features.*",
    )
    lr_factors: tuple[str, ...] = Field(
        (),
        description="factors of the learning rate by layer, such as features.*=0.1; the first that fits counts, 1 elsewhere",
    )

    def freeze(self, net: "nn.Module") -> None:
        """Takes the frozen parameters out of the training. Raises SpecError for a pattern that names nothing."""
        names = [name for name, _ in net.named_parameters()]
        for pattern in (*self.frozen, *(pattern for pattern, _ in self._factors)):
            if not any(_fits(pattern, name) for name in names):
                known = ", ".join(name for name, _ in net.named_children())
                raise SpecError(
                    "layer-unknown", f"fine_tuning names {pattern!r}, and no layer of the net fits; it has {known}."
                )
        for name, parameter in net.named_parameters():
            if any(_fits(pattern, name) for pattern in self.frozen):
                parameter.requires_grad_(False)

    def lr_factor(self, name: str) -> float:
        """The factor of the learning rate of the parameter with this name."""
        return next((factor for pattern, factor in self._factors if _fits(pattern, name)), 1.0)

    @cached_property
    def _factors(self) -> list[tuple[str, float]]:
        return [_factor(text) for text in self.lr_factors]


def _factor(text: str) -> tuple[str, float]:
    pattern, _, number = text.rpartition("=")
    try:
        factor = float(number)
    except ValueError:
        factor = 0.0
    if not pattern or not 0 < factor < math.inf:
        raise SpecError(
            "lr-factor",
            f"fine_tuning.lr_factors has {text!r}; write a layer and a number over 0, such as features.*=0.1, and freeze"
            " what is not to learn at all with fine_tuning.frozen.",
        )
    return pattern.strip(), factor


def early_layers(net: "nn.Module", input_shape: tuple[int, ...]) -> tuple[str, ...]:
    """The layers with weights that see the picture at a quarter of its sides or finer, by the shortest names that take no others.

    Edges, colours and corners are there, the same for every data set (Yosinski et al. 2014, figure 2), and half of the computing.
    """
    from markone.nets.summary import summarize

    layers = [layer for layer in summarize(net, input_shape).layers if layer.parameters]
    early = {layer.name: max(layer.effective_stride or (EARLY_STRIDE + 1,)) <= EARLY_STRIDE for layer in layers}
    names = []
    for name in (name for name, is_early in early.items() if is_early):
        parts = name.split(".")
        prefixes = [".".join(parts[:length]) for length in range(1, len(parts) + 1)]
        names.append(
            next(one for one in prefixes if all(is_early for other, is_early in early.items() if _fits(one, other)))
        )
    return tuple(dict.fromkeys(names))


def still(net: "nn.Module") -> "Iterator[nn.Module]":
    """The normalization layers whose own parameters are all frozen: they keep their running statistics as well."""
    from torch.nn.modules.batchnorm import _BatchNorm

    for module in net.modules():
        if isinstance(module, _BatchNorm) and _all_frozen(module.parameters(recurse=False)):
            yield module


def _all_frozen(parameters: "Iterable[nn.Parameter]") -> bool:
    kept = list(parameters)
    return bool(kept) and not any(parameter.requires_grad for parameter in kept)


def _fits(pattern: str, name: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")
