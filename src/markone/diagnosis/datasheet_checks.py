"""Checks of the rows as a net is fed them (fact ``datasheet``): their scale, holes, layout, parts, and whether they matter at all."""

import math
from collections.abc import Iterator
from typing import Any

from markone.diagnosis import thresholds as limit
from markone.diagnosis.evidence import confidence, is_finite, learning, log_ratio
from markone.diagnosis.finding import Finding, Severity
from markone.diagnosis.seen import listed
from markone.diagnosis.wording import times
from markone.training.run import Run


def input_not_finite(run: Run) -> Iterator[Finding]:
    """NaN or infinity among the inputs: one such number makes every output of its row, and every gradient of its batch, NaN."""
    sheet = datasheet(run)
    training, validation = sheet.get("rows_not_finite", 0), sheet.get("validation_rows_not_finite", 0)
    if not training + validation:
        return
    part, rows, of = ("training", training, sheet["rows"]) if training else ("validation", validation, 0)
    yield Finding(
        slug="input-not-finite",
        severity=Severity.WARNING if is_finite(run) else Severity.SEVERE,
        measured=float(training + validation),
        reference=0.0,
        confidence=1.0,
        message=(
            f"{rows:,} of the {of or sheet['validation_rows']:,} {part} rows that were looked at hold NaN or infinity: the outputs and"
            " the gradients of their batches are NaN. Fill in what is missing, or leave the rows out."
        ),
    )


def input_double_normalized(run: Run) -> Iterator[Finding]:
    """No feature varies by as much as a fiftieth of what initializations expect: divided by 255 twice, say."""
    sheet = datasheet(run)
    values = sheet.get("values")
    if not values or sheet["rows"] < limit.LEAST_VALIDATION or values["constant"] == values["columns"]:
        return
    spread = values["largest_std"]
    if not 0 < spread <= limit.INPUT_TINY:
        return
    yield Finding(
        slug="input-double-normalized",
        severity=_costs(run, soft=_normalizes_first(run)),
        measured=spread,
        reference=limit.INPUT_TINY,
        confidence=confidence(log_ratio(limit.INPUT_TINY, spread), sheet["rows"]),
        message=(
            f"No feature varies by more than {spread:.2g} (standard deviation), and the initial weights are drawn for inputs that vary by"
            f" 1: the net sees next to nothing but its biases. Pixels divided by 255 twice vary by {0.3 / 255:.1g}."
        ),
        evidence={"mean": values["mean"], "median_std": values["median_std"]},
    )


def constant_feature(run: Run) -> Iterator[Finding]:
    """Columns of a table that are the same in every row; or inputs that are the same in every row altogether."""
    sheet = datasheet(run)
    values = sheet.get("values")
    if not values or not values["constant"] or sheet["rows"] < limit.LEAST_VALIDATION:
        return
    fraction, count = values["constant"] / values["columns"], values["constant"]
    whole = count == values["columns"]
    if not whole and (len(sheet["shape"]) > 1 or values["columns"] > limit.TABLE):
        return  # the corners of pictures are all alike
    names = values["constant_names"]
    what = "All inputs are" if whole else f"{listed(names[:count])} {'is' if count == 1 else 'are'}"
    told = "nothing can be learned from them." if whole else "a net learns nothing from that. Leave them out."
    yield Finding(
        slug="constant-feature",
        severity=Severity.SEVERE if whole else Severity.NOTE,
        where=None if whole else str(names[0]),
        measured=fraction,
        reference=0.0,
        confidence=confidence(0.0 if not whole else log_ratio(sheet["rows"], 1.0), sheet["rows"]),
        message=f"{what} the same in all {sheet['rows']:,} rows that were looked at: {told}",
    )


def target_unscaled(run: Run) -> Iterator[Finding]:
    """Numbers to predict that are a hundred times what the net gives at first, and it has not come near them."""
    sizes = datasheet(run).get("first_sizes")
    if not sizes or sizes["target"] < limit.TARGET_SIZE:
        return
    ratio = sizes["target"] / max(sizes["output"], 1.0)
    if ratio < limit.TARGET_SIZE:
        return
    state = learning(run)
    settled = state is not None and state.learned > limit.UNEXPLAINED
    yield Finding(
        slug="target-unscaled",
        severity=Severity.NOTE if settled else Severity.WARNING,
        measured=sizes["target"],
        reference=limit.TARGET_SIZE * max(sizes["output"], 1.0),
        confidence=confidence(log_ratio(ratio, limit.TARGET_SIZE), limit.LEAST_SAMPLES),
        message=(
            f"The targets are {sizes['target']:.3g} in size and the net's first outputs {sizes['output']:.2g}: the last layer has to grow"
            f" {times(ratio)} times before anything else is learned, and the loss begins at about"
            f" {sizes['target'] ** 2:.1g}. Standardize the targets, and undo it in predictions."
        ),
        evidence=sizes,
    )


