"""Monitor: takes the vitals of a net at chosen steps, moves them to the host once, and removes itself.

Between samples nothing is attached: an unsampled step runs exactly the code that it would run without a monitor. A sample reads;
it draws no random number, and the buffers that its repeated forward pass touches are put back.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from markone.training.pace import Pace
from markone.training.vitals import activation_of, norms, of_outputs, role, total_norm

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.utils.hooks import RemovableHandle

Row = tuple[str, str, float]  # layer, vital, value


class Monitor:
    """Vitals of one net under a budget: the share of the training time that samples may cost."""

    def __init__(self, net: "nn.Module", *, budget: float) -> None:
        self.net = net
        self.pace = Pace(budget)

    def sample(self) -> "Sample":
        """Begins a sample; the caller calls ``after_backward`` and ``finish`` on it."""
        return Sample(self)


class Sample:
    """The vitals of one step, from before its forward pass until after its update."""

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor
        self._began = time.perf_counter()
        self._rows: list[tuple[str, str, torch.Tensor]] = []
        self._seen: set[str] = set()
        self._handles = [*_attach(monitor.net, self._see)]
        self._parameters = {
            name: parameter for name, parameter in monitor.net.named_parameters() if parameter.requires_grad
        }
        self._before = [parameter.detach().clone() for parameter in self._parameters.values()]
        self._gradients: list[torch.Tensor | None] = []

    def _see(self, name: str, activation: Any, _module: "nn.Module", _inputs: Any, outputs: Any) -> None:
        import torch

        if name in self._seen or not isinstance(outputs, torch.Tensor) or not outputs.is_floating_point():
            return
        self._seen.add(name)
        self._rows += [(name, vital, value) for vital, value in of_outputs(activation, outputs).items()]
        if outputs.requires_grad:
            self._handles.append(outputs.register_hook(partial(self._see_gradient, name)))

    def _see_gradient(self, name: str, gradient: "torch.Tensor") -> None:
        self._rows.append((name, "activation_gradient_norm", gradient.detach().float().norm()))

    def after_backward(self) -> None:
        """Takes the gradients as the loss gave them: before clipping, and before penalties add theirs."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._gradients = [
            None if parameter.grad is None else parameter.grad.detach().clone()
            for parameter in self._parameters.values()
        ]

    def finish(self, step: int, loss: "torch.Tensor", repeat: Callable[[], "torch.Tensor"]) -> list[Row]:
        """All vitals of the step that ``step`` completed; ``repeat`` computes the loss of the same batch again."""
        import torch

        with torch.no_grad():
            self._weigh()
            with buffers_kept(self.monitor.net):
                after = repeat().detach().float()
            before = loss.detach().float()
            self._rows += [("net", "loss", before), ("net", "step_gain", before - after)]
            values = torch.stack([value.float() for _, _, value in self._rows]).tolist()
        rows = [(layer, vital, value) for (layer, vital, _), value in zip(self._rows, values, strict=True)]
        self.monitor.pace.charge(step, time.perf_counter() - self._began)
        return rows

    def _weigh(self) -> None:
        import torch

        named = list(zip(self._parameters.items(), self._before, self._gradients, strict=True))
        now = [parameter.detach() for (_, parameter), _, _ in named]
        change = list(torch._foreach_sub(now, self._before))
        weight_norms, change_norms = norms(self._before), norms(change)
        gradient_norms = norms([gradient for _, _, gradient in named if gradient is not None])
        remaining = iter(gradient_norms)
        predicted = []
        for ((name, _), before, gradient), moved, size, move in zip(
            named, change, weight_norms, change_norms, strict=True
        ):
            layer = name.removesuffix(".weight")
            if gradient is not None:
                norm = next(remaining)
                predicted.append((gradient * moved).sum())
                if layer in self._seen and before.ndim > 1:
                    self._rows.append((layer, "gradient_norm", norm))
            if layer in self._seen and before.ndim > 1:
                self._rows += [(layer, "weight_norm", size), (layer, "update_ratio", move / size.clamp_min(1e-30))]
        whole, moved_norm = total_norm(weight_norms), total_norm(change_norms)
        self._rows += [("net", "weight_norm", whole), ("net", "update_ratio", moved_norm / whole.clamp_min(1e-30))]
        if gradient_norms:
            self._rows.append(("net", "gradient_norm", total_norm(gradient_norms)))
            self._rows.append(("net", "step_gain_predicted", -torch.stack(predicted).sum()))


def layers_of(net: "nn.Module", forward: Callable[[], Any]) -> list[dict[str, Any]]:
    """The layers that have vitals, in the order in which ``forward`` runs them (facts, ``layers``)."""
    order: list[str] = []

    def see(name: str, _activation: Any, _module: "nn.Module", _inputs: Any, _outputs: Any) -> None:
        if name not in order:
            order.append(name)

    handles = [*_attach(net, see)]
    try:
        with buffers_kept(net):
            forward()
    finally:
        for handle in handles:
            handle.remove()
    modules = dict(net.named_modules())
    return [
        {
            "name": name,
            "kind": type(modules[name]).__name__,
            "role": role(modules[name]),
            "order": place,
            "parameters": sum(parameter.numel() for parameter in modules[name].parameters()),
        }
        for place, name in enumerate(order)
    ]


def _attach(net: "nn.Module", see: Callable[..., None]) -> Iterator["RemovableHandle"]:
    for name, module in net.named_modules():
        if role(module) is not None:
            yield module.register_forward_hook(partial(see, name, activation_of(module)))


@contextmanager
def buffers_kept(net: "nn.Module") -> Iterator[None]:
    """A forward pass in training mode moves the running statistics of batch normalization: they are put back."""
    kept = [(buffer, buffer.detach().clone()) for buffer in net.buffers()]
    try:
        yield
    finally:
        for buffer, value in kept:
            buffer.detach().copy_(value)
