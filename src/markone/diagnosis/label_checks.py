"""Checks of labels against rows (fact ``datasheet``): noise, misalignment, imbalance, leaks, and augmentation that hides the class."""

import math
from collections.abc import Iterator
from typing import Any

from markone.diagnosis import thresholds as limit
from markone.diagnosis.datasheet_checks import datasheet
from markone.diagnosis.evidence import (
    blind_loss,
    confidence,
    is_over,
    is_taught,
    learning,
    log_ratio,
    may_come_back,
    recent,
    skill,
)
from markone.diagnosis.finding import Finding, Severity
from markone.diagnosis.wording import share, times
from markone.training.run import Run


def label_noise(run: Run) -> Iterator[Finding]:
    """Labels contradict their surroundings even where these are surest, and not much more where they are not.

    Where classes merely overlap, rows far from the border agree; where labels are wrong at random, they agree nowhere (Northcutt et al.
    2021). A net that predicts held-out labels better than that shows that the probes see too little.
    """
    labels = datasheet(run).get("labels")
    if not labels or _has_signal(labels) < limit.LABEL_SIGNAL:
        return
    sure = max(_skill(labels[probe]["confident"], labels) for probe in ("neighbours", "linear"))
    wrong = (1 - sure) * (1 - labels["chance"])
    even = _has_signal(labels) >= limit.LABEL_EVEN * sure
    if wrong < limit.LABEL_NOISE or not even or 1 - sure < limit.LABEL_DOUBT:
        return
    judged = skill(run, "validation")
    if judged is not None and judged.values.max() > sure + limit.GAP_SHARE + limit.FALL * _error(run, labels, wrong):
        return
    state = learning(run)
    unharmed = judged is None and state is not None and state.learned >= limit.WELL_LEARNED
    yield Finding(
        slug="label-noise",
        severity=Severity.NOTE if unharmed else Severity.WARNING,
        measured=wrong,
        reference=limit.LABEL_NOISE,
        confidence=confidence(log_ratio(wrong, limit.LABEL_NOISE), labels["rows"] * limit.LABEL_DOUBT),
        message=(
            f"About {share(wrong)} of the training labels contradict the rows around them, also in the midst of a class, where"
            " other data agrees: labels are wrong, and no net can be right about more than the rest. Look through the rows whose label the"
            " net is surest is wrong."
        ),
        evidence=labels,
    )


def labels_misaligned(run: Run) -> Iterator[Finding]:
    """Neither neighbours nor a linear map nor the net know anything of the labels, though the rows have structure."""
    sheet = datasheet(run)
    labels, what = (sheet.get("labels"), "class") if "labels" in sheet else (sheet.get("quarters"), "quarter")
    if not labels or not is_taught(run) or not is_over(run) or run.steps < limit.LEAST_STEPS:
        return
    error = math.sqrt(labels["chance"] * (1 - labels["chance"]) / labels["rows"])
    most = max(labels[probe]["agreement"] - max(labels[probe]["shuffled"], labels["chance"]) for probe in PROBES)
    if most > limit.GAP_ERRORS * error or labels["structure"] < limit.STRUCTURE * labels["structure_permuted"]:
        return
    judged, state = skill(run, "validation"), learning(run)
    if judged is None and state is None:
        return
    known = float(judged.values.max()) if judged is not None else state.learned if state is not None else 0.0
    if known > limit.NOTHING_LEARNED:
        return
    yield Finding(
        slug="labels-misaligned",
        severity=Severity.SEVERE,
        measured=max(labels[probe]["agreement"] for probe in PROBES),
        reference=labels["chance"],
        confidence=confidence(1 - most / (limit.GAP_ERRORS * error), labels["rows"]),
        message=(
            f"Nearest neighbours name the {what} of {share(labels['neighbours']['agreement'])} of the rows and a linear map of"
            f" {share(labels['linear']['agreement'])}, where always naming the largest one gets {share(labels['chance'])} right, and the"
            " net knows no more: the labels do not belong to these rows. Look for a shuffle of one and not of the other, or two files in"
            " different order."
        ),
        evidence=labels,
    )


def class_imbalance(run: Run) -> Iterator[Finding]:
    """The largest class is ten times the smallest or more, and always naming it would do as well as the net."""
    targets = datasheet(run).get("targets")
    if not targets or targets["kind"] != "classes" or len(targets["counts"]) < 2:
        return
    counts = {name: count for name, count in targets["counts"].items() if count}
    most, least = max(counts, key=lambda name: counts[name]), min(counts, key=lambda name: counts[name])
    ratio, total = counts[most] / counts[least], sum(counts.values())
    if ratio < limit.IMBALANCE or counts[most] / total < limit.LITTLE_LEARNED:
        return
    shares = [count / total for count in counts.values()]
    known = _known(run, -sum(one * math.log(one) for one in shares))
    blind = is_over(run) and run.steps >= limit.LEAST_STEPS and known <= limit.NOTHING_LEARNED
    yield Finding(
        slug="class-imbalance",
        severity=Severity.WARNING if blind else Severity.NOTE,
        where=str(least),
        measured=ratio,
        reference=limit.IMBALANCE,
        confidence=confidence(log_ratio(ratio, limit.IMBALANCE), counts[least]),
        message=(
            f"Class {most} has {share(counts[most] / total)} of the training rows, {times(ratio)} times as many as class {least}"
            + (
                ", and the net does no better than always naming it. Weight the classes, or draw them equally often, and judge by each"
                " class's own accuracy."
                if blind
                else f": an accuracy of {share(counts[most] / total)} says nothing."
            )
        ),
        evidence={"counts": dict(list(counts.items())[: int(limit.NAMED_CLASSES)])},
    )


