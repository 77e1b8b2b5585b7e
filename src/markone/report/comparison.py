"""Comparison: two runs beside each other, how sure their difference is, and which one is preferred."""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from markone.metrics import wilson_interval
from markone.report.score import Score, score_of
from markone.report.words import metric_value, number
from markone.spec import diff
from markone.training.run import Run

LEVEL = 0.95
PRINTED_DIGITS = 3  # weights and norms that print alike count as alike


@dataclass(frozen=True)
class Difference:
    """An effect of b against a, with its interval. ``kind``: "difference" (b - a) or "ratio" (b / a)."""

    kind: str
    value: float
    low: float
    high: float
    method: str

    @property
    def excludes_none(self) -> bool:
        """Whether the interval excludes that nothing differs."""
        none = 1.0 if self.kind == "ratio" else 0.0
        return not self.low <= none <= self.high

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "level": LEVEL,
            "method": self.method,
        }


@dataclass(frozen=True)
class Comparison:
    """verdict: "a-better", "b-better", "no-difference" or "not-comparable"; preferred: "a", "b" or None; why: in words."""

    recipe: dict[str, tuple[Any, Any]]
    scores: tuple[Score | None, Score | None]
    difference: Difference | None
    verdict: str
    preferred: str | None
    why: str


def compare_runs(a: Run, b: Run) -> Comparison:
    """What differs in the recipes, and whether the better of the two is surely better."""
    recipe = diff(a.recipe, b.recipe) if a.recipe and b.recipe else {}
    ours, theirs = scores = (score_of(a), score_of(b))
    if ours is None or theirs is None:
        missing = a if ours is None else b
        return Comparison(recipe, scores, None, "not-comparable", None, f"{missing.id} has not been evaluated yet.")
    if reason := _not_comparable(a, b, ours, theirs):
        return Comparison(recipe, scores, None, "not-comparable", None, reason)
    difference = difference_of(ours, theirs)
    verdict = _verdict(ours, difference)
    if verdict == "no-difference":
        preferred, why = simpler(a, b)
        return Comparison(recipe, scores, difference, verdict, preferred, f"they do not surely differ; {why}")
    better = {"a-better": a, "b-better": b}[verdict]
    why = f"surely better in {ours.label}: {verdict[0]}, {better.id}."
    return Comparison(recipe, scores, difference, verdict, verdict[0], why)


def newcombe(right_a: int, samples_a: int, right_b: int, samples_b: int) -> Difference:
    """The difference p_b - p_a of two shares with its hybrid score interval.

    Newcombe, Interval estimation for the difference between independent proportions, 1998, method 10: with Wilson's intervals
    (l, u) of each, p_b - p_a - sqrt((p_b - l_b)^2 + (u_a - p_a)^2) to p_b - p_a + sqrt((u_b - p_b)^2 + (p_a - l_a)^2).
    """
    p_a, p_b = right_a / samples_a, right_b / samples_b
    low_a, high_a = wilson_interval(right_a, samples_a, confidence=LEVEL)
    low_b, high_b = wilson_interval(right_b, samples_b, confidence=LEVEL)
    low = p_b - p_a - math.hypot(p_b - low_b, high_a - p_a)
    high = p_b - p_a + math.hypot(high_b - p_b, p_a - low_a)
    return Difference("difference", p_b - p_a, low, high, "Newcombe")


def error_ratio(error_a: float, samples_a: int, error_b: float, samples_b: int) -> Difference:
    """The ratio of two root mean squared errors, exp(ln(b / a) +- z sqrt(1/2n_a + 1/2n_b)), residuals taken as normal.

    n MSE / sigma^2 is then chi-squared with n degrees of freedom, and ln RMSE has the standard error 1 / sqrt(2 n).
    """
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    reach = z * math.sqrt(1 / (2 * samples_a) + 1 / (2 * samples_b))
    ratio = error_b / error_a
    return Difference("ratio", ratio, ratio * math.exp(-reach), ratio * math.exp(reach), "normal residuals")


def difference_of(a: Score, b: Score) -> Difference | None:
    """The difference with the interval that fits the metric; None where none does or the samples are not counted."""
    if not (a.samples and b.samples):
        return None
    if a.name == "accuracy":
        return newcombe(round(a.value * a.samples), a.samples, round(b.value * b.samples), b.samples)
    if a.name == "rmse" and a.value > 0:
        return error_ratio(a.value, a.samples, b.value, b.samples)
    return None


def simpler(a: Run, b: Run) -> tuple[str | None, str]:
    """The run with fewer non-zero weights (l0), or the smaller norm (l2, then l1) where they are alike, and why."""
    ours, theirs = a.complexity(), b.complexity()
    for name, what in (
        ("l0", "non-zero weights"),
        ("l2", "as l2 norm of the weights"),
        ("l1", "as l1 norm of the weights"),
    ):
        left, right = ours.get(name, math.nan), theirs.get(name, math.nan)
        if math.isfinite(left) and math.isfinite(right) and _printed(left) != _printed(right):
            which, less, more = ("a", left, right) if left < right else ("b", right, left)
            return which, f"the simpler one, {which}, is preferred ({number(less)} {what} against {number(more)})."
    return None, "and they are equally complex."


def _printed(value: float) -> str:
    return f"{value:.{PRINTED_DIGITS}g}"


def _not_comparable(a: Run, b: Run, ours: Score, theirs: Score) -> str:
    """Why two runs cannot be judged by one number; nothing if they can."""
    if (ours.name, ours.part) != (theirs.name, theirs.part):
        return f"One has {ours.label}, the other {theirs.label}."
    names = [run.meta.get("data", {}).get("name") for run in (a, b)]
    if names[0] != names[1]:
        return f"They were trained on different data, {names[0]} and {names[1]}."
    return ""


def _verdict(score: Score, difference: Difference | None) -> str:
    if difference is None or not difference.excludes_none:
        return "no-difference"
    b_is_more = difference.value > (1.0 if difference.kind == "ratio" else 0.0)
    return "b-better" if b_is_more == score.higher_is_better else "a-better"


def difference_text(score: Score, difference: Difference) -> str:
    """``b - a = +1.2 %, 95 % interval -0.4 % to +2.8 %``."""
    if difference.kind == "ratio":
        low, value, high = (f"{x:.3g}" for x in (difference.low, difference.value, difference.high))
        return f"{score.label} of b / a = {value}, 95 % interval {low} to {high} ({difference.method})"
    low, value, high = (_signed(score.name, x) for x in (difference.low, difference.value, difference.high))
    return f"{score.label} of b - a = {value}, 95 % interval {low} to {high} ({difference.method})"


def _signed(name: str, value: float) -> str:
    return f"{'−' if value < 0 else '+'}{metric_value(name, abs(value))}"
