"""``markone diagnose``: what is wrong with a run, and why."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from markone.cli.options import RunArgument

if TYPE_CHECKING:
    from markone.diagnosis.finding import Finding
    from markone.training.run import Run


class Form(StrEnum):
    """How findings are told."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    MARKDOWN = "markdown"
    HTML = "html"


class FailOn(StrEnum):
    """From which severity on a finding makes the exit code 1."""

    NOTE = "note"
    WARNING = "warning"
    SEVERE = "severe"


def diagnose(
    run: RunArgument,
    *,
    select: Annotated[
        list[str] | None, typer.Option("--select", metavar="SLUG,..", help="Only these findings; repeatable.")
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", metavar="SLUG,..", help="Not these findings; repeatable.")
    ] = None,
    fail_on: Annotated[
        FailOn | None, typer.Option("--fail-on", help="Exit with 1 if a finding is at least so severe.")
    ] = None,
    format: Annotated[
        Form, typer.Option("--format", help="text, or one document on standard output: HTML has the evidence as plots.")
    ] = Form.TEXT,
) -> None:
    """Says what is wrong with a run, and why. Most important cause first."""
    from markone.diagnosis.diagnose import diagnose as diagnose_run
    from markone.diagnosis.finding import Severity
    from markone.training.run import find_run

    wanted, unwanted, found = _slugs(select), _slugs(ignore), find_run(run)
    findings = [f for f in diagnose_run(found) if (not wanted or f.slug in wanted) and f.slug not in unwanted]
    _print(format, found, findings)
    if fail_on is not None and _worst(findings) >= Severity(fail_on.value).rank:
        raise typer.Exit(1)


def _print(form: Form, run: "Run", findings: "list[Finding]") -> None:
    from markone.cli.output import open_console, print_json

    if form == Form.JSON:
        print_json([finding.to_dict() for finding in findings])
    elif form == Form.SARIF:
        from markone.report.sarif import sarif_document

        print_json(sarif_document(run, findings))
    elif form == Form.MARKDOWN:
        from markone.report.markdown import markdown_report

        print(markdown_report(run, findings), end="")
    elif form == Form.HTML:
        from markone.report.html import report_html

        print(report_html(run, findings), end="")
    else:
        from markone.report.text import findings_text

        open_console().print(findings_text(run, findings))


def _slugs(given: list[str] | None) -> set[str]:
    """The slugs of one option. Raises InputError with the near name for one that does not exist."""
    from markone.diagnosis.pages import page

    named = {slug.strip() for text in given or () for slug in text.split(",") if slug.strip()}
    for slug in sorted(named):
        page(slug)
    return named


def _worst(findings: "list[Finding]") -> int:
    return max((finding.severity.rank for finding in findings), default=-1)