def _known(run: Run, entropy: float) -> float:
    """Of a blind guess's error the share that is gone: in accuracy, else in the mean of the later losses.

    Most batches hold no row of a rare class: the median of their losses would speak for the others only.
    """
    accuracy, losses = skill(run, "training"), run.scalars("loss", "batch")
    if accuracy is not None:
        return accuracy.last
    if blind_loss(run) is None or not losses:
        return 1.0
    return 1 - float(recent(losses.values).mean()) / entropy


def leak_across_parts(run: Run) -> Iterator[Finding]:
    """Validation rows that are in the training part as well, more than chance would put there."""
    sheet = datasheet(run)
    copies = sheet.get("copies")
    if not copies or copies["share"] * copies["of"] < limit.LEAST_SAMPLES:
        return
    if copies["share"] < limit.COPIES or copies["share"] < limit.BEYOND_CHANCE * copies["by_chance"]:
        return
    of_pictures = len(sheet["shape"]) > 1
    yield Finding(
        slug="leak-across-parts",
        # two passengers may share all columns of a table; two photos do not share all pixels
        severity=Severity.WARNING if of_pictures or copies["share"] >= limit.LITTLE_LEARNED else Severity.NOTE,
        measured=copies["share"],
        reference=limit.COPIES,
        confidence=confidence(log_ratio(copies["share"], limit.COPIES), copies["of"] * copies["share"]),
        message=(
            f"{share(copies['share'])} of the {copies['of']:,} validation rows are in the training part, too: what they measure is memory."
            " Set split.duplicates = true, so that copies stay on one side."
        ),
        evidence=copies,
    )


def leak_in_features(run: Run) -> Iterator[Finding]:
    """One column gives the class of nearly every held-out row, and all the others together do not."""
    sheet = datasheet(run)
    best, labels = sheet.get("best_feature"), sheet.get("labels")
    if not best or not labels or "others" not in best:
        return
    alone, others = _skill(best["agreement"], labels), _skill(best["others"], labels)
    if alone < limit.GIVEN_AWAY or 1 - others < limit.LABEL_DOUBT:
        return
    apart = best["gap"] >= limit.APART
    yield Finding(
        slug="leak-in-features",
        severity=Severity.WARNING if apart else Severity.NOTE,
        where=str(best["name"]),
        measured=best["agreement"],
        reference=best["others"],
        confidence=confidence(log_ratio(1 - others, limit.LABEL_DOUBT), labels["rows"]),
        message=(
            f"{best['name']} by itself gives the class of {share(best['agreement'])} of the held-out rows, and all other columns together"
            f" of {share(best['others'])}: is it known before the answer is, or was it made from the answer? If so, leave it out."
        ),
        evidence=best,
    )


def augmentation_too_strong(run: Run) -> Iterator[Finding]:
    """Augmented pictures no longer lie among those of their class, and little was learned from them."""
    fact, state = datasheet(run).get("augmentation"), learning(run)
    if not fact or fact["agreement"] is None or state is None or run.steps < limit.LEAST_STEPS:
        return
    before, after = (_skill(fact[name], fact) for name in ("agreement", "augmented"))
    if before < limit.LABEL_SIGNAL or after > limit.LITTLE_LEARNED * before or fact["distance"] < limit.FAR:
        return
    if state.learned > limit.LITTLE_LEARNED or may_come_back(run):
        return
    yield Finding(
        slug="augmentation-too-strong",
        severity=state.severity,
        measured=fact["distance"],
        reference=limit.FAR,
        confidence=confidence(log_ratio(fact["distance"], limit.FAR), limit.LEAST_SAMPLES),
        message=(
            f"Augmentation takes a picture {fact['distance']:.2g} times as far from itself as another picture is: of the pictures"
            f" nearest to it {share(fact['augmented'])} have its class, and {share(fact['agreement'])} without. Weaken it until a"
            " person still sees what is shown."
        ),
        evidence=fact,
    )


PROBES = ("neighbours", "linear")


def _skill(agreement: float, labels: dict[str, Any]) -> float:
    """The share of a blind guess's error that is gone."""
    return float((agreement - labels["chance"]) / max(1 - labels["chance"], limit.CONSTANT))


def _error(run: Run, labels: dict[str, Any], wrong: float) -> float:
    """Standard error of the difference between the skill on validation rows and that on the surest."""
    counts = run.facts.get("samples", {}).get("validation", 0), labels["neighbours"]["confident_rows"]
    variance = sum(wrong * (1 - wrong) / max(count, 1) for count in counts)
    return math.sqrt(variance) / float(max(1 - labels["chance"], limit.CONSTANT))


def _has_signal(labels: dict[str, Any]) -> float:
    return max(_skill(labels[probe]["agreement"], labels) for probe in PROBES)


CHECKS = (
    labels_misaligned,
    label_noise,
    class_imbalance,
    leak_across_parts,
    leak_in_features,
    augmentation_too_strong,
)
