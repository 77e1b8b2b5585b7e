"""The vitals of one step of anybody's nets: taken by hooks that are on for that step only, and moved to the host once.

What the net's own training makes of it is only read: outputs, gradients, weights before and after. Copies are bounded: of nets with more
than ``SMALL`` weights only a part of each tensor is kept from before the step.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from markone.training.modules import own_parameters
from markone.training.monitor import Row
from markone.training.taps import Ear, Taps
from markone.training.vitals import activation_of, norms, of_outputs, role, total_norm

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.utils.hooks import RemovableHandle

SMALL = 2**22  # weights: 16 MiB of float32, which no training misses
PART = 2**16  # weights of a tensor of a larger net that are compared before and after


class NetSample:
    """The vitals of one step, from its forward pass until after its update."""

    def __init__(self, layers: "Iterable[tuple[str, nn.Module]]", guard: Callable[..., None], taps: Taps) -> None:
        from torch import nn

        self._guard, self._taps = guard, taps
        self.order: list[tuple[str, nn.Module]] = []
        self.ran: dict[str, int] = {}  # every layer that was called, and its place in the order
        self.batches: list[
            tuple[str, int, int]
        ] = []  # batch normalization in training: layer, rows, values per channel
        self._rows: list[tuple[str, str, torch.Tensor | float]] = []
        self._seen: set[str] = set()
        self._handles: list[RemovableHandle] = []
        self._weights: list[tuple[str, torch.Tensor]] = []
        fast: set[int] = set()  # torch computes these otherwise, and to other bits, where hooks are on them
        for name, module in layers:
            own = [(name, one) for one in own_parameters(module) if one.requires_grad]
            self._weights += own
            if isinstance(module, nn.TransformerEncoderLayer) and not module.training:
                fast.update(map(id, module.modules()))
            if id(module) in fast:
                continue
            if role(module) is not None or any(one.ndim > 1 for _, one in own):
                ear = Ear(partial(guard, self._see, name, activation_of(module)))
                self._handles.append(module.register_forward_hook(ear))
        taps.add(*self._handles)
        total = sum(one.numel() for _, one in self._weights)
        self.is_small = total <= SMALL
        self._before: list[torch.Tensor] = []
        self._gradients: list[torch.Tensor | None] = []
        self._gradient_norms: list[torch.Tensor] = []

    def _see(self, name: str, activation: Any, module: "nn.Module", inputs: Any, outputs: Any) -> None:
        import torch

        if name not in self.ran:
            self.ran[name] = len(self.ran)
        values = outputs[0] if isinstance(outputs, tuple | list) and outputs else outputs
        if name in self._seen or not isinstance(values, torch.Tensor) or not values.is_floating_point():
            return
        if not torch.is_grad_enabled() or values.numel() == 0 or values.is_sparse or values.is_nested:
            return
        self._seen.add(name)
        self.order.append((name, module))
        self._rows += [(name, vital, _taken(value)) for vital, value in of_outputs(activation, values).items()]
        if role(module) == "normalization" and module.training and inputs and hasattr(module, "running_mean"):
            rows, channels = inputs[0].shape[0], max(1, inputs[0].shape[1] if inputs[0].ndim > 1 else 1)
            self.batches.append((name, rows, inputs[0].numel() // channels))
        if (
            values.grad_fn is not None
        ):  # a hook of the node: one of the tensor would be seen by whoever saves the tensor
            values.grad_fn.register_prehook(partial(self._guard, self._see_gradient, name, values.output_nr))

    def _see_gradient(self, name: str, place: int, gradients: "tuple[torch.Tensor | None, ...]") -> None:
        gradient = gradients[place]
        if gradient is not None:
            self._rows.append((name, "activation_gradient_norm", _taken(gradient.detach().float().norm())))

    def detach(self) -> None:
        self._taps.drop(self._handles)
        self._handles = []

    def after_backward(self) -> None:
        """Takes the gradients as the loss gave them, before anything clips them."""
        given = [one.grad for _, one in self._weights]
        self._gradient_norms = norms([one.detach() for one in given if one is not None and not one.is_sparse])
        if self.is_small:
            self._gradients = [None if one is None or one.is_sparse else one.detach().clone() for one in given]

    def before_step(self) -> None:
        if not self._before:
            self._before = [self._kept(one).clone() for _, one in self._weights]

    def _kept(self, weights: "torch.Tensor") -> "torch.Tensor":
        values = weights.detach()
        if self.is_small or values.numel() <= PART:
            return values
        return values.reshape(-1)[:: values.numel() // PART]

    def finish(self, loss: "torch.Tensor | None", repeat: "Callable[[], torch.Tensor | None] | None") -> list[Row]:
        """All vitals; ``repeat`` computes the loss of the same batch again after the update."""
        import torch

        with torch.no_grad():
            self._weigh()
            if loss is not None:
                before = loss.detach().float().reshape(())
                self._rows.append(("net", "loss", before))
                after = repeat() if repeat is not None else None
                if after is not None:
                    self._rows.append(("net", "step_gain", before - after.detach().float().reshape(())))
            if not self._rows:
                return []
            late = [value.detach().float().cpu() for _, _, value in self._rows if isinstance(value, torch.Tensor)]
            values = iter(torch.stack(late).tolist() if late else [])
        return [
            (layer, vital, next(values) if isinstance(value, torch.Tensor) else value)
            for layer, vital, value in self._rows
        ]

    def _weigh(self) -> None:
        if not self._before:
            return
        now = [self._kept(one) for _, one in self._weights]
        change = [new - old for new, old in zip(now, self._before, strict=True)]
        weights, moved = norms(self._before), norms(change)
        by_layer: dict[str, list[int]] = {}
        for place, (layer, weight) in enumerate(self._weights):
            if weight.ndim > 1 and layer in self._seen:
                by_layer.setdefault(layer, []).append(place)
        for layer, places in by_layer.items():
            size = total_norm([weights[place] for place in places])
            step = total_norm([moved[place] for place in places])
            self._rows += [(layer, "weight_norm", size), (layer, "update_ratio", step / size.clamp_min(1e-30))]
        whole = total_norm(weights)
        self._rows += [
            ("net", "weight_norm", whole),
            ("net", "update_ratio", total_norm(moved) / whole.clamp_min(1e-30)),
        ]
        if self._gradient_norms:
            self._rows.append(("net", "gradient_norm", total_norm(self._gradient_norms)))
        if any(gradient is not None for gradient in self._gradients):
            self._rows += self._by_gradient(change)

    def _by_gradient(self, change: "list[torch.Tensor]") -> "list[tuple[str, str, torch.Tensor]]":
        """What needs the gradients themselves: their norm by layer, and what they promised of the step."""
        import torch

        rows: list[tuple[str, str, torch.Tensor]] = []
        predicted = []
        of_layer: dict[str, list[torch.Tensor]] = {}
        for (layer, weight), gradient, moved in zip(self._weights, self._gradients, change, strict=True):
            if gradient is None:
                continue
            predicted.append((gradient * moved).sum())
            if weight.ndim > 1 and layer in self._seen:
                of_layer.setdefault(layer, []).append(gradient)
        for layer, gradients in of_layer.items():
            rows.append((layer, "gradient_norm", total_norm(norms(gradients))))
        return [*rows, ("net", "step_gain_predicted", -torch.stack(predicted).sum())]


def _taken(value: "torch.Tensor") -> "torch.Tensor | float":
    """A number at once where reading it makes nobody wait: small tensors that live between a step's large ones split the heap."""
    return value.item() if value.is_cpu else value


def layers_fact(order: "list[tuple[str, nn.Module]]") -> list[dict[str, Any]]:
    """The layers that have vitals, in the order in which they ran (facts, ``layers``)."""
    return [
        {
            "name": name,
            "kind": type(module).__name__,
            "role": role(module) or "weights",
            "order": place,
            "parameters": sum(parameter.numel() for parameter in module.parameters()),
        }
        for place, (name, module) in enumerate(order)
    ]
