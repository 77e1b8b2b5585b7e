"""Precision: the net's forward pass and gradient once more on copies, in a wider type, beside what the training's own type gives."""

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from markone.training import copies
from markone.training.foreign import SMALL
from markone.training.modules import bare, is_compiled

if TYPE_CHECKING:
    import torch
    from torch import nn

    from markone.training.windows import Entry, Window
    from markone.training.witness import Witness

AT_STEP = 3  # when the first use of everything is over, and the weights are no more those of the beginning
MOST_VALUES = 2**15  # of a batch: the wide copy holds all that the net makes of it twice as large
APART = 1e-2  # of the outputs' size: 10^5 roundings of float32
MOST_LOOKS = 6  # at gradients in half precision
HALF_LOST = 0.5  # of the gradient's norm


class Precision:
    """Compares, once, the outputs in float32 and float64, and at a few steps the gradients in half precision and float32."""

    def __init__(self, witness: "Witness") -> None:
        self.witness = witness
        self._looks = 0
        self._over = False
        self._wide: torch.Tensor | None = None

    # --- outputs -------------------------------------------------------------------------------------------------------------------

    def called(self, entry: "Entry", arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        """A net is about to be called in training: the copies are, before it."""
        import torch

        witness = self.witness
        due = (
            witness.step >= AT_STEP and not witness.window.backwards and not self._over and witness.probing is not None
        )
        if not due or not entry.trained or torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
            return
        self._over = True
        began = time.perf_counter()
        try:
            self._compare(entry, arguments, options)
        except Exception:  # foreign code, and types that it is not written for
            return
        finally:
            witness.pace.cost_seconds += time.perf_counter() - began

    def _compare(self, entry: "Entry", arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        import torch

        own = copies.unwrapped(entry.net)
        values = list(copies.tensors_in([*arguments, *options.values()]))
        weights = list(own.parameters())
        usual = all(one.dtype is torch.float32 for one in (*weights, *values) if one.is_floating_point())
        small = sum(one.numel() for one in weights) <= SMALL and sum(one.numel() for one in values) <= MOST_VALUES
        if not usual or not small or copies.is_collective(own):
            return
        with copies.undisturbed(), torch.no_grad():
            plain, again = (_run(copies.copy_of(own), arguments, options, seed) for seed in (1, 2))
            if not torch.equal(plain.output, again.output):
                return  # it draws numbers, which come out otherwise in another type
            wide = _run(copies.copy_of(own).double(), arguments, options, 1, torch.float64)
        if wide.output.dtype is not torch.float64 or not bool(plain.output.isfinite().all()):
            return
        if is_compiled(entry.net):
            self._wide = wide.output
            return
        self._judge(entry, plain.output, wide.output, _first_apart(plain, wide), compiled=False)

    def returned(self, entry: "Entry", outputs: Any) -> None:
        """What the net itself gave: looked at where it is compiled, and may be computed otherwise than it is written."""
        wide, self._wide = self._wide, None
        if wide is None or not is_compiled(entry.net):
            return
        found = next((one for one in copies.tensors_in(outputs) if one.is_floating_point() and one.ndim), None)
        if found is not None and found.shape == wide.shape:
            self._judge(entry, found.detach(), wide, None, compiled=True)

    def _judge(
        self, entry: "Entry", output: "torch.Tensor", wide: "torch.Tensor", layer: str | None, *, compiled: bool
    ) -> None:
        apart = distance(output, wide)
        self.witness.sightings.saw(
            "numerics-differ", entry.name, apart > APART, step=self.witness.step + 1, place=entry.place,
            apart=apart, layer=layer, compiled=compiled,
        )  # fmt: skip

    # --- gradients -----------------------------------------------------------------------------------------------------------------

    def after_backward(self, window: "Window") -> None:
        """Gradients are there: of a half-precision pass that nobody scaled, how much of them has become zero."""
        import torch

        witness, probing = self.witness, self.witness.probing
        if (
            window.scaled
            or window.backwards != 1
            or probing is None
            or self._looks >= MOST_LOOKS
            or not witness.descents
        ):
            return
        plan = probing.plan
        if plan is None or not probing.is_trusted:
            return
        net = copies.unwrapped(plan.call.entry.net)
        half = plan.call.autocast is torch.float16 or any(one.dtype is torch.float16 for one in net.parameters())
        if not half or copies.is_collective(net) or sum(one.numel() for one in net.parameters()) > SMALL:
            return
        self._looks += 1
        try:
            lost = _lost(net, plan)
        except Exception:  # foreign code
            self._looks = MOST_LOOKS
            return
        if lost is not None:
            self.witness.sightings.saw(
                "fp16-underflow", plan.call.entry.name, lost[0] > HALF_LOST, step=witness.step + 1,
                place=witness.backward_place, lost=lost[0], zeros=lost[1],
            )  # fmt: skip


class _Result:
    """A copy's output, and what each of its modules gave, in order."""

    def __init__(self, output: "torch.Tensor", modules: "dict[str, torch.Tensor]") -> None:
        self.output, self.modules = output, modules


def _run(
    net: "nn.Module", arguments: tuple[Any, ...], options: dict[str, Any], seed: int, dtype: "torch.dtype | None" = None
) -> _Result:
    import torch

    modules: dict[str, torch.Tensor] = {}

    def hear(name: str) -> Any:
        def keep(_module: "nn.Module", _inputs: Any, outputs: Any) -> None:
            if isinstance(outputs, torch.Tensor) and outputs.is_floating_point() and name not in modules:
                modules[name] = outputs.detach().clone()

        return keep

    for name, module in net.named_modules():
        module.register_forward_hook(hear(name))

    def change(value: Any) -> Any:
        converts = dtype is not None and isinstance(value, torch.Tensor) and value.is_floating_point()
        return value.detach().to(dtype) if converts else copies.cloned(value)

    torch.default_generator.manual_seed(seed)  # others go on, and so differ from run to run as well
    given = net(*copies.mapped(arguments, change), **copies.mapped(options, change))
    found = next(one for one in copies.tensors_in(given) if one.is_floating_point() and one.ndim)
    return _Result(found.detach(), modules)


def distance(values: "torch.Tensor", wide: "torch.Tensor") -> float:
    """The median over rows of |difference|, by the median of the rows' norms: some rows may fall to the other side of a choice."""
    difference = (values.double() - wide).reshape(len(wide), -1).norm(dim=1).median()
    return float(difference / wide.reshape(len(wide), -1).norm(dim=1).median().clamp_min(1e-30))


def _first_apart(plain: _Result, wide: _Result) -> str | None:
    """The first module, in the order in which they were done, whose results differ."""
    shared = ((name, one, wide.modules[name]) for name, one in plain.modules.items() if name in wide.modules)
    apart = (
        name for name, one, other in shared if one.ndim and one.shape == other.shape and distance(one, other) > APART
    )
    return bare(next(apart, "")) or None


def _lost(net: "nn.Module", plan: Any) -> tuple[float, float] | None:
    """By zeros in the place of something: the share of the gradient's norm, and of its entries."""
    import torch

    call, copied = plan.call, copies.copy_of(net).float()

    def change(value: Any) -> Any:
        converts = isinstance(value, torch.Tensor) and value.is_floating_point()
        return value.detach().float() if converts else copies.cloned(value)

    with copies.undisturbed(), torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
        torch.set_rng_state(call.generator)
        outputs = copied(*copies.mapped(call.arguments, change), **copies.mapped(call.options, change))
        loss = plan.loss(plan.pick(outputs).float(), 0) * plan.factor
        own = [one for one in copied.parameters() if one.requires_grad]
        wide = torch.autograd.grad(loss, own, allow_unused=True)
    every = zero = entries = zeros = 0.0
    live = [one for one in net.parameters() if one.requires_grad]
    for gradient, exact in _pairs(live, wide):
        gone = (gradient == 0) & (exact != 0)
        every += float(exact.double().square().sum())
        zero += float(exact[gone].double().square().sum())
        entries += float((exact != 0).sum())
        zeros += float(gone.sum())
    return ((zero / every) ** 0.5, zeros / entries) if every else None


def _pairs(live: "Sequence[torch.Tensor]", wide: Any) -> "Iterator[tuple[torch.Tensor, torch.Tensor]]":
    for one, exact in zip(live, wide, strict=True):
        if one.grad is not None and exact is not None and not one.grad.is_sparse:
            yield one.grad, exact
