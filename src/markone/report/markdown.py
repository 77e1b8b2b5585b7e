"""Findings as Markdown, for an issue, a pull request or a notebook."""

from collections.abc import Sequence

from markone.diagnosis.diagnose import cannot_judge
from markone.diagnosis.finding import Finding
from markone.report.summary import summarize_run
from markone.report.titles import second_seed, title
from markone.report.words import number, share
from markone.training.run import Run

SPECIAL = "\\`*_[]<>|#"


def markdown_report(run: Run, findings: Sequence[Finding]) -> str:
    """Headline, a section for every finding with its evidence, and what cannot be judged."""
    summary = summarize_run(run, findings)
    parts = [f"# {_plain(summary.headline)}", f"`{run.id}`: {_plain(summary.lead)}"]
    parts += [_section(run, place, finding) for place, finding in enumerate(findings, start=1)]
    if not findings:
        parts.append("Nothing is wrong that can be seen.")
    unknown = cannot_judge(run)
    if unknown:
        parts.append("## What cannot be judged\n\n" + "\n".join(f"- {_plain(one)}" for one in unknown))
    return "\n\n".join(parts) + "\n"


def _section(run: Run, place: int, finding: Finding) -> str:
    rows = {
        "severity": finding.severity.value,
        "confidence": share(finding.confidence),
        "where": f"`{finding.where}`" if finding.where else None,
        "line": f"`{finding.place}`" if finding.place else None,
        "since step": number(finding.since_step),
        "measured": number(finding.measured),
        "judged against": number(finding.reference),
        "to confirm": _plain(again) if (again := second_seed(run, finding)) else None,
        "explains": ", ".join(f"`{one.slug}`" for one in finding.folded) or None,
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items() if value is not None)
    return f"## {place}. {_plain(title(finding.slug))}\n\n{_plain(finding.message)}\n\n| `{finding.slug}` | |\n|---|---|\n{table}"


def _plain(text: str) -> str:
    """Text in which nothing is markup.

    >>> _plain("a_b * c")
    'a\\\\_b \\\\* c'
    """
    return "".join(f"\\{letter}" if letter in SPECIAL else letter for letter in text)
