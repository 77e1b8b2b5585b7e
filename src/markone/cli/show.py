"""``markone show``: everything about one run."""

from markone.cli.options import Format, FormatOption, RunArgument


def show(run: RunArgument, *, format: FormatOption = Format.TEXT) -> None:
    """Shows everything about one run. Verdict, metrics, curves, complexity, findings and recipe."""
    from markone.cli.output import open_console, print_json
    from markone.diagnosis.diagnose import diagnose
    from markone.training.run import find_run

    found = find_run(run)
    findings = diagnose(found)
    if format == Format.JSON:
        from markone.report.document import run_document

        print_json(run_document(found, findings))
    else:
        from markone.report.text import run_text

        open_console().print(run_text(found, findings))
