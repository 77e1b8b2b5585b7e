"""Probing: keeps what the last looked-at call of a net was given and gave, to repeat it on copies: probes, and the loss after a step."""

import contextlib
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markone.training import copies, probes
from markone.training.graph import Node, Reading, Term, inputs_of, name_of_node, shape_of
from markone.training.places import users_line
from markone.training.structure import targets_fact

if TYPE_CHECKING:
    import torch
    from torch import nn

    from markone.training.windows import Entry
    from markone.training.witness import Witness

REPEATABLE = frozenset({"View", "UnsafeView", "Reshape", "ReshapeAlias", "Squeeze", "Unsqueeze", "ToCopy", "Clone"})
SAME = (
    1e-3  # relative difference between the loss of the script and of its repetition: bfloat16 rounds to 4e-3 at worst
)
TARGETS = 12  # steps whose targets say what a blind guess loses
CROSS_TALK = 1e-5  # of a row's own influence: a hundred times the rounding of float32


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a net, with the state that decides what it gives."""

    entry: "Entry"
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    generator: "torch.Tensor"
    autocast: "torch.dtype | None"
    place: str | None

    def tensors(self) -> "Iterator[torch.Tensor]":
        import torch

        yield from (value for value in (*self.arguments, *self.options.values()) if isinstance(value, torch.Tensor))

    def again(self, net: "nn.Module") -> Any:
        """What a copy of the net gives with the weights as they are now; buffers and generators stay as they are."""
        import torch

        own = copies.unwrapped(self.entry.net)
        live = {name: one.detach() for name, one in own.named_parameters()}
        live |= {name: one.detach().clone() for name, one in own.named_buffers()}
        with copies.undisturbed(), torch.no_grad(), self.precision():
            torch.set_rng_state(self.generator)
            return torch.func.functional_call(net, live, self.arguments, self.options, strict=False)

    def shadow(self) -> "nn.Module":
        """A copy of the net that takes no hook of the user's along. Raises TypeError where its forward pass waits for other processes."""
        own = copies.unwrapped(self.entry.net)
        if copies.is_collective(own):
            raise TypeError("a net that waits for other processes cannot be called once more")
        return copies.copy_of(own)

    @contextlib.contextmanager
    def precision(self) -> "Iterator[None]":
        import torch

        device = next(self.tensors()).device.type
        with torch.autocast(device, self.autocast) if self.autocast else contextlib.nullcontext():
            yield

    def first_bad_module(self) -> str | None:
        """The first module that makes values that are not finite out of finite ones."""
        import torch

        found: list[str] = []
        try:
            shadow = self.shadow()
        except Exception:  # foreign code
            return None

        def look(name: str) -> Callable[..., None]:
            def hook(_module: "nn.Module", inputs: Any, outputs: Any) -> None:
                values = outputs[0] if isinstance(outputs, tuple | list) and outputs else outputs
                given = [one for one in inputs if isinstance(one, torch.Tensor)]
                if isinstance(values, torch.Tensor) and not _finite(values) and all(_finite(one) for one in given):
                    found.append(name)

            return hook

        for name, module in shadow.named_modules():
            if not list(module.children()):
                module.register_forward_hook(look(name or self.entry.name))
        with contextlib.suppress(Exception):
            self.again(shadow)
        return found[0] if found else None


@dataclass(frozen=True, eq=False)
class Plan:
    """How to compute the loss of a call again: which of its outputs is the prediction, and what is taken of it."""

    call: Call
    path: tuple[Any, ...]
    loss: "Callable[[torch.Tensor, int], torch.Tensor]"  # of a prediction; targets rolled by so many rows
    factor: float
    by_row: bool

    def pick(self, outputs: Any) -> "torch.Tensor":
        return _at(outputs, self.path)


