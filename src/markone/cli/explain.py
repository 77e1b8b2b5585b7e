"""``markone explain``: the page of a finding."""

from typing import Annotated

import typer

from markone.cli.options import Format, FormatOption


def explain(
    slug: Annotated[
        str | None, typer.Argument(metavar="[SLUG]", help="The finding, such as dead-relu; without it, all are listed.")
    ] = None,
    *,
    format: FormatOption = Format.TEXT,
) -> None:
    """Explains a finding. Symptom, cause and remedy; without SLUG, all findings."""
    from rich.markdown import Markdown

    from markone.cli.output import open_console, print_json
    from markone.diagnosis.pages import page, slugs
    from markone.report.text import plain_table
    from markone.report.titles import title

    if slug is not None:
        text = page(slug)
        if format == Format.JSON:
            print_json({"slug": slug, "title": title(slug), "page": text})
        else:
            open_console().print(Markdown(text))
        return
    if format == Format.JSON:
        print_json([{"slug": slug, "title": title(slug)} for slug in slugs()])
        return
    table = plain_table("finding", "what it says")
    for name in slugs():
        table.add_row(name, title(name))
    open_console().print(table)
