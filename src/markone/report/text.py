"""Runs, findings and comparisons as rich renderables for the terminal."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from markone.diagnosis.diagnose import cannot_judge
from markone.diagnosis.finding import Finding, Severity
from markone.report.comparison import Comparison, difference_text
from markone.report.document import notes_of
from markone.report.score import score_of
from markone.report.sparkline import sparkline
from markone.report.summary import summarize_run
from markone.report.titles import second_seed, title
from markone.report.words import age, duration, metric_name, metric_value, number, several
from markone.training.run import Run, Series

STYLES = {Severity.SEVERE: "bold red", Severity.WARNING: "bold yellow", Severity.NOTE: "bold cyan"}


def plain_table(*columns: str, right: Sequence[str] = ()) -> Table:
    """A table of hairlines and space, in the style of the whole program."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def run_text(run: Run, findings: Sequence[Finding]) -> RenderableType:
    """Everything that ``markone show`` says."""
    summary = summarize_run(run, findings)
    return Group(
        Text.assemble((run.id, "bold"), f"  {run.status}"),
        Text(""),
        Text(summary.headline, "bold"),
        Text(summary.lead),
        Text(""),
        metrics_table(run),
        Text(""),
        *curve_lines(run),
        Text(""),
        _facts(run),
        Text(""),
        findings_text(run, findings),
        *(Text(note, "dim") for note in notes_of(run)),
        *_recipe_lines(run),
    )


def verdict_text(run: Run, findings: Sequence[Finding]) -> RenderableType:
    """What ``markone train`` ends with: the verdict, the findings, where the run lies and what to do next."""
    summary = summarize_run(run, findings)
    return Group(
        Text(""),
        Text(summary.headline, "bold"),
        Text(summary.lead),
        Text(""),
        findings_text(run, findings),
        Text(""),
        command_lines(_next_steps(run)),
    )


def verdict_line(run: Run, findings: Sequence[Finding]) -> str:
    """The verdict in one line, as ``--quiet`` ends with it."""
    score = score_of(run)
    result = f"{score.label} {score.text} (blind guess {score.blind_text})" if score else "nothing evaluated"
    slugs = ", ".join(finding.slug for finding in findings) or "none"
    return f"{run.status}: {result}; findings: {slugs}; {run.folder}"


def findings_text(run: Run, findings: Sequence[Finding]) -> RenderableType:
    """The findings, most important cause first, each with what it explains and where to read on; then what was not judged."""
    found = [
        _finding_text(place, finding, second_seed(run, finding)) for place, finding in enumerate(findings, start=1)
    ]
    return Group(*(found or [Text("No findings.")]), *(Text(sentence, "dim") for sentence in cannot_judge(run)))


def finding_line(finding: Finding) -> Text:
    """A finding in one line, as it appears during a training."""
    severity = (finding.severity.value, STYLES[finding.severity])
    return Text.assemble(severity, "  ", (title(finding.slug), "bold"), f"  {finding.message}")


def _finding_text(place: int, finding: Finding, again: str | None) -> RenderableType:
    where = f", {finding.where}" if finding.where else ""
    where += f", {finding.place}" if finding.place else ""
    head = Text.assemble(
        f"{place}. ",
        (finding.severity.value, STYLES[finding.severity]),
        "  ",
        (title(finding.slug), "bold"),
        (f"{where}, since step {number(finding.since_step)}, confidence {finding.confidence:.0%}", "dim"),
    )
    lines: list[RenderableType] = [Text(finding.message)]
    if finding.folded:
        lines.append(Text(f"It explains: {'; '.join(title(inner.slug) for inner in finding.folded)}.", "dim"))
    if again:
        lines.append(Text(again, "dim"))
    lines.append(Text(f"markone explain {finding.slug}", "cyan"))
    return Group(head, Padding(Group(*lines), (0, 0, 0, 3), expand=False))


def command_lines(commands: Sequence[tuple[str, str]]) -> RenderableType:
    """What each thing is called and the command or path for it, never wrapped, so that it can be copied."""
    width = max(len(what) for what, _ in commands)
    rows = [Text.assemble((f"{what:<{width}}  ", "dim"), (command, "cyan")) for what, command in commands]
    for row in rows:
        row.no_wrap, row.overflow = True, "ignore"
    return Group(*rows)


def _next_steps(run: Run) -> list[tuple[str, str]]:
    steps = [("run", str(run.folder)), ("report", str(run.folder / "report.html"))]
    if run.status in ("interrupted", "killed"):
        return [*steps, ("go on", f"markone train --resume {run.folder}")]
    if run.status == "non-finite":
        return [*steps, ("look", f"markone diagnose {run.folder}")]
    return [*steps, ("test", f"markone test {run.folder}"), ("predict", f"markone predict {run.folder} FILES")]


def metrics_table(run: Run) -> RenderableType:
    """Metrics by part, of the kept weights, beside the blind guess."""
    metrics = run.metrics()
    parts = [part for part in ("training", "validation") if part in metrics]
    names = list(dict.fromkeys(name for part in parts for name in metrics[part]))
    if not names:
        return Text("Nothing has been evaluated yet.", "dim")
    table = plain_table("", *parts, "blind guess", right=[*parts, "blind guess"])
    blind = run.facts.get("blind_guess", {})
    for name in sorted(names, key=lambda name: name == "loss"):
        values = [metrics[part].get(name) for part in parts]
        shown = ["" if value is None else metric_value(name, value) for value in (*values, blind.get(name))]
        table.add_row(metric_name(name), *shown)
    return table


