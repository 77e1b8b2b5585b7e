"""Which finding explains which: causes come first, and what a cause explains is folded under it."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from markone.diagnosis.finding import Finding, Severity

PROVEN = (
    "target-out-of-range",
    "backward-without-step",
    "graph-detached",
    "unregistered-parameters",
    "optimizer-stale-parameters",
    "optimizer-missing-parameters",
    "step-without-backward",
    "loss-sign-flipped",
    "loss-broadcast",
    "softmax-on-single-unit",
    "softmax-wrong-axis",
    "double-softmax",
    "missing-softmax",
    "output-range",
    "zero-grad-missing",
    "targets-shifted",
    "no-gradient",
    "unscaled-clip",
    "fp16-underflow",
    "skipped-steps",
    "numerics-differ",
    "wrapper-bypassed",
    "scheduler-collapsed",
    "scheduler-per-batch",
    "clip-too-small",
    "order-not-shuffled",
    "padding-counted",
    "resume-loses-state",
    "dropout-always-on",
    "cross-talk",
    "stuck-in-eval-mode",
    "train-mode-after-validation-missing",
    "batch-norm-tiny-batch",
    "accumulation-not-divided",
    "loss-reduction-sum",
    "memory-growth",
    "log-of-zero",
    "validation-in-training",
    "eval-mode-missing",
    "metric-wrong",
    "frozen-parameters-trained-for-nothing",
    "scheduler-before-optimizer",
    "validation-never-ran",
    "input-starved",
    "useless-bias",
)
"""What the code of a loop itself shows: bugs, the worst first. None of them can follow from how the training goes."""

DATA = (
    "input-not-finite",
    "labels-misaligned",
    "layout-scrambled",
    "input-double-normalized",
    "target-unscaled",
    "label-noise",
    "leak-in-features",
    "leak-across-parts",
    "preprocessing-mismatch",
    "augmentation-too-strong",
    "class-imbalance",
    "constant-feature",
    "inputs-ignored",
)
"""What is wrong with the rows themselves, by the datasheet."""

NET = (
    "init-constant",
    "missing-hidden-activation",
    "wrong-hidden-activation",
    "sigmoid-for-multiclass",
    "loss-wrong-for-task",
    "dropout-misplaced",
    "duplicate-activation",
    "dropout-too-high",
    "over-regularized",
    "net-too-small",
    "pooled-away",
    "init-scale-wrong",
    "too-deep-without-residual",
)
"""How the net is built and begins, what it is held back by, and whether its loss fits the targets."""

SETTINGS = (
    "optimizer-arguments",
    "poor-initial-loss",
    "weights-unchanged",
    "batch-size-too-small",
    "batch-size-too-large",
    "epochs-too-few",
)
"""How the steps were set up, and what they had to begin with."""

SYMPTOMS = (
    "input-unnormalized",
    "exploding-gradient",
    "saturated-activation",
    "lr-too-high",
    "dead-relu",
    "vanishing-gradient",
    "lr-too-low",
    "non-finite",
    "overfitting",
    "underfitting",
)
"""From the data through the net and the steps to what they lead to."""

TRENDS = ("constant-output", "activation-scale-drift", "loss-diverging", "loss-oscillating", "loss-plateau")
"""How a training goes that goes wrong, whatever the reason."""

RANK = (*PROVEN, *DATA, *NET, *SETTINGS, *SYMPTOMS, *TRENDS)
"""Among causes of one severity the earlier comes first."""

WRECKS = frozenset(PROVEN[: PROVEN.index("order-not-shuffled") + 1]) | {
    "accumulation-not-divided",
    "loss-reduction-sum",
}
"""Bugs after which a training goes wrong in any way: all that is measured of it follows from them."""

EFFECTS = (frozenset((*SYMPTOMS, *TRENDS)) - {"input-unnormalized"}) | {
    "inputs-ignored",
    "weights-unchanged",
    "batch-size-too-large",
    "epochs-too-few",
    "poor-initial-loss",
}
"""What can follow from a bug: anything but how the data are."""

EXPLAINS: Mapping[str, frozenset[str]] = {
    # inputs of size s make the first outputs s times larger, and the curvature s^2 times
    "input-unnormalized": EFFECTS - {"overfitting"},
    # a gradient that grows with every layer makes any step too long for the first ones
    "exploding-gradient": EFFECTS - {"exploding-gradient", "overfitting"},
    # a step that throws the weights far off leaves units dead or flat behind it
    "lr-too-high": EFFECTS - {"lr-too-high", "overfitting"},
    # no gradient passes where the function is flat or zero
    "saturated-activation": frozenset(
        {"vanishing-gradient", "lr-too-low", "lr-too-high", "underfitting", "inputs-ignored"}
    ),
    "dead-relu": frozenset({"vanishing-gradient", "lr-too-low", "underfitting", "inputs-ignored"}),
    "vanishing-gradient": frozenset({"dead-relu", "lr-too-low", "underfitting", "inputs-ignored"}),
    "lr-too-low": frozenset({"underfitting", "poor-initial-loss"}),
    # steps of the wrong length, or into a direction that is noise, are what a rate is judged by
    "optimizer-arguments": EFFECTS - {"overfitting"},
    "poor-initial-loss": frozenset({"underfitting", "epochs-too-few"}),
    "weights-unchanged": frozenset({"lr-too-low", "underfitting"}),
    "batch-size-too-small": EFFECTS
    - {"overfitting", "exploding-gradient", "weights-unchanged", "batch-size-too-large"},
    "batch-size-too-large": frozenset({"epochs-too-few", "lr-too-low", "underfitting"}),
    "epochs-too-few": frozenset({"lr-too-low", "underfitting"}),
    "underfitting": frozenset({"loss-oscillating", "loss-plateau"}),
    "constant-output": frozenset({"underfitting", "loss-plateau"}),
    "activation-scale-drift": frozenset({"loss-plateau"}),
    "loss-diverging": frozenset({"underfitting", "loss-oscillating", "loss-plateau"}),
    "loss-oscillating": frozenset({"loss-plateau"}),
    # what rows lack, no step and no layer makes up for
    "input-not-finite": EFFECTS,
    "labels-misaligned": EFFECTS,
    "layout-scrambled": frozenset({"overfitting", "underfitting", "lr-too-low"}),
    "input-double-normalized": EFFECTS - {"overfitting"},
    "target-unscaled": EFFECTS - {"overfitting"},
    # wrong labels that a net learns by heart are what it gets wrong elsewhere, and large steps are what keeps it from that
    "label-noise": frozenset({"overfitting", "underfitting", "lr-too-low", "lr-too-high"}),
    "preprocessing-mismatch": frozenset({"overfitting"}),
    "augmentation-too-strong": frozenset(
        {"underfitting", "lr-too-low", "dead-relu", "vanishing-gradient", "inputs-ignored"}
    ),
    "class-imbalance": frozenset({"underfitting"}),
    "constant-feature": frozenset({"underfitting", "inputs-ignored", "dead-relu", "vanishing-gradient", "lr-too-low"}),
    "inputs-ignored": frozenset({"underfitting", "epochs-too-few"}),
    # units that stay alike are one unit; of zeros no gradient comes back at all
    "init-constant": (EFFECTS - {"overfitting"}) | {"no-gradient", "net-too-small", "over-regularized"},
    "init-scale-wrong": (EFFECTS - {"overfitting"}) | {"poor-initial-loss"},
    # a straight line stops where no step leads on, and what it cannot say is left over
    "missing-hidden-activation": EFFECTS - {"overfitting", "exploding-gradient", "saturated-activation", "non-finite"},
    "wrong-hidden-activation": EFFECTS - {"overfitting", "exploding-gradient"},
    "too-deep-without-residual": EFFECTS - {"overfitting"},
    "net-too-small": EFFECTS - {"overfitting", "exploding-gradient"},
    # what noise or decay takes from every step looks like steps that lead nowhere
    "pooled-away": EFFECTS - {"overfitting", "exploding-gradient", "non-finite"},
    "dropout-too-high": EFFECTS - {"overfitting", "exploding-gradient"},
    "dropout-misplaced": EFFECTS - {"overfitting", "exploding-gradient", "non-finite"},
    "over-regularized": (EFFECTS - {"overfitting", "exploding-gradient"}) | {"optimizer-arguments"},
    "duplicate-activation": EFFECTS - {"overfitting", "exploding-gradient"},
    "loss-wrong-for-task": (EFFECTS - {"overfitting", "exploding-gradient", "non-finite"}) | {"poor-initial-loss"},
    "sigmoid-for-multiclass": EFFECTS - {"overfitting", "exploding-gradient", "non-finite"},
    **dict.fromkeys(WRECKS, EFFECTS),
    "softmax-on-single-unit": EFFECTS | {"no-gradient", "graph-detached"},
    "softmax-wrong-axis": EFFECTS | {"cross-talk", "missing-softmax"},
    "graph-detached": EFFECTS | {"no-gradient", "step-without-backward", "optimizer-missing-parameters"},
    "step-without-backward": EFFECTS | {"no-gradient"},
    "optimizer-stale-parameters": EFFECTS | {"no-gradient", "graph-detached"},
    "unregistered-parameters": EFFECTS | {"optimizer-missing-parameters"},
    "unscaled-clip": EFFECTS | {"clip-too-small"},
    "dropout-always-on": frozenset({"cross-talk"}),
    "log-of-zero": frozenset({"non-finite", "lr-too-high"}),
    # a class that is half of all targets is what a net says first, and what all the others lose by
    "padding-counted": frozenset({"class-imbalance", "underfitting", "lr-too-low"}),
    "resume-loses-state": frozenset({"lr-too-high", "loss-diverging", "loss-oscillating"}),
    "fp16-underflow": EFFECTS | {"no-gradient"},
}
"""By cause, the symptoms that can follow from it."""

STATES = frozenset({"exploding-gradient", "saturated-activation", "dead-relu", "vanishing-gradient"})
"""What a net is in, from a step on: it can only follow from what began before it."""

LENGTHS = frozenset({"lr-too-high", "optimizer-arguments", "batch-size-too-small"})
"""What makes steps too long or sends them astray; no state that was there before the first of them is its fault."""

STOCHASTIC = frozenset({"dead-relu", "saturated-activation", "vanishing-gradient", "lr-too-high"})
"""What a draw of the weights or of the order can bring on or spare: of 100 equal trainings half may have dead units."""

FIRST_STEP = 1  # a state that is seen before the first update is one that the net began in

_BEFORE = {*PROVEN, *DATA, *NET, *STATES, "input-unnormalized"} - {"inputs-ignored"}  # what can be so before any step
_SLOW = frozenset({"weights-unchanged", "batch-size-too-small", "batch-size-too-large", "epochs-too-few"})
EXPLAINS = {
    cause: symptoms
    | (frozenset(TRENDS) if "underfitting" in symptoms and cause not in TRENDS else frozenset())
    | (_SLOW | {"poor-initial-loss"} if "underfitting" in symptoms and cause in _BEFORE else frozenset())
    for cause, symptoms in EXPLAINS.items()
}
"""Whatever leaves a net with little learned explains how it went, and why more of the same would not have helped."""


def fold(findings: Iterable[Finding]) -> list[Finding]:
    """Causes first: by severity, then by rank. Each holds what it explains, and is as severe as the worst of that."""
    found = sorted(findings, key=_rank)
    unexplained = [one for one in found if not any(explains(other, one) for other in found)]
    folded: dict[int, list[Finding]] = {}
    told: set[int] = set()
    # what only explains itself in a circle is told by its first member
    for root in (*unexplained, *found):
        if id(root) not in told:
            folded[id(root)] = _reached(root, found, told)
    tops = [_with(root, folded[id(root)]) for root in found if id(root) in folded]
    return sorted(tops, key=lambda top: (-top.severity.rank, _rank(top)))


def _reached(root: Finding, found: list[Finding], told: set[int]) -> list[Finding]:
    """What a root explains, and what that explains in turn, unless another root told it before; ``told`` grows by all of it."""
    told.add(id(root))
    reached, waiting = [], [root]
    while waiting:
        cause = waiting.pop()
        for one in found:
            if id(one) not in told and explains(cause, one):
                told.add(id(one))
                reached.append(one)
                waiting.append(one)
    return sorted(reached, key=_rank)


def explains(cause: Finding, symptom: Finding) -> bool:
    """Whether one finding follows from the other: by what they are, how severe they are, and which began first."""
    if symptom.slug not in EXPLAINS.get(cause.slug, frozenset()):
        return False
    if cause.slug in PROVEN:
        return cause.severity is not Severity.NOTE or symptom.severity is Severity.NOTE
    if cause.slug in LENGTHS and symptom.slug in STATES:
        return symptom.since_step > FIRST_STEP
    if cause.severity is Severity.NOTE and symptom.severity is not Severity.NOTE:
        return False  # what is worth a note only cannot be why something is worse
    if cause.slug in STATES and symptom.slug in {*LENGTHS, *SETTINGS}:
        return cause.since_step <= FIRST_STEP
    if symptom.slug in STATES:
        return (cause.since_step, _rank(cause)) < (symptom.since_step, _rank(symptom))
    return True


def _with(root: Finding, folded: list[Finding]) -> Finding:
    worst = max((root, *folded), key=lambda one: one.severity.rank)
    return replace(root, folded=tuple(folded), severity=worst.severity)


def _rank(finding: Finding) -> int:
    return RANK.index(finding.slug)
