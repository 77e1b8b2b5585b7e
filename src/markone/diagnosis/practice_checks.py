"""Checks of what a watched loop does around its steps: its targets, rates, checkpoints, figures, precision, and what it waits for."""

from collections.abc import Iterator

from markone.diagnosis import thresholds as limit
from markone.diagnosis.evidence import learning
from markone.diagnosis.finding import Finding, Severity
from markone.diagnosis.seen import mostly, often, proven, seen
from markone.diagnosis.wording import share
from markone.training.run import Run

OFFSETS = {
    0: "the very tokens that the net is given at the same places: it learns to pass them on",
    -1: "the tokens before those that the net is given: it has seen them already",
    2: "the tokens after the next ones: they were shifted twice",
}


def padding_counted(run: Run) -> Iterator[Finding]:
    """The ends that rows are filled up with are targets like any other."""
    for one in mostly(run, "padding-counted"):
        padded, pad = float(one.details["padded"]), one.details["padding"]
        if padded < limit.PADDING_WORTH_A_WORD:
            continue
        yield proven(
            one,
            Severity.WARNING if padded >= limit.PADDING else Severity.NOTE,
            f"{share(padded)} of the targets are padding (class {pad}, at the ends of rows that end in padding, too), and the"
            f" loss counts them: it falls when the net gives {pad} at the ends. Set ignore_index={pad}.",
            measured=padded,
            reference=float(limit.PADDING),
        )


def targets_shifted(run: Run) -> Iterator[Finding]:
    """A net that is to foresee is taught another token than the next."""
    for one in mostly(run, "targets-shifted"):
        offset = int(one.details["offset"])
        yield proven(
            one,
            Severity.SEVERE,
            f"No output depends on later tokens, as in a net that is to foresee the next one, and {share(one.details['same'])}"
            f" of the targets are {OFFSETS[offset]}. The target of position t is the token of position t + 1, once.",
            measured=float(offset),
            reference=1.0,
        )


def resume_loses_state(run: Run) -> Iterator[Finding]:
    """The net goes on from a checkpoint, and what moves it begins anew."""
    for one in seen(run, "resume-loses-state"):
        facts = one.details
        name = str(facts["file"]).replace("\\", "/").rpartition("/")[2] or "The checkpoint"
        steps = f" after {facts['steps_before']:,.0f} steps" if facts["steps_before"] else ""
        at = f" at epoch {facts['epoch']}" if facts["epoch"] is not None else ""
        held = {"optimizer": f"the optimizer's state{steps}", "schedule": f"the schedule's{at}"}
        what = " and ".join(held[part] for part in facts["parts"])
        sure, several = bool(facts["same_file"]), len(facts["parts"]) > 1
        anew = f"the {' and the '.join(facts['parts'])} of this training {'begin' if several else 'begins'} anew"
        condition = "" if sure else "Where this is the same training that goes on: "
        yield proven(
            one,
            Severity.WARNING if sure else Severity.NOTE,
            f"{name} holds {what}, and only the net was loaded from it: {anew}. {condition}Call load_state_dict on"
            f" {'both' if several else 'it'}, too.",
            where=one.subject,
            measured=float(len(facts["parts"])),
        )


def scheduler_per_batch(run: Run) -> Iterator[Finding]:
    """A schedule for a training's epochs is spent on its batches."""
    for one in seen(run, "scheduler-per-batch"):
        facts = one.details
        how = (
            f"the learning rate has gone down and up again {facts['turns']:.0f} times, every {facts['period']} batches"
            if facts["schedule"] == "CosineAnnealingLR"
            else f"its last milestone, {facts['period']}, was over within the first epoch"
        )
        yield proven(
            one,
            Severity.WARNING,
            f"{facts['schedule']} is stepped with every batch ({facts['calls']:,} times), and is made for fewer: {how}. Step it"
            " once an epoch, or give it the number of batches.",
            where=one.subject,
            measured=float(facts["turns"]),
            reference=1.0,
        )


