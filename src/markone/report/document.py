"""The JSON documents of the verbs, as plain values; ``docs/json.md`` describes them."""

from collections.abc import Sequence
from typing import Any

from markone.diagnosis.diagnose import cannot_judge
from markone.diagnosis.finding import Finding
from markone.report.comparison import Comparison
from markone.report.score import score_of
from markone.training.run import Run


def run_document(run: Run, findings: Sequence[Finding]) -> dict[str, Any]:
    """What ``markone show RUN --format json`` prints."""
    score = score_of(run)
    return {
        "id": run.id,
        "folder": str(run.folder.resolve()),
        "status": run.status,
        "data": run.meta.get("data", {}).get("name"),
        "recipe": run.recipe.to_dict() if run.recipe else None,
        "steps": run.steps,
        "epochs": run.epochs,
        "seconds": run.seconds,
        "best_step": run.best_step,
        "samples": run.facts.get("samples", {}),
        "metric": score.name if score else None,
        "metrics": run.metrics(),
        "blind_guess": run.facts.get("blind_guess", {}),
        "findings": [finding.to_dict() for finding in findings],
        "cannot_judge": cannot_judge(run),
        "notes": notes_of(run),
        "complexity": run.complexity(),
    }


def notes_of(run: Run) -> list[str]:
    """What there was to say of the data when the training began."""
    return [event.value["text"] for event in run.events if event.kind == "note"]


def row_document(run: Run) -> dict[str, Any]:
    """One run in the list that ``markone runs --format json`` prints; findings are those that its training showed last."""
    score = score_of(run)
    shown = [finding for finding in run.recorded_findings if finding["withdrawn_step"] is None]
    return {
        "id": run.id,
        "folder": str(run.folder.resolve()),
        "status": run.status,
        "data": run.meta.get("data", {}).get("name"),
        "steps": run.steps,
        "epochs": run.epochs,
        "seconds": run.seconds,
        "metric": score.name if score else None,
        "part": score.part if score else None,
        "value": score.value if score else None,
        "findings": [finding["slug"] for finding in shown],
        "started": run.events[0].time if run.events else None,
    }


def damaged_row(run: Run) -> dict[str, Any]:
    """The row of a run that cannot be read."""
    return {
        "id": run.id,
        "folder": str(run.folder.resolve()),
        "status": "damaged",
        "data": None,
        "steps": None,
        "epochs": None,
        "seconds": None,
        "metric": None,
        "part": None,
        "value": None,
        "findings": [],
        "started": None,
    }


def comparison_document(a: Run, b: Run, comparison: Comparison) -> dict[str, Any]:
    """What ``markone compare A B --format json`` prints."""
    return {
        "runs": {name: _side(run) for name, run in (("a", a), ("b", b))},
        "recipe": {path: {"a": left, "b": right} for path, (left, right) in comparison.recipe.items()},
        "metric": comparison.scores[0].name if comparison.scores[0] else None,
        "difference": comparison.difference.to_dict() if comparison.difference else None,
        "verdict": comparison.verdict,
        "preferred": comparison.preferred,
        "why": comparison.why,
    }


def _side(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "folder": str(run.folder.resolve()),
        "status": run.status,
        "steps": run.steps,
        "epochs": run.epochs,
        "seconds": run.seconds,
        "metrics": run.metrics(),
        "complexity": run.complexity(),
        "curves": {part: {name: _points(run, name, part) for name in names} for part, names in run.metrics().items()},
    }


def _points(run: Run, name: str, part: str) -> list[list[float]]:
    series = run.scalars(name, part)
    return [[float(epoch), float(value)] for epoch, value in zip(series.epochs, series.values, strict=True)]
