"""What a watched training ends with, in the terminal."""

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from markone.diagnosis.finding import Finding
from markone.report.text import command_lines, findings_text
from markone.report.words import number, several
from markone.training.run import Run


def watched_text(run: Run, findings: Sequence[Finding], *, stopped: bool = False) -> RenderableType:
    """The verdict, the findings, and where the record lies."""
    return Group(
        Text(""),
        Text(headline(run, findings), "bold"),
        Text(_lead(run, stopped=stopped)),
        Text(""),
        findings_text(run, findings),
        Text(""),
        command_lines([("run", str(run.folder)), ("again", f"markone diagnose {run.folder}")]),
    )


def watched_line(run: Run, findings: Sequence[Finding]) -> str:
    """The verdict in one line, as ``--quiet`` ends with it."""
    slugs = ", ".join(finding.slug for finding in findings) or "none"
    return f"markone: {run.status}, {several(run.steps, 'step')}; findings: {slugs}; {run.folder}"


def headline(run: Run, findings: Sequence[Finding]) -> str:
    severe = [one for one in findings if one.severity.rank == 2]
    if severe:
        return "Something in this training is broken."
    if not run.facts.get("watched", {}).get("optimizers"):
        return "No training was seen: no optimizer was made."
    if any(one.severity.rank for one in findings):
        return "This training works, and something costs it."
    return "Nothing is wrong with this training, as far as it was seen."


def _lead(run: Run, *, stopped: bool) -> str:
    watched: dict[str, Any] = run.facts.get("watched", {})
    nets = ", ".join(watched.get("nets", [])) or "no net that is a module"
    optimizers = ", ".join(f"{one['kind']} ({number(one['steps'])} steps)" for one in watched.get("optimizers", []))
    ending = " Stopped as asked." if stopped else ""
    return f"Seen: {nets}; {optimizers or 'no optimizer'}.{ending}"