def metric_wrong(run: Run) -> Iterator[Finding]:
    """Logits are taken for probabilities where a decision is made."""
    for one in seen(run, "metric-wrong"):
        yield proven(
            one,
            Severity.WARNING,
            f"{one.subject} gives logits, as its loss takes them, and `{one.details['code']}` decides as if they were"
            " probabilities: a logit of 0.5 is a probability of 0.62, and the figure counts too many as negative. Compare"
            " with 0, or take the sigmoid first.",
            where=one.subject,
            measured=0.5,
            reference=0.0,
        )


def input_starved(run: Run) -> Iterator[Finding]:
    """The training waits for its data."""
    for one in seen(run, "input-starved"):
        waited, passed = float(one.details["waited"]), float(one.details["passed"])
        if waited < limit.LEAST_WAIT or waited < limit.STARVED * passed:
            continue
        yield proven(
            one,
            Severity.NOTE,
            f"The training waits for its DataLoader in {share(waited / passed)} of its time ({waited:.1f} s of {passed:.1f} s,"
            f" {1000 * waited / one.details['batches']:.0f} ms for each batch). Use num_workers, prepare the data once, or make"
            " whole batches by indexing.",
            measured=waited / passed,
            reference=float(limit.STARVED),
        )


def wrapper_bypassed(run: Run) -> Iterator[Finding]:
    """A net that is spread over processes is trained without what keeps them together."""
    for one in mostly(run, "wrapper-bypassed"):
        processes = int(one.details["processes"])
        yield proven(
            one,
            Severity.SEVERE if processes > 1 else Severity.WARNING,
            f"{one.subject} is a DistributedDataParallel that was never called: the loss is taken of the net inside it, so that no"
            f" gradient is averaged, and each process ({processes} here) trains by itself. Call {one.subject}, not"
            f" {one.subject}.module.",
            where=one.subject,
            measured=float(processes),
        )


def numerics_differ(run: Run) -> Iterator[Finding]:
    """What the net gives is decided by rounding, or by a compiler."""
    state = learning(run)
    for one in mostly(run, "numerics-differ"):
        apart, layer = float(one.details["apart"]), one.details["layer"]
        if apart < limit.NUMERICS:
            continue
        compiled = one.details["compiled"]
        what = "the compiled net gives" if compiled else "in float32 the net gives"
        advice = (
            "The compiler, or a kernel of it, computes something else: compare with the net as it is written."
            if compiled
            else f"It begins in {layer or 'the net'}: look for a difference of large numbers, such as E[x^2] - E[x]^2, for sums"
            " of large numbers, and for powers."
        )
        well = state is not None and state.learned >= limit.WELL_LEARNED and not compiled
        yield proven(
            one,
            Severity.NOTE if well else Severity.WARNING,
            f"On the same batch {what} outputs that are {share(apart)} off those that it gives in float64: no rounding of"
            f" single numbers does that. {advice}",
            where=layer or one.subject,
            measured=apart,
            reference=float(limit.NUMERICS),
        )


def fp16_underflow(run: Run) -> Iterator[Finding]:
    """Gradients in half precision have become zero, and nobody scales the loss."""
    for one in mostly(run, "fp16-underflow"):
        lost, zeros = float(one.details["lost"]), float(one.details["zeros"])
        if lost < limit.UNDERFLOW:
            continue
        yield proven(
            one,
            Severity.SEVERE,
            f"{share(zeros)} of the gradient of {one.subject} are zero in float16 and not in float32 ({share(lost)} of its"
            f" norm, {often(one)}): the numbers are under 6e-8. Scale the loss with torch.amp.GradScaler, or use bfloat16.",
            where=one.subject,
            measured=lost,
            reference=float(limit.UNDERFLOW),
        )


CHECKS = (
    padding_counted,
    targets_shifted,
    resume_loses_state,
    scheduler_per_batch,
    metric_wrong,
    input_starved,
    wrapper_bypassed,
    numerics_differ,
    fp16_underflow,
)
