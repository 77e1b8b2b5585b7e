"""Practice: what a watched loop does around its steps: its targets and rates, where it goes on from, what it waits for, how it counts.

The parts that look are called by the Witness at steps that are looked at; what is counted at every step is a number or two.
"""

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markone.training.graph import Reading
from markone.training.precision import Precision
from markone.training.resumption import Resumption
from markone.training.scores import Scores
from markone.training.sequences import aligned, is_causal, misplaced, padding_in, tokens_of

if TYPE_CHECKING:
    import torch

    from markone.training.windows import Descent, Entry, Window
    from markone.training.witness import Witness

MOST_TOKENS = 4  # arrays of a step that targets are compared with
MOST_TRIALS = 3  # of whether a net is causal: four passes each
SWINGS = 2  # periods of a cosine that was to fall once: half of one is what it is made for
LEAST_EPOCHS = 3  # a rate that has fallen for good in the first of them
PER_BATCH = 0.9  # calls of a schedule by steps of its optimizer


@dataclass(eq=False)
class Schedule:
    """A schedule and its calls since its optimizer's first step."""

    kind: str
    period: int  # calls after which it has done what it was made for; 0 where it may be called for ever
    descent: "Descent"
    calls: int = 0
    first_step: int = 0
    first_calls: int = 0  # within the first epoch
    was_fresh: bool = False  # its first call after a step was its first call at all