def curve_lines(run: Run) -> list[Text]:
    """The curves of the loss and the main metric, one line each."""
    score = score_of(run)
    wanted = [
        ("batch loss", "loss", run.scalars("loss", "batch")),
        ("validation loss", "loss", run.scalars("loss", "validation")),
    ]
    if score is not None and score.name != "loss":
        wanted.append((score.label, score.name, run.scalars(score.name, score.part)))
    return [_curve_line(label, name, series) for label, name, series in wanted if series]


def _curve_line(label: str, name: str, series: Series) -> Text:
    first, last = metric_value(name, float(series.values[0])), metric_value(name, series.last)
    return Text.assemble((f"{label:<22}", "dim"), (sparkline(series.values), "cyan"), f"  {first} → {last}")


def _facts(run: Run) -> RenderableType:
    samples = ", ".join(f"{number(count)} {part}" for part, count in run.facts.get("samples", {}).items() if count)
    effort = [several(run.steps, "step"), several(round(run.epochs, 2), "epoch"), duration(run.seconds)]
    sizes = run.complexity()
    names = {"parameters": "parameters", "l0": "not zero", "l1": "l1 norm", "l2": "l2 norm"}
    weights = ", ".join(f"{number(sizes[name])} {text}" for name, text in names.items() if name in sizes)
    best = f", best after step {number(run.best_step)}" if run.best_step else ""
    rows = [
        ("samples", samples),
        ("effort", ", ".join(effort) + best),
        ("weights", weights),
        ("folder", str(run.folder)),
    ]
    return command_lines([row for row in rows if row[1]])


def _recipe_lines(run: Run) -> list[RenderableType]:
    if run.recipe is None:
        return []
    table = plain_table("recipe", "")
    for name, value in run.recipe.to_dict().items():
        table.add_row(Text(name, "dim"), Text(inline(value)))
    return [Text(""), table]


def inline(value: Any) -> str:
    """A part of a recipe in one line.

    >>> inline({"kind": "adamw", "lr": 0.01, "amsgrad": None})
    'adamw, lr 0.01, amsgrad none'
    """
    if isinstance(value, Mapping):
        kind = [str(value["kind"])] if "kind" in value else []
        return ", ".join([*kind, *(f"{key} {inline(inner)}" for key, inner in value.items() if key != "kind")])
    if isinstance(value, list):
        return f"[{', '.join(map(inline, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def runs_table(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """One line a run, newest last."""
    table = plain_table(
        "name", "data", "status", "epochs", "validation", "findings", "age", right=["epochs", "validation", "age"]
    )
    now = time.time()
    for row in rows:
        metric, value = row["metric"], row["value"]
        shown = "" if value is None else f"{metric_value(metric, value)} {metric_name(metric)}"
        since = "" if row["started"] is None else age(now - row["started"])
        epochs = "" if row["epochs"] is None else number(round(row["epochs"], 2))
        findings = ", ".join(row["findings"]) or "none"
        table.add_row(row["id"], row["data"] or "", row["status"], epochs, shown, findings, since)
    return table


def comparison_text(a: Run, b: Run, comparison: Comparison) -> RenderableType:
    """Recipe diff, curves, complexity and verdict of two runs."""
    return Group(
        Text.assemble("a  ", (a.id, "bold"), f"  {a.status}"),
        Text.assemble("b  ", (b.id, "bold"), f"  {b.status}"),
        Text(""),
        _recipe_diff(comparison),
        Text(""),
        _side_by_side(a, b),
        Text(""),
        *_paired_curves(a, b),
        Text(""),
        *_judgement(comparison),
    )


def _recipe_diff(comparison: Comparison) -> RenderableType:
    if not comparison.recipe:
        return Text("The recipes are equal.", "dim")
    table = plain_table("recipe", "a", "b")
    for path, (left, right) in comparison.recipe.items():
        table.add_row(path, Text(inline(left)), Text(inline(right)))
    return table


def _side_by_side(a: Run, b: Run) -> RenderableType:
    table = plain_table("", "a", "b", right=["a", "b"])
    ours, theirs = a.metrics(), b.metrics()
    for part in dict.fromkeys([*ours, *theirs]):
        for name in dict.fromkeys([*ours.get(part, {}), *theirs.get(part, {})]):
            values = [side.get(part, {}).get(name) for side in (ours, theirs)]
            table.add_row(f"{part} {metric_name(name)}", *("" if v is None else metric_value(name, v) for v in values))
    left, right = a.complexity(), b.complexity()
    for name in dict.fromkeys([*left, *right]):
        table.add_row(name, *("" if v is None else number(v) for v in (left.get(name), right.get(name))))
    table.add_row("steps", number(a.steps), number(b.steps))
    table.add_row("time", duration(a.seconds), duration(b.seconds))
    return table


def _paired_curves(a: Run, b: Run) -> list[Text]:
    """The curves of both on one scale."""
    score = score_of(a) or score_of(b)
    wanted = [("loss", "validation")] + ([(score.name, score.part)] if score and score.name != "loss" else [])
    lines = []
    for name, part in wanted:
        pair = [run.scalars(name, part) for run in (a, b)]
        finite = [value for series in pair for value in series.values.tolist() if math.isfinite(value)]
        for side, series in zip("ab", pair, strict=True):
            if series and finite:
                bars = sparkline(series.values, lowest=min(finite), highest=max(finite))
                label = f"{part} {metric_name(name)}, {side}"
                lines.append(
                    Text.assemble((f"{label:<26}", "dim"), (bars, "cyan"), f"  {metric_value(name, series.last)}")
                )
    return lines


def _judgement(comparison: Comparison) -> list[Text]:
    score, difference = comparison.scores[0], comparison.difference
    measured = [Text(difference_text(score, difference))] if score and difference else []
    return [*measured, Text(comparison.why[:1].upper() + comparison.why[1:], "bold")]
