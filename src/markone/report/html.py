"""The run's page, ``report.html``: one self-contained file, light or dark as the reader's system is."""

import os
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

import numpy as np

from markone.diagnosis.diagnose import cannot_judge
from markone.diagnosis.finding import Finding
from markone.report.chart import Curve, chart, smooth
from markone.report.figures import figures
from markone.report.score import score_of
from markone.report.summary import Summary, summarize_run
from markone.report.titles import second_seed, title
from markone.report.words import SHARES, metric_name, number
from markone.training.run import Run, Series

STRETCHES = 50  # a smoothed curve is a mean over a fiftieth of the training: short enough to show its phases


def write_report(run: Run, findings: Sequence[Finding]) -> Path:
    """Writes ``report.html`` into the run folder, aside and renamed."""
    path = run.folder / "report.html"
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(report_html(run, findings), encoding="utf-8")
    aside.replace(path)
    return path


def report_html(run: Run, findings: Sequence[Finding]) -> str:
    """The page: headline, lead, five numbers, findings with their evidence, curves, a table of the epochs and the recipe."""
    summary = summarize_run(run, findings)
    style = files("markone.report").joinpath("page.css").read_text(encoding="utf-8")
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<link rel="icon" href="data:,">\n<title>{escape(run.id)}</title>\n<style>\n{style}</style>\n</head>',
            "<body>\n<main>",
            _head(run, summary),
            *(_finding(run, place, finding) for place, finding in enumerate(findings, start=1)),
            _unjudged(run),
            _charts(run),
            _table(run),
            _recipe(run),
            "</main>\n</body>\n</html>\n",
        ]
    )


def _head(run: Run, summary: Summary) -> str:
    numbers = "".join(
        f"<div{' class=ill' if name == 'Findings' and value != 'none' else ''}>"
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in summary.numbers
    )
    return (
        f'<header><p class="crumb">{escape(run.id)}</p><h1>{escape(summary.headline)}</h1>'
        f'<p class="lead">{escape(summary.lead)}</p></header>\n<dl>{numbers}</dl>'
    )


def _finding(run: Run, place: int, finding: Finding) -> str:
    where = "".join(f" · {one}" for one in (finding.where, finding.place) if one)
    folded = "; ".join(title(inner.slug) for inner in finding.folded)
    explains = f'<p class="folded">It explains: {escape(folded)}.</p>' if folded else ""
    again = f'<p class="folded">{escape(text)}</p>' if (text := second_seed(run, finding)) else ""
    severity = finding.severity.value
    return (
        f'<section><p class="tag {severity}">Finding {place} · {severity}{escape(where)} · since step {finding.since_step}</p>'
        f"<h2>{escape(title(finding.slug))}</h2><p>{escape(finding.message)}</p>{explains}{again}"
        f"{figures(run, finding)}<p><code>markone explain {escape(finding.slug)}</code></p></section>"
    )


def _unjudged(run: Run) -> str:
    sentences = " ".join(cannot_judge(run))
    return f'<section><p class="folded">{escape(sentences)}</p></section>' if sentences else ""


def _charts(run: Run) -> str:
    drawn = [_loss_chart(run), _metric_chart(run), _lr_chart(run)]
    return f'<section class="charts">{"".join(drawn)}</section>'


def _loss_chart(run: Run) -> str:
    batch = run.scalars("loss", "batch")
    window = max(1, len(batch) // STRETCHES)
    stated = f" (line: mean of {window} steps)" if window > 1 else ""
    curves = [
        Curve("", batch.epochs, batch.values),
        Curve("batch", batch.epochs, smooth(batch.values, window)),
        *_curves(run.scalars("loss", "validation"), "validation", "other"),
        *_blind(run, "loss", batch),
    ]
    return chart(f"Loss{stated}", curves, end=run.epochs)


def _metric_chart(run: Run) -> str:
    score = score_of(run)
    if score is None or score.name == "loss":
        return ""
    training, validation = (run.scalars(score.name, part) for part in ("training", "validation"))
    curves = [
        *_curves(training, "training", "this"),
        *_curves(validation, "validation", "other"),
        *_blind(run, score.name, validation or training),
    ]
    name = metric_name(score.name)
    return chart(name[:1].upper() + name[1:], curves, end=run.epochs, as_share=score.name in SHARES)


def _lr_chart(run: Run) -> str:
    rate = run.scalars("lr", "batch")
    return chart("Learning rate", _curves(rate, "rate", "this"), end=run.epochs)


def _curves(series: Series, label: str, tone: str) -> list[Curve]:
    return [Curve(label, series.epochs, series.values, tone)] if series else []  # type: ignore[arg-type]


def _blind(run: Run, name: str, beside: Series) -> list[Curve]:
    """The blind guess as a level line over the same epochs."""
    value = run.facts.get("blind_guess", {}).get(name)
    if value is None or not beside:
        return []
    ends = np.array([beside.epochs[0], beside.epochs[-1]])
    return [Curve("blind guess", ends, np.array([value, value], dtype=np.float64), "reference")]


def _table(run: Run) -> str:
    """The curves as numbers, epoch by epoch."""
    columns = [(part, name) for part, names in sorted(run.metrics().items()) for name in names]
    if not columns:
        return ""
    found = {column: run.scalars(column[1], column[0]) for column in columns}
    steps = sorted({int(step) for series in found.values() for step in series.steps})
    values = {
        column: dict(zip(series.steps.tolist(), series.values.tolist(), strict=True))
        for column, series in found.items()
    }
    head = "".join(f"<th>{escape(part)} {escape(metric_name(name))}</th>" for part, name in columns)
    rows = "".join(
        f"<tr><td>{step}</td>{''.join(_cell(values[column].get(step)) for column in columns)}</tr>" for step in steps
    )
    return (
        "<details><summary>The curves as a table</summary>"
        f'<div class="wide"><table><tr><th>step</th>{head}</tr>{rows}</table></div></details>'
    )


def _cell(value: float | None) -> str:
    return f"<td>{'' if value is None else number(value)}</td>"


def _recipe(run: Run) -> str:
    if run.recipe is None:
        return ""
    return f"<details><summary>The recipe</summary><pre>{escape(run.recipe.to_toml())}</pre></details>"
