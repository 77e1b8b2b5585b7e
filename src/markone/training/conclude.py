"""conclude: what follows from a witness's counters, as sightings, at any moment of a training."""

import statistics
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from markone.training.windows import Descent
from markone.training.witness import Witness

if TYPE_CHECKING:
    import torch

LEAST_WINDOWS = 3  # looked-at steps before something that never happened is called so
LEAST_BACKWARDS = 8  # without any step: an accumulation over more is seen as what it is once it steps
LEAST_ROWS = 8


def conclude(witness: Witness) -> None:
    """Notes all that only a series of steps shows."""
    witness.sightings.forget_notes()
    witness.modules.refresh()
    at = witness.step
    for descent in witness.descents:
        _gradients(witness, descent)
        _frozen(witness, descent)
        _rates(witness, descent)
        _clips(witness, descent)
        _steps(witness, descent)
    _missing(witness)
    _modes(witness)
    _order(witness)
    _labels(witness)
    _leaks(witness)
    witness.practice.conclude()
    known = [entry for entry in witness.entries if entry.trained]
    if known and at >= LEAST_WINDOWS and not witness.validated and not any(entry.evaluations for entry in known):
        witness.sightings.note("validation-never-ran", None, step=at, place=witness.call_place, steps=at)


def _gradients(witness: Witness, descent: Descent) -> None:
    """Parameters that were never given a gradient, or only one that is exactly zero, while the loss was taken of the net."""
    silent: dict[str, list[torch.Tensor]] = {"none": [], "zero": []}
    given = looked = 0
    for parameter in descent.parameters:
        states = descent.gradients.get(id(parameter), Counter())
        looked = max(looked, states.total())
        given += bool(states["given"])
        for state, found in silent.items():
            if states.total() >= LEAST_WINDOWS and states[state] == states.total():
                found.append(parameter)
    if not looked:
        return
    details: dict[str, Any] = {"given": given, "of": looked, "hits": looked, "total": len(descent.parameters)}
    step_functions = witness.step_functions
    if silent["zero"] and (step_functions or not given):
        names = [witness.modules.name(one) for one in silent["zero"]]
        witness.sightings.note(
            "no-gradient",
            descent.name,
            step=1,
            place=descent.place,
            names=names,
            zero=True,
            because=step_functions,
            **details,
        )
    if silent["none"]:
        layers = _layers_of(witness, silent["none"])
        kind = "graph-detached" if _is_cut(witness, descent, layers, given) else "no-gradient"
        stale = [one for one in silent["none"] if not witness.modules.knows(one)]
        if len(stale) == len(silent["none"]) and witness.modules.roots and _unheld(witness):
            return  # layers that were replaced: optimizer-stale-parameters
        names = [witness.modules.name(one) for one in silent["none"]]
        place = next(iter(witness.cut), None) if not given else descent.place
        witness.sightings.note(
            kind, descent.name, step=1, place=place or descent.place, names=names, zero=False, because=[], **details
        )


def _layers_of(witness: Witness, parameters: "list[torch.Tensor]") -> list[str]:
    keys = {id(one) for one in parameters}
    return [
        name
        for name, module in witness.modules.layers()
        if any(id(one) in keys for one in module.parameters(recurse=False))
    ]


def _is_cut(witness: Witness, descent: Descent, layers: list[str], given: int) -> bool:
    """Whether what ran before all that learns gets nothing: values went on from it, and the gradient does not come back."""
    ran = [witness.ran[name] for name in layers if name in witness.ran]
    if not given:
        return bool(ran) or not witness.modules.roots or any(witness.cut.values())
    if not ran:
        return False
    keys = {key for key, states in descent.gradients.items() if states["given"]}
    learning = [
        witness.ran[name]
        for name, module in witness.modules.layers()
        if name in witness.ran and any(id(one) in keys for one in module.parameters(recurse=False))
    ]
    return bool(learning) and max(ran) < min(learning)


def _unheld(witness: Witness) -> "list[tuple[int, torch.Tensor]]":
    """Parameters that the loss reaches and no optimizer holds."""
    held = {id(one) for descent in witness.descents for one in descent.parameters}
    return [
        (key, witness.missing_tensors[key])
        for key, counts in witness.missing.items()
        if counts.total() >= LEAST_WINDOWS and key not in held
    ]


def _missing(witness: Witness) -> None:
    """Who is to blame for parameters that nobody changes: the optimizer's list, or the net's."""
    modules, unheld = witness.modules, _unheld(witness)
    trained = {id(one.net) for one in witness.entries if one.trained}
    hidden: dict[str, str] = {}
    known: list[str] = []
    for key, parameter in unheld:
        if modules.knows(parameter):
            root = modules.root_of(parameter)
            counts = witness.missing[key]
            if root is not None and (id(root[1]) in trained or counts[True] >= counts[False]):
                known.append(modules.name(parameter))
        elif path := modules.hidden(parameter):
            hidden[path] = path
        elif not modules.given:
            known.append(modules.name(parameter))
    for descent in witness.descents[:1]:
        stale = [
            one for one in descent.parameters if modules.roots and not modules.knows(one) and not modules.hidden(one)
        ]
        never = [one for one in stale if not descent.gradients.get(id(one), Counter())["given"]]
        if known and never:
            shapes = [list(one.shape) for one in never]
            witness.sightings.note(
                "optimizer-stale-parameters", descent.name, step=1, place=descent.place, names=known, shapes=shapes
            )
        elif known:
            witness.sightings.note(
                "optimizer-missing-parameters",
                descent.name,
                step=1,
                place=descent.place,
                names=known,
                held=len(descent.parameters),
            )
    for path in hidden:
        witness.sightings.note("unregistered-parameters", path, step=1, place=witness.call_place, path=path)