class Practice:
    """What is seen of one watched training, beside its steps."""

    def __init__(self, witness: "Witness") -> None:
        self.witness = witness
        self.resumption, self.scores, self.precision = Resumption(), Scores(), Precision(witness)
        self.waited, self.waits, self.waiting_since = 0.0, 0, None  # type: float, int, float | None
        self._waited_at = 0
        self._schedules: dict[int, Schedule] = {}
        self._tokens: list[torch.Tensor] = []
        self._tokens_of: Window | None = None
        self._trials = 0
        self._padded: Counter[bool] = Counter()

    # --- at steps that are looked at -----------------------------------------------------------------------------------------------

    def called(self, entry: "Entry", arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        """A net is called on the way to a step."""
        if self._tokens_of is not self.witness.window:
            self._tokens_of, self._tokens = self.witness.window, []
        if len(self._tokens) < MOST_TOKENS:
            self._tokens += tokens_of(arguments, options)[: MOST_TOKENS - len(self._tokens)]
        self.scores.called(entry.name, entry.net)
        self.precision.called(entry, arguments, options)

    def reads(self, reading: Reading) -> None:
        """The graph of a loss is there, before the backward pass frees it."""
        tokens, self._tokens = self._tokens, []
        self._see_bypassed(reading)
        if len(reading.terms) != 1:
            return
        term, probing = reading.terms[0], self.witness.probing
        call = probing.last_call if probing is not None else None
        step = self.witness.step + 1
        pairs = list(aligned(term, tokens)) if term.factor is not None else []
        if pairs:
            found = next((one for pair in pairs if (one := padding_in(pair, term.saved("weight"))) is not None), None)
            details = {"padding": found[0], "padded": found[1]} if found else {}
            self.witness.sightings.saw(
                "padding-counted",
                None,
                found is not None,
                step=step,
                place=term.place or reading_place(self),
                **details,
            )
            self._see_targets(pairs, term.place)
        plan = probing.plan if probing is not None else None
        logits = term.kind == "bce-with-logits" and term.feed.activation is None
        if logits and plan is not None and call is not None and plan.path == ():
            self.scores.gives_logits(call.entry.name)

    def _see_targets(self, pairs: list[Any], place: str | None) -> None:
        """Targets that are the very tokens that a causal net is given at or before them, or those two places on."""
        probing = self.witness.probing
        call = probing.last_call if probing is not None else None
        found = misplaced(pairs[0])
        if found is not None and found[0] < 1 and any(pair.is_right for pair in pairs):
            found = None  # another input is what is gone on with
        causal = False
        if found is not None and call is not None and self._trials < MOST_TRIALS:
            self._trials += 1
            causal = is_causal(call, pairs[0].tokens)
        elif found is not None:
            return  # nothing more is to be known
        details = {"offset": found[0], "same": found[1]} if found else {}
        self.witness.sightings.saw(
            "targets-shifted", None, causal, step=self.witness.step + 1, place=place or reading_place(self), **details
        )

    # --- other calls ---------------------------------------------------------------------------------------------------------------

    def scheduled(self, scheduler: Any, descent: "Descent") -> None:
        """A schedule is about to be stepped."""
        if not descent.steps:
            return
        one = self._schedules.get(id(scheduler))
        if one is None:
            kind, period = type(scheduler).__name__, _period(scheduler)
            one = self._schedules[id(scheduler)] = Schedule(kind, period, descent, first_step=self.witness.step)
            one.was_fresh = getattr(scheduler, "last_epoch", 1) == 0
        one.calls += 1
        if self.witness.epoch <= 1:
            one.first_calls = one.calls

    def fetched(self, began: float) -> None:
        """A loader has given a batch. Only the first after a step counts: those of an evaluation have no step between them."""
        now, step = time.perf_counter(), self.witness.step
        if not step or step == self._waited_at:
            return
        self._waited_at = step
        if self.waiting_since is None:
            self.waiting_since = now  # workers have started, files are in the cache
            return
        self.waited += now - began
        self.waits += 1

    # --- what follows --------------------------------------------------------------------------------------------------------------

    def conclude(self) -> None:
        """Notes all that only a series of steps shows."""
        witness = self.witness
        for one in self._schedules.values():
            self._see_swings(one)
        for descent in witness.descents:
            own = [one for one in self._schedules.values() if one.descent is descent]
            lost = (
                self.resumption.lost(descent, bool(own) and all(one.was_fresh for one in own))
                if descent.steps
                else None
            )
            if lost is not None:
                witness.sightings.note("resume-loses-state", descent.name, step=1, place=lost.pop("at"), **lost)
        for net, place, line in self.scores.wrong():
            witness.sightings.note("metric-wrong", net, step=1, place=place, code=line)
        if self.waiting_since is not None and self.waits:
            passed = time.perf_counter() - self.waiting_since
            witness.sightings.note(
                "input-starved",
                None,
                step=1,
                place=witness.call_place,
                waited=self.waited,
                passed=passed,
                batches=self.waits,
            )

    def _see_swings(self, one: Schedule) -> None:
        """A schedule that was to run once over the training, and is through in its first epoch or goes round and round."""
        witness, descent = self.witness, one.descent
        if not one.period or one.calls < PER_BATCH * (descent.steps - one.first_step + 1):
            return
        if one.kind == "CosineAnnealingLR":
            over = one.calls >= SWINGS * one.period
        else:
            over = witness.epoch >= LEAST_EPOCHS and one.period < one.first_calls
        if over:
            witness.sightings.note(
                "scheduler-per-batch", descent.name, step=one.first_step, place=descent.schedule_place or descent.place,
                schedule=one.kind, period=one.period, calls=one.calls, turns=one.calls / one.period,
            )  # fmt: skip

    def _see_bypassed(self, reading: Reading) -> None:
        """A net that is spread over processes, trained without its wrapper: nobody waits for the others' gradients."""
        import torch

        if not torch.distributed.is_available() or not torch.distributed.is_initialized():
            return
        witness = self.witness
        for name, net in witness.modules.roots.items():
            reached = any(id(one) in reading.leaves for one in net.parameters())
            if type(net).__name__ != "DistributedDataParallel" or not reached or witness.compiled:
                continue
            only_judges = any(one.net is net and one.first_mode is None for one in witness.entries)
            never_called = not getattr(net, "_lazy_init_ran", True)  # by its first forward pass
            witness.sightings.saw(
                "wrapper-bypassed",
                name,
                never_called or only_judges,
                step=witness.step + 1,
                place=reading_place(self),
                processes=torch.distributed.get_world_size(),
            )


def _period(scheduler: Any) -> int:
    """Down and up again for a cosine, to the last milestone for steps."""
    if type(scheduler).__name__ == "CosineAnnealingLR":
        return 2 * int(scheduler.T_max)
    milestones = scheduler.milestones if type(scheduler).__name__ == "MultiStepLR" else ()
    return int(max(milestones, default=0))


def reading_place(practice: Practice) -> str | None:
    """The line of the backward pass, where that of the loss is not known."""
    return practice.witness.backward_place
