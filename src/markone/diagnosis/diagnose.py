"""diagnose: all checks on one Run, causes first; and what they cannot judge for want of a record."""

from markone.diagnosis import (
    datasheet_checks,
    initialization_checks,
    label_checks,
    loop_checks,
    optimizer_checks,
    output_checks,
    practice_checks,
    structure_checks,
    target_checks,
    trend_checks,
)
from markone.diagnosis import thresholds as limit
from markone.diagnosis.causes import fold
from markone.diagnosis.concerns import placed, tempered
from markone.diagnosis.data_checks import input_unnormalized
from markone.diagnosis.evidence import blind_loss, follows_gradient, is_over, is_taught, sampled_steps
from markone.diagnosis.finding import Check, Finding
from markone.diagnosis.generalization_checks import overfitting, underfitting
from markone.diagnosis.optimization_checks import lr_too_high, lr_too_low, non_finite
from markone.diagnosis.signal_checks import dead_relu, exploding_gradient, saturated_activation, vanishing_gradient
from markone.training.run import Run

CHECKS: tuple[Check, ...] = (
    *output_checks.CHECKS,
    *loop_checks.CHECKS,
    *practice_checks.CHECKS,
    *datasheet_checks.CHECKS,
    *label_checks.CHECKS,
    *structure_checks.CHECKS,
    *initialization_checks.CHECKS,
    *target_checks.CHECKS,
    input_unnormalized,
    vanishing_gradient,
    exploding_gradient,
    non_finite,
    dead_relu,
    saturated_activation,
    lr_too_high,
    lr_too_low,
    overfitting,
    underfitting,
    *optimizer_checks.CHECKS,
    *trend_checks.CHECKS,
)


def diagnose(run: Run) -> list[Finding]:
    """The findings of a run, most important cause first. Pure: it reads the folder only.

    >>> for finding in diagnose(run):
    ...     print(finding.slug, finding.message)
    """
    return fold(tempered(run, placed(run, finding)) for check in CHECKS for finding in check(run))


def cannot_judge(run: Run) -> list[str]:
    """One sentence for everything that the record is too thin for, so that silence is not taken for health."""
    sentences = list(run.facts.get("watched", {}).get("unseen", []))
    samples, validation = len(sampled_steps(run)), run.facts.get("samples", {}).get("validation", 0)
    if not follows_gradient(run):
        sentences.append("Cannot judge the steps: the learning rule follows no gradient of the loss to judge them by.")
    elif samples < limit.LEAST_SAMPLES or run.steps < limit.LEAST_STEPS:
        sentences.append(
            f"Cannot judge the steps and layers: {samples} sampled steps of {run.steps} are recorded, and it takes"
            f" {limit.LEAST_SAMPLES:.0f} of {limit.LEAST_STEPS:.0f}."
        )
    if not run.scalars("loss", "validation"):
        sentences.append("Cannot judge overfitting: no validation data was seen.")
    elif validation < limit.LEAST_VALIDATION:
        sentences.append(
            f"Cannot judge overfitting: {validation} validation samples are too few to tell a gap from chance"
            f" ({limit.LEAST_VALIDATION:.0f} are needed)."
        )
    if not is_taught(run):
        sentences.append("Cannot judge how much was learned: the learning rule looks at no target.")
    elif blind_loss(run) is None:
        sentences.append("Cannot judge how much was learned: the loss of a blind guess is not known for this loss.")
    elif not is_over(run):
        sentences.append("Cannot judge underfitting yet: the training goes on.")
    if "input" not in run.facts:
        sentences.append("Cannot judge the inputs' scale: no input was recorded.")
    return sentences
