"""Findings as SARIF 2.1.0, the format that code hosts show beside the lines (OASIS standard, 2020)."""

from collections.abc import Sequence
from typing import Any

from markone.diagnosis.finding import Finding, Severity
from markone.diagnosis.pages import page, slugs
from markone.report.titles import title
from markone.training.run import Run
from markone.version import VERSION

LEVELS = {Severity.NOTE: "note", Severity.WARNING: "warning", Severity.SEVERE: "error"}
SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif_document(run: Run, findings: Sequence[Finding]) -> dict[str, Any]:
    """One SARIF run: a rule for every slug that occurs, a result for every finding and for what it explains."""
    every = [one for top in findings for one in (top, *top.folded)]
    rules = list(dict.fromkeys(one.slug for one in every))
    driver = {"name": "markone", "version": VERSION, "rules": [_rule(slug) for slug in rules]}
    results = [_result(top, rules, cause=None) for top in findings]
    results += [_result(one, rules, cause=top.slug) for top in findings for one in top.folded]
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "automationDetails": {"id": run.id}, "results": results}],
    }


def _rule(slug: str) -> dict[str, Any]:
    text = page(slug) if slug in slugs() else title(slug)
    return {
        "id": slug,
        "shortDescription": {"text": title(slug)},
        "help": {"text": text, "markdown": text},
    }


def _result(finding: Finding, rules: Sequence[str], *, cause: str | None) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "confidence": finding.confidence,
        "sinceStep": finding.since_step,
        "measured": finding.measured,
        "reference": finding.reference,
    }
    if cause is not None:
        properties["explainedBy"] = cause
    return {
        "ruleId": finding.slug,
        "ruleIndex": rules.index(finding.slug),
        "level": LEVELS[finding.severity],
        "message": {"text": finding.message},
        "locations": [location] if (location := _location(finding)) else [],
        "properties": properties,
    }


def _location(finding: Finding) -> dict[str, Any]:
    """The line of the user's code, and the layer, where they are known."""
    found: dict[str, Any] = {}
    path, _, line = (finding.place or "").rpartition(":")
    if path and line.isdigit():
        artifact = {"uri": path.replace("\\", "/")}
        found["physicalLocation"] = {"artifactLocation": artifact, "region": {"startLine": int(line)}}
    if finding.where is not None:
        found["logicalLocations"] = [{"fullyQualifiedName": finding.where}]
    return found