def _frozen(witness: Witness, descent: Descent) -> None:
    states = descent.gradients
    frozen = [one for one in descent.parameters if states.get(id(one), Counter())["frozen"] >= LEAST_WINDOWS]
    if frozen and all(states[id(one)]["frozen"] == states[id(one)].total() for one in frozen):
        names = [witness.modules.name(one) for one in frozen]
        witness.sightings.note(
            "frozen-parameters-trained-for-nothing",
            descent.name,
            step=1,
            place=descent.place,
            names=names,
            total=len(descent.parameters),
        )


def _rates(witness: Witness, descent: Descent) -> None:
    largest, low = descent.rates
    if descent.steps and 2 * low >= descent.steps:
        witness.sightings.note(
            "scheduler-collapsed",
            descent.name,
            step=descent.collapsed_step,
            place=descent.schedule_place or descent.place,
            hits=low,
            of=descent.steps,
            largest=largest,
            now=max(float(group["lr"]) for group in descent.optimizer.param_groups),
        )


def _clips(witness: Witness, descent: Descent) -> None:
    if len(descent.clips) >= LEAST_WINDOWS:
        clipped = sum(ratio > 1 for ratio in descent.clips)
        witness.sightings.note(
            "clip-too-small",
            descent.name,
            step=1,
            place=descent.clip_place,
            hits=clipped,
            of=len(descent.clips),
            factor=statistics.median(descent.clips),
            adaptive=descent.is_adaptive,
        )


def _steps(witness: Witness, descent: Descent) -> None:
    """Backward passes without any step; a skipped step of a gradient scaler is one that was meant."""
    idle = descent.steps == 0 and descent.backwards >= LEAST_BACKWARDS and not descent.skipped
    others = any(one.steps for one in witness.descents)
    if idle and not others and not witness.changed_by_hand(descent):
        witness.sightings.note(
            "backward-without-step", descent.name, step=1, place=witness.backward_place, passes=descent.backwards
        )


def _modes(witness: Witness) -> None:
    for entry in witness.entries:
        ours = [one for descent in witness.descents for one in descent.parameters]
        if not entry.trained or entry.feeds_another or not entry.has_switches or not ours:
            continue
        passes, ill = entry.blind.total(), entry.blind[True]
        if entry.blind_place is not None and ill and 2 * ill > passes:
            witness.sightings.note(
                "eval-mode-missing",
                entry.name,
                step=entry.blind_step,
                place=entry.blind_place,
                hits=ill,
                of=passes,
            )


def _order(witness: Witness) -> None:
    for entry in witness.entries:
        if entry.trained and entry.order.repeats:
            witness.sightings.note(
                "order-not-shuffled", entry.name, step=1, place=entry.place, period=entry.order.period, sorted=False
            )


def _labels(witness: Witness) -> None:
    """Class after class: batches whose labels ascend, or that hold one class each, which changes seldom."""
    if len(witness.descents) > 1:
        return  # the labels of an adversary are no data: all ones, then all zeros
    mixed = [one for one in witness.labels if one[4] > 1]
    pure = [one[1] for one in witness.labels if one[4] == 1]
    classes = {one[1] for one in witness.labels} | {one[2] for one in witness.labels}
    ascending = sum(one[3] for one in mixed)
    in_rows = len(mixed) >= LEAST_WINDOWS and 2 * ascending > len(mixed)
    changes = sum(a != b for a, b in pairwise(pure))
    in_blocks = (
        len(pure) >= LEAST_WINDOWS and len(set(pure)) > 1 and len(pure) > 4 * len(mixed) and 2 * changes < len(pure)
    )
    either = len(mixed) + len(pure) >= 5 and pure and mixed and ascending == len(mixed) and len(pure) > len(mixed)
    if len(classes) > 1 and (in_rows or in_blocks or (either and len(set(pure)) > 1)):
        witness.sightings.note(
            "order-not-shuffled",
            "labels",
            step=witness.labels[0][0] + 1,
            place=witness.call_place,
            hits=ascending + len(pure),
            of=len(witness.labels),
            sorted=True,
            period=None,
        )


def _leaks(witness: Witness) -> None:
    """Rows that were trained on and evaluated on: by line, so that a figure for the training data may stand beside a real one."""
    trained = witness.training_rows
    if witness.picks_rows:
        return
    shares: list[tuple[str, int, int]] = []
    for line, seen in witness.evaluated.items():
        if len(seen.rows) >= LEAST_ROWS and seen.is_diverse and not seen.is_part_of_steps:
            shares.append((line, len(seen.rows & trained), len(seen.rows)))
    if not shares or not trained:
        return
    if all(2 * same > 0 and same >= max(2, count // 20) for _, same, count in shares):
        line, same, count = max(shares, key=lambda one: one[1] / one[2])
        witness.sightings.note(
            "validation-in-training",
            line.partition("|")[0],
            step=witness.step,
            place=line.partition("|")[2],
            hits=same,
            of=count,
        )