def preprocessing_mismatch(run: Run) -> Iterator[Finding]:
    """Validation rows lie on another scale than training rows: one part was normalized and the other was not."""
    sheet = datasheet(run)
    shift = sheet.get("shift")
    if not shift or min(sheet["rows"], sheet["validation_rows"]) < limit.LEAST_VALIDATION:
        return
    ratio, deviations = abs(log_ratio(shift["ratio"], 1.0)), shift["deviations"]
    scaled, moved = ratio >= math.log(limit.SHIFT_RATIO), deviations >= limit.SHIFT_DEVIATIONS
    if not (scaled or moved) or (not scaled and shift["errors"] < limit.SHIFT_ERRORS):
        return
    (mean, other), (std, others) = shift["means"], shift["stds"]
    yield Finding(
        slug="preprocessing-mismatch",
        severity=Severity.WARNING,
        measured=math.exp(ratio) if scaled else deviations,
        reference=float(limit.SHIFT_RATIO if scaled else limit.SHIFT_DEVIATIONS),
        confidence=confidence(
            ratio - math.log(limit.SHIFT_RATIO) if scaled else log_ratio(deviations, limit.SHIFT_DEVIATIONS),
            sheet["validation_rows"],
        ),
        message=(
            f"Training rows have mean {mean:.3g} and standard deviation {std:.3g}, validation rows {other:.3g} and {others:.3g}: the two"
            " parts are not prepared alike, so the validation figure is not the net's. Use one transformation, with statistics of the"
            " training part, for both."
        ),
        evidence=shift,
    )


def layout_scrambled(run: Run) -> Iterator[Finding]:
    """A convolution is fed pictures whose neighbouring pixels are no neighbours: view instead of permute, or channels last."""
    sheet = datasheet(run)
    layout = sheet.get("layout")
    first = next((layer.kind for layer in run.layers if layer.role == "weights"), "")
    if not layout or first != "Conv2d" or sheet["rows"] < limit.LEAST_VALIDATION:
        return
    given, other, why = _unscrambled(layout)
    if not why:
        return
    yield Finding(
        slug="layout-scrambled",
        severity=_costs(run),
        measured=given,
        reference=other,
        confidence=confidence(log_ratio(given, max(other, limit.CONSTANT)), sheet["rows"]),
        message=why,
        evidence=layout,
    )


def _unscrambled(layout: dict[str, Any]) -> tuple[float, float, str]:
    """How rough the pictures are, how rough they would be laid out rightly, and the sentence; none where the layout may be right."""
    last = layout.get("channels_last")
    if last is not None:
        wrong = (
            "The pictures come as (rows, height, width, channels), and the convolution takes the height for channels"
        )
        fits = last <= limit.SMOOTH
        return 1.0, last, f"{wrong}. Use x.permute(0, 3, 1, 2)." if fits else ""
    given, read, mixed = layout["roughness"], layout["as_channels_last"], layout["permuted"]
    if given is None:
        return 0.0, 0.0, ""
    if read is not None and read <= limit.SMOOTH and given >= limit.ROUGHER * read:
        told = f"Neighbouring pixels differ {times(given / max(read, limit.CONSTANT))} times more as the net is given them than if the same"
        return (
            given,
            read,
            f"{told} numbers are read as (height, width, channels): view or reshape was used where permute is needed.",
        )
    nearest = layout["nearest"]
    if nearest is not None and mixed is not None and nearest >= limit.NEAREST and given >= limit.SHUFFLED * mixed:
        told = f"Pixels beside each other go together no more than permuted ones (correlation {1 - given:.2f} and {1 - mixed:.2f}), though"
        return (
            given,
            1 - nearest,
            f"{told} each has one elsewhere that it goes with ({nearest:.2f}): the pixels have been shuffled.",
        )
    return given, 0.0, ""


def inputs_ignored(run: Run) -> Iterator[Finding]:
    """The loss of an empty input is that of the real one, to the last digit: nothing of the input reaches the output."""
    probe = run.facts.get("zero_input")
    if not probe or run.steps < limit.LEAST_STEPS:
        return
    loss, zero = probe["loss"], probe["zero"]
    difference = abs(loss - zero) / max(abs(loss), abs(zero), limit.CONSTANT)
    state = learning(run)
    if difference > limit.IGNORED or (state is not None and state.learned > limit.LITTLE_LEARNED):
        return
    yield Finding(
        slug="inputs-ignored",
        severity=state.severity if state is not None else Severity.WARNING,
        since_step=int(probe.get("step", 0)),
        measured=difference,
        reference=limit.IGNORED,
        confidence=confidence(log_ratio(limit.IGNORED, difference), limit.LEAST_SAMPLES),
        message=(
            f"The loss is {loss:.4g} with the inputs and {zero:.4g} with zeros in their place: nothing of what the net is given reaches"
            " what it says. Look for a wrong variable in forward, a multiplication by zero, or layers that have died."
        ),
    )


def datasheet(run: Run) -> dict[str, Any]:
    """The fact; empty where there is none."""
    return dict(run.facts.get("datasheet") or {})


def _costs(run: Run, *, soft: bool = False) -> Severity:
    """A warning, until it is known what it has cost."""
    state = learning(run)
    if soft:
        return Severity.NOTE
    if state is None or run.steps < limit.LEAST_STEPS:
        return Severity.WARNING
    return state.severity


def _normalizes_first(run: Run) -> bool:
    """Whether a normalization directly before or behind the first weights takes the scale away again."""
    roles = [layer.role for layer in run.layers]
    first = roles.index("weights") if "weights" in roles else -1
    return "normalization" in roles[: first + 2]


CHECKS = (
    input_not_finite,
    input_double_normalized,
    constant_feature,
    target_unscaled,
    preprocessing_mismatch,
    layout_scrambled,
    inputs_ignored,
)