class Probing:
    """The last call that was looked at, and what can be done with it."""

    def __init__(self, witness: "Witness") -> None:
        self.witness = witness
        self.over = False
        self.last_call: Call | None = None
        self._outputs: Any = None
        self._plan: Plan | None = None
        self._shadow: nn.Module | None = None
        self._trusted: bool | None = None
        self._targets: list[tuple[str, torch.Tensor]] = []

    def calls(self, entry: "Entry", arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        """A net was called at a step that is looked at."""
        import torch

        kind = next((one.device.type for one in arguments if isinstance(one, torch.Tensor)), "cpu")
        autocast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        self.last_call = Call(entry, arguments, options, torch.get_rng_state(), autocast, users_line())
        self._outputs = self._plan = None

    def returned(self, entry: "Entry", outputs: Any) -> None:
        if self.last_call is not None and self.last_call.entry is entry:
            self._outputs = outputs

    def reads(self, reading: Reading, *, scale: float) -> None:
        """The loss of the call is known: how to compute it again, and what a blind guess would lose."""
        call, outputs, terms = self.last_call, self._outputs, reading.terms
        self._outputs = None
        if call is None or outputs is None or len(terms) != 1:
            return
        term = terms[0]
        path = _path_to(outputs, term)
        if path is not None and term.kind == "square":
            term = self._as_squared_error(term, _at(outputs, path), scale)
        target = term.saved("target")
        self.witness.specimens.taught(call.entry.name, term.kind, term.saved("self"), target)
        self._keep_target(term, scale)
        loss = _loss_of(term)
        if path is None or loss is None or term.factor is None or not term.averaged:
            return
        self._plan = Plan(call, path, loss, term.factor * term.sign / scale, _is_by_row(term, call))
        if self._trusted is None and self.witness.step < TARGETS:
            self._verify(reading, term)

    def _as_squared_error(self, term: Term, prediction: "torch.Tensor", scale: float) -> Term:
        """A mean squared error that was written by hand, if its value is that of the loss: a sum over columns is another one."""
        from torch.nn import functional as F

        found, value = term.spelled_out(prediction), self.witness.window.value
        if found is term or value is None or term.factor is None:
            return term
        ours = float(F.mse_loss(found.known["self"], found.known["target"])) * term.factor * term.sign
        return found if abs(ours - value) <= SAME * max(abs(value), 1e-3) * scale else term

    def _keep_target(self, term: Term, scale: float) -> None:
        target = term.saved("target")
        weighted = term.saved("weight") is not None or term.saved("pos_weight") is not None
        plain = term.weight is not None and abs(term.weight / scale - 1) < 1e-6 and not weighted
        if target is not None and plain and len(self._targets) < TARGETS:
            self._targets.append((term.kind, target.detach().clone()))

    def _verify(self, reading: Reading, term: Term) -> None:
        """Trusts the repetition if it gives the loss that the script got."""
        import torch

        value = term.saved("self")
        if value is None or self._plan is None:
            return
        try:
            with torch.no_grad(), copies.undisturbed():
                prediction = self._plan.pick(self._again())
                ours = float(self._plan.loss(prediction, 0))
                theirs = float(_value_of(term))
        except Exception:
            self._trusted = False
            return
        self._trusted = math.isfinite(ours) and abs(ours - theirs) <= SAME * max(abs(theirs), 1e-3)

    @property
    def plan(self) -> Plan | None:
        """How to compute the loss of the last call again, where that is known."""
        return self._plan

    @property
    def is_trusted(self) -> bool:
        """Whether the repetition has given the loss that the script got."""
        return bool(self._trusted)

    def _again(self) -> Any:
        assert self._plan is not None
        if self._shadow is None:
            self._shadow = self._plan.call.shadow()
        return self._plan.call.again(self._shadow)

    def repeat(self) -> "torch.Tensor | None":
        """The loss of the same batch with the weights as they are now; None where it cannot be computed again."""
        if self._plan is None or not self._trusted:
            return None
        try:
            return self._plan.loss(self._plan.pick(self._again()), 0) * self._plan.factor
        except Exception:  # foreign code
            self._trusted = False
            return None

    def run(self) -> None:
        """All probes, once, on a copy of the net and some rows of the last batch."""
        call = self.last_call
        if call is None or not call.entry.trained:
            return
        self.over = True
        plan, trusted = self._plan, bool(self._trusted)
        subject = copies.isolate(
            call.entry.net,
            call.arguments,
            call.options,
            pick=plan.pick if plan else _first_float,
            loss=(lambda prediction: plan.loss(prediction, 0)) if plan and trusted else None,
            shuffled=(lambda prediction: plan.loss(prediction, 1)) if plan and trusted else None,
            by_row=plan is not None and plan.by_row,
        )
        if subject is None:
            return
        with call.precision():
            self._judge(subject, call)
        if not self.witness.window.inspected:
            self.last_call = None

    def at_end(self) -> dict[str, float] | None:
        """The probe ``zero_input`` with the weights that the training ended with; None where the last call is not known."""
        call, plan = self.last_call, self._plan
        if call is None or plan is None or not call.entry.trained or not self._trusted:
            return None
        subject = copies.isolate(
            call.entry.net,
            call.arguments,
            call.options,
            pick=plan.pick,
            loss=lambda prediction: plan.loss(prediction, 0),
        )
        if subject is None:
            return None
        with call.precision():
            return probes.zero_input(subject)

    def _judge(self, subject: "copies.Subject", call: Call) -> None:
        witness, name = self.witness, call.entry.name
        found: dict[str, Any] = {"cross_talk": None}
        drops = probes.dropout_in_eval(subject)
        witness.sightings.saw(
            "dropout-always-on", name, bool(drops), step=witness.step, place=_line_in(drops), operators=drops[:3]
        )
        if not drops:
            talk = found["cross_talk"] = probes.cross_talk(subject)
            if talk is not None:
                witness.sightings.saw(
                    "cross-talk", name, talk > CROSS_TALK, step=witness.step, place=call.place, influence=talk
                )
        for probe in (probes.train_eval_gap, probes.zero_input, probes.fit_rows, probes.shuffled_labels):
            found[probe.__name__] = probe(subject)
        witness.recorder.fact("probes", found, step=witness.step)

    def blind_guess(self) -> dict[str, float] | None:
        """What somebody loses who knows the targets' distribution and not the inputs."""
        kinds = {kind for kind, _ in self._targets}
        if (
            len(kinds) != 1
            or len(self.witness.descents) > 1
            or sum(target.shape[0] if target.ndim else 1 for _, target in self._targets) < 8
        ):
            return None
        import torch

        kind = kinds.pop()
        try:
            targets = torch.cat([target.float() for _, target in self._targets])
        except RuntimeError:  # maps of several sizes
            return None
        if kind == "nll":
            counts = Counter(targets.reshape(-1).tolist())
            counts.pop(-100.0, None)
            shares = [count / counts.total() for count in counts.values()]
            loss = -sum(share * math.log(share) for share in shares)
            return {"loss": loss, "accuracy": max(shares)} if loss > 0 else None
        if kind == "mse":
            variance = float(targets.var(0, correction=0).mean())
            return {"loss": variance} if variance > 0 else None
        if kind in ("bce", "bce-with-logits") and float(targets.min()) >= 0 and float(targets.max()) <= 1:
            share = targets.reshape(len(targets), -1).mean(0).clamp(1e-6, 1 - 1e-6)
            loss = float(-(share * share.log() + (1 - share) * (1 - share).log()).mean())
            return {"loss": loss} if loss > 1e-3 else None
        return None

    def targets_fact(self) -> dict[str, Any] | None:
        """What the targets of the first steps are (facts, ``targets``)."""
        import torch

        kinds = {kind for kind, _ in self._targets}
        if len(kinds) != 1 or len(self.witness.descents) > 1:
            return None
        try:
            return targets_fact(kinds.pop(), torch.cat([target for _, target in self._targets]))
        except RuntimeError:  # of several shapes
            return None

    def input_fact(self) -> dict[str, Any] | None:
        """Statistics of the inputs of the last call that was looked at (facts, ``input``)."""
        batch = next(iter(self.last_call.tensors()), None) if self.last_call else None
        if batch is None or not batch.is_floating_point() or batch.ndim < 2 or len(batch) < 2:
            return None
        features = batch.detach().double().transpose(0, 1).flatten(1)
        means, stds = features.mean(1).tolist(), features.std(1, correction=0).tolist()
        what = "" if batch.ndim == 2 else "channel "
        return {
            "mean": float(features.mean()),
            "std": float(features.std(correction=0)),
            "smallest": float(features.min()),
            "largest": float(features.max()),
            "finite": bool(features.isfinite().all()),
            "features": [
                {"name": f"{what}{place}", "mean": mean, "std": std}
                for place, (mean, std) in enumerate(zip(means[:100], stds[:100], strict=True))
            ],
        }


def _is_by_row(term: Term, call: Call) -> bool:
    """Whether there is one target for every entry of the first axis of what the net was given, and no target has more axes."""
    target, first = term.saved("target"), next(call.tensors(), None)
    return (
        target is not None and first is not None and target.ndim == 1 and first.ndim > 0 and len(first) == len(target)
    )


def _finite(values: "torch.Tensor") -> bool:
    return not values.is_floating_point() or bool(values.detach().isfinite().all())


def _line_in(drops: list[str]) -> str | None:
    return next((one.partition(" at ")[2] or None for one in drops if " at " in one), None)


def _first_float(outputs: Any) -> "torch.Tensor":
    import torch

    if isinstance(outputs, torch.Tensor):
        return outputs
    values = list(outputs.values()) if hasattr(outputs, "values") else list(outputs)
    for value in values:
        with contextlib.suppress(TypeError):
            found = _first_float(value)
            if found.is_floating_point() and found.ndim:
                return found
    raise TypeError("no output is an array of numbers")


def _at(outputs: Any, path: tuple[Any, ...]) -> "torch.Tensor":
    for key in path:
        outputs = outputs[key] if not isinstance(key, str) or isinstance(outputs, dict) else getattr(outputs, key)
    return outputs  # type: ignore[no-any-return]


def _takes_all(node: Node) -> bool:
    """Whether it selects the only column there is, as ``net(x)[:, 0]`` of one output does."""
    inner = next(iter(inputs_of(node)), None)
    return (
        name_of_node(node) == "Select" and inner is not None and math.prod(shape_of(node)) == math.prod(shape_of(inner))
    )


def _path_to(outputs: Any, term: Term) -> tuple[Any, ...] | None:
    """Which of the outputs the loss was taken of, with nothing but a change of shape (and the loss's own softmax) between."""
    import torch

    node: Node = next(iter(inputs_of(term.node)), None) if term.kind != "log-probability" else term.node
    if term.kind == "square" and node is not None:  # of a difference: what it is taken from
        node = next((one for one in inputs_of(node) if one is not None), None)
    below = {}
    for _ in range(12):
        if node is None:
            break
        below[node] = True
        if name_of_node(node) not in REPEATABLE and name_of_node(node) != "LogSoftmax" and not _takes_all(node):
            break
        node = next(iter(inputs_of(node)), None)

    def find(value: Any, path: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if isinstance(value, torch.Tensor):
            return path if value.grad_fn in below else None
        items: Any = enumerate(value) if isinstance(value, tuple | list) else getattr(value, "items", lambda: ())()
        return next((hit for key, inner in items if (hit := find(inner, (*path, key))) is not None), None)

    return find(outputs, ())


def _loss_of(term: Term) -> "Callable[[torch.Tensor, int], torch.Tensor] | None":
    """The mean loss of a prediction against the first of the targets that the step had."""
    from torch.nn import functional as F

    given, target = term.saved("self"), term.saved("target")
    if given is None or target is None or term.kind not in ("nll", "mse", "bce", "bce-with-logits", "smooth-l1"):
        return None
    shape, kept, kind = tuple(given.shape), target.detach().clone(), term.kind
    fed_logits = kind == "nll" and term.feed.activation == "LogSoftmax"
    normalized = fed_logits and term.feed.before is not None and term.feed.before.activation == "LogSoftmax"

    def loss(prediction: "torch.Tensor", rolled: int) -> "torch.Tensor":
        values = prediction.reshape(-1, *shape[1:])
        wanted = kept[: len(values)].roll(rolled, 0)
        if kind == "nll":
            sums = values.detach().float().exp().sum(1)
            is_log = not normalized and bool(((sums - 1).abs() < 1e-3).all())
            return F.nll_loss(values if is_log else F.log_softmax(values, 1), wanted)
        by_kind: dict[str, Any] = {
            "mse": F.mse_loss,
            "bce": F.binary_cross_entropy,
            "bce-with-logits": F.binary_cross_entropy_with_logits,
            "smooth-l1": F.smooth_l1_loss,
        }
        result: torch.Tensor = by_kind[kind](values, wanted)
        return result

    return loss


def _value_of(term: Term) -> "torch.Tensor":
    """The mean loss that the script computed, from what its node saved."""
    from torch.nn import functional as F

    given, target = term.saved("self"), term.saved("target")
    assert given is not None
    assert target is not None
    by_kind: dict[str, Any] = {
        "nll": F.nll_loss,
        "mse": F.mse_loss,
        "bce": F.binary_cross_entropy,
        "bce-with-logits": F.binary_cross_entropy_with_logits,
        "smooth-l1": F.smooth_l1_loss,
    }
    value: torch.Tensor = by_kind[term.kind](given.detach(), target)
    return value
