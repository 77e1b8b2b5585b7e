"""Summary: a run in a headline, a sentence and five numbers; the terminal and the page both say it in these words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markone.diagnosis.finding import Finding, Severity
from markone.report.score import Score, score_of
from markone.report.words import duration, number, several
from markone.training.run import Run


@dataclass(frozen=True)
class Summary:
    """``numbers`` are (label, value) pairs, in the order in which they are shown."""

    headline: str
    lead: str
    numbers: tuple[tuple[str, str], ...]


def summarize_run(run: Run, findings: Sequence[Finding]) -> Summary:
    """What the record says of a run, given its findings, most important first."""
    score = score_of(run)
    return Summary(_headline(run, score, findings), _lead(run, score), _numbers(run, score, findings))


def _headline(run: Run, score: Score | None, findings: Sequence[Finding]) -> str:
    if run.status == "non-finite":
        fact = run.facts.get("non_finite", {})
        word = {"nan": "not a number", "inf": "infinite"}.get(fact.get("loss", ""), "not finite")
        return f"This training broke off: its loss became {word} in step {fact.get('step', run.steps)}."
    if run.steps == 0 or score is None:
        return "This training has not finished an epoch yet."
    if run.recipe and not run.recipe.rule.is_taught:
        return "This network has learned from its inputs alone: its rule looks at no target."
    return _verdict(run, score, findings)


def _verdict(run: Run, score: Score, findings: Sequence[Finding]) -> str:
    causes = [finding for finding in findings if finding.severity.rank >= Severity.WARNING.rank]
    is_severe = any(finding.severity == Severity.SEVERE for finding in causes)
    still = " so far" if run.status == "running" else ""
    if is_severe and not score.beats_blind:
        return f"This network is not learning{still}, and we know why."
    if not score.beats_blind:
        return f"This network is no better than a blind guess{still}."
    if causes:
        holds = "1 cause holds" if len(causes) == 1 else f"{len(causes)} causes hold"
        return f"This network learns, but {holds} it back."
    return f"This network has learned{still}."


def _lead(run: Run, score: Score | None) -> str:
    net = run.recipe.net.kind if run.recipe else "watched net"
    size = run.complexity().get("parameters")
    weights = f" with {number(size)} parameters" if size else ""
    name = run.meta.get("data", {}).get("name")
    data = f" on {name}" if name else ""
    effort = f"{several(run.steps, 'step')} ({several(round(run.epochs, 2), 'epoch')}, {duration(run.seconds)})"
    return f"{_article(net)} {net}{weights}{data}. After {effort} {_result(score)}{_end(run)}"


def _result(score: Score | None) -> str:
    if score is None:
        return "nothing has been evaluated yet."
    if score.name == "accuracy":
        whom = f"the {number(score.samples)} {score.part} samples" if score.samples else f"the {score.part} samples"
        return f"it gets {score.text} of {whom} right; a blind guess gets {score.blind_text}."
    return f"its {score.label} is {score.text}; a blind guess has {score.blind_text}."


def _end(run: Run) -> str:
    if run.status in ("interrupted", "killed"):
        return f" It was {run.status} and can go on from there."
    for event in run.events:
        if event.kind == "converged":
            mistakes, bound = several(round(event.value["mistakes"]), "mistake"), event.value.get("bound")
            theorem = f"; Novikoff's bound for these weights is {number(math.floor(bound))}" if bound else ""
            return f" It ended by itself with an epoch without a mistake, after {mistakes}{theorem}."
    return _mistakes(run)


def _mistakes(run: Run) -> str:
    """Where a rule that counts mistakes has not ended by itself."""
    counts = [0.0, *run.scalars("mistakes", "net").values.tolist()]
    last = round(counts[-1] - counts[-2]) if len(counts) > 1 else 0
    if run.status != "finished" or last == 0:
        return ""
    return (
        f" Mistakes were still being made, {number(last)} in the last epoch: where no plane separates the classes, the rule"
        " never ends."
    )


def _article(word: str) -> str:
    # "an mlp" and "an fcn-8" are spelled letter by letter, and these begin with a vowel when they are spoken; "unet" does not
    return "An" if (word[:1] in "aeiou" and word != "unet") or word.startswith(("mlp", "fcn")) else "A"


def _numbers(run: Run, score: Score | None, findings: Sequence[Finding]) -> tuple[tuple[str, str], ...]:
    metrics = run.metrics()
    loss = metrics.get("validation", metrics.get("training", {})).get("loss")
    label, value = (score.label.capitalize(), score.text) if score else ("Validation", "none yet")
    return (
        (label, value),
        ("Blind guess", score.blind_text if score else "unknown"),
        ("Loss", "none yet" if loss is None else number(loss)),
        ("Steps", number(run.steps)),
        ("Findings", count_findings(findings)),
    )


def count_findings(findings: Sequence[Finding]) -> str:
    """``1 severe, 2 warnings``, or ``none``."""
    counts = {severity: sum(finding.severity == severity for finding in findings) for severity in Severity}
    words = {Severity.SEVERE: "severe", Severity.WARNING: "warning", Severity.NOTE: "note"}
    parts = [
        f"{counts[severity]} severe" if severity == Severity.SEVERE else several(counts[severity], word)
        for severity, word in words.items()
        if counts[severity]
    ]
    return ", ".join(parts) or "none"
