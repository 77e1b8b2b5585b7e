"""VITALS: each recorded statistic, its formula, its paper. All are zero-dimensional tensors on the device until the sample ends."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn

    from markone.nets.activations import Activation

PART = 2**18  # outputs at a time: 1 MiB of float32, which stays in the cache

Role = str  # "weights", "activation" or "normalization"


@dataclass(frozen=True)
class Vital:
    """A statistic of one layer at one step."""

    name: str
    formula: str
    paper: str


VITALS = (
    Vital("gradient_norm", "|dL/dw|, before clipping", "Glorot and Bengio 2010"),
    Vital("weight_norm", "|w|", "Krogh and Hertz 1991"),
    Vital("update_ratio", "|w_after - w_before| / |w_before|; about 1e-3 is usual", "Karpathy, CS231n notes, 2015"),
    Vital("activation_mean", "mean of the outputs", "LeCun et al. 1998, Efficient BackProp"),
    Vital("activation_std", "standard deviation of the outputs", "Glorot and Bengio 2010"),
    Vital("row_deviation", "what of activation_std lies between the rows of a batch; 0: the same for every sample", ""),
    Vital("activation_gradient_norm", "|dL/d(outputs)|", "Glorot and Bengio 2010"),
    Vital("dead_fraction", "share of units at 0 for every sample and place of the batch", "Maas et al. 2013"),
    Vital("saturated_fraction", "share of outputs where |f'| < 0.05 max |f'|", "Glorot and Bengio 2010"),
    Vital("loss", "L(w_before) on the sampled batch", ""),
    Vital("step_gain", "L(w_before) - L(w_after) on the same batch", "Schneider et al. 2021, Cockpit (alpha)"),
    Vital("step_gain_predicted", "-<dL/dw, w_after - w_before>", "Schneider et al. 2021, Cockpit (alpha)"),
)


def role(module: "nn.Module") -> Role | None:
    """What a module is to the record; None for containers, pooling, dropout and the like."""
    from torch import nn
    from torch.nn.modules.batchnorm import _NormBase

    if isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
        return "weights"
    if isinstance(module, _NormBase | nn.LayerNorm | nn.GroupNorm):
        return "normalization"
    return "activation" if activation_of(module) is not None else None


def activation_of(module: "nn.Module") -> "Activation | None":
    """The table's entry for an activation module; None if it is none."""
    from markone.nets.activations import ACTIVATIONS
    from markone.nets.blocks import activation_name

    name = activation_name(module)
    return ACTIVATIONS[name] if name else None


def _norm_about(values: "torch.Tensor", center: "torch.Tensor") -> "torch.Tensor":
    """||values - center||, by rows where that saves a second copy of a large layer's outputs on the host."""
    import torch

    if values.numel() <= PART or not values.is_cpu:
        size: torch.Tensor = torch.linalg.vector_norm(values - center)
    else:
        rows = max(1, PART * len(values) // values.numel())
        sizes = [torch.linalg.vector_norm(values[at : at + rows] - center) for at in range(0, len(values), rows)]
        size = torch.linalg.vector_norm(torch.stack(sizes))
    return size


def of_outputs(activation: "Activation | None", outputs: "torch.Tensor") -> dict[str, "torch.Tensor"]:
    """The vitals of a layer's outputs (n, units, ...)."""
    values = outputs.detach().float()
    mean = values.mean()
    deviation = _norm_about(values, mean) / values.numel() ** 0.5  # 13 times as fast as torch.var_mean
    found = {"activation_mean": mean, "activation_std": deviation}
    if activation is None and values.ndim == 2:
        found["row_deviation"] = _norm_about(values, values.mean(0)) / values.numel() ** 0.5
    if activation is not None and activation.name == "relu" and values.ndim > 1:
        places = [axis for axis in range(values.ndim) if axis != unit_axis(values)]
        found["dead_fraction"] = (values.amax(places) <= 0).float().mean()
    if activation is not None and activation.saturates == "both":
        found["saturated_fraction"] = activation.saturated(values).float().mean()
    return found


def unit_axis(values: "torch.Tensor") -> int:
    """Which axis counts the units: channels of pictures (n, c, h, w), features of everything else (n, ..., f)."""
    return 1 if values.ndim in (4, 5) else values.ndim - 1


def norms(tensors: "list[torch.Tensor]") -> "list[torch.Tensor]":
    """The Euclidean norm of each tensor, in float32, with one batched operation."""
    import torch

    if not tensors:
        return []
    return list(torch._foreach_norm([tensor.detach().float() for tensor in tensors]))


def total_norm(each: "list[torch.Tensor]") -> "torch.Tensor":
    """The norm of all tensors together, from the norms of each."""
    import torch

    together: torch.Tensor = torch.linalg.vector_norm(torch.stack(each))
    return together
