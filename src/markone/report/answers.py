"""What test, predict and data answer, as rich renderables for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from markone.report.text import plain_table
from markone.report.words import listing, metric_name, metric_value, number, several, share

MOST_PAIRS = 20
MOST_ROWS = 40  # of a table that a terminal shows; the JSON document has all


def test_text(document: Mapping[str, Any]) -> RenderableType:
    """The sealed estimate with its intervals, and how often it has been opened."""
    table = plain_table("", "estimate", "95 % interval", "method", right=["estimate", "95 % interval"])
    for name, found in document["metrics"].items():
        low, value, high = (metric_value(name, found[key]) for key in ("low", "value", "high"))
        table.add_row(metric_name(name), value, f"{low} to {high}", found["method"])
    openings = document["openings"]
    again = (
        "This was the first opening, so the estimate is unbiased."
        if openings == 1
        else f"It has been opened {openings} times: what was chosen after the first look is no longer judged by unseen data."
    )
    return Group(
        Text.assemble((str(document["run"]), "bold"), f"  test part, {several(document['samples'], 'sample')}"),
        Text(""),
        table,
        Text(""),
        Text(again),
    )


def predictions_text(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """One line an input: the class with its probability and the next likely ones, or the numbers."""
    if all("class" in row or "error" in row for row in rows):
        table = plain_table("input", "class", "probability", "then", right=["probability"])
        for row in rows:
            table.add_row(*map(Text, _class_cells(row)))
        return table
    if all("shares" in row or "error" in row for row in rows):
        return _shares_text(rows)
    names = list(dict.fromkeys(name for row in rows for name in row if name not in ("input", "error")))
    table = plain_table("input", *names, right=names)
    for row in rows:
        table.add_row(Text(row["input"]), *(Text(_cell(row, name)) for name in names))
    return table


def _shares_text(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """One line a picture: the classes that it shows, the largest first, and its mask where one was written."""
    written = any("mask" in row for row in rows)
    table = plain_table("input", "pixels", *(["mask"] if written else []))
    for row in rows:
        if "error" in row:
            cells = [row["input"], f"cannot be read: {row['error']}"]
        else:
            shown = sorted((item for item in row["shares"].items() if item[1]), key=lambda item: -item[1])
            cells = [row["input"], ", ".join(f"{name} {share(part)}" for name, part in shown), row.get("mask", "")]
        table.add_row(*map(Text, cells[: 2 + written]))
    return table


def _class_cells(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    if "error" in row:
        return row["input"], f"cannot be read: {row['error']}", "", ""
    others = sorted(row["probabilities"].items(), key=lambda item: -item[1])[1:3]
    return row["input"], row["class"], share(row["probability"]), ", ".join(f"{name} {share(p)}" for name, p in others)


def _cell(row: Mapping[str, Any], name: str) -> str:
    return number(row[name]) if name in row else f"cannot be read: {row.get('error', '')}"


def datasheet_text(sheet: Mapping[str, Any]) -> RenderableType:
    """Counts, balance, ranges, duplicates and odd files; long lists are cut and say so."""
    shape = "×".join(map(str, sheet["input_shape"]))
    parts = listing([f"{number(count)} {part}" for part, count in sheet["parts"].items()])
    blocks: list[RenderableType] = [
        Text.assemble((sheet["name"], "bold"), f"  {several(sheet['samples'], 'sample')}, {sheet['kind']} of {shape}"),
        Text(f"split into {parts}", "dim"),
    ]
    for block in (_classes(sheet), _features("input", sheet["inputs"]), _features("target", sheet["targets"])):
        blocks += [Text(""), block] if block else []
    sentences = [*_oddities(sheet), *sheet["notes"]]
    blocks += [Text(""), *map(Text, sentences)] if sentences else []
    blocks += _files("set aside", sheet["set_aside"]) + _files("used in spite of something", sheet["odd"])
    return Group(*blocks)


def _classes(sheet: Mapping[str, Any]) -> RenderableType | None:
    """The balance, largest class first."""
    if not sheet["classes"]:
        return None
    parts = list(next(iter(sheet["classes"].values())))
    table = plain_table("class", *parts, "share", right=[*parts, "share"])
    counts = {name: sum(row.values()) for name, row in sheet["classes"].items()}
    whole = max(1, sum(counts.values()))
    names = sorted(counts, key=lambda name: -counts[name])
    for name in names[:MOST_ROWS]:
        row = sheet["classes"][name]
        table.add_row(Text(name), *(number(row[part]) for part in parts), share(counts[name] / whole))
    return _cut(table, len(names))


def _features(what: str, features: Sequence[Mapping[str, Any]]) -> RenderableType | None:
    if not features:
        return None
    columns = ("smallest", "largest", "mean", "std", "missing")
    table = plain_table(what, *columns, right=columns)
    for feature in features[:MOST_ROWS]:
        table.add_row(Text(feature["name"]), *("" if feature[c] is None else number(feature[c]) for c in columns))
    return _cut(table, len(features))


def _cut(table: RenderableType, rows: int) -> RenderableType:
    if rows <= MOST_ROWS:
        return table
    return Group(table, Text(f"and {number(rows - MOST_ROWS)} more; --format json has all.", "dim"))


def _oddities(sheet: Mapping[str, Any]) -> list[str]:
    """Duplicates, constant columns and groups, a sentence each."""
    sentences = []
    for kind, found in sheet["duplicates"].items():
        if found["pairs"]:
            across = f", {number(found['across_classes'])} of them across classes" if found["across_classes"] else ""
            sentences.append(f"{several(found['pairs'], 'pair')} of {kind} duplicates{across}:")
            sentences += [f"  {pair['first']} and {pair['second']}" for pair in found["named"][:MOST_PAIRS]]
            if found["pairs"] > MOST_PAIRS:
                sentences.append(f"  and {number(found['pairs'] - MOST_PAIRS)} more; --format json has more of them.")
    if not sentences:
        sentences.append("No duplicates.")
    if sheet["constant"]:
        sentences.append(f"Constant, so that they tell nothing: {listing(sheet['constant'])}.")
    if sheet["groups"] is not None:
        sentences.append(f"{several(sheet['groups'], 'group')}, each kept in one part.")
    return sentences


def _files(what: str, files: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    if not files:
        return []
    table = plain_table(what, "")
    for file in files[:MOST_ROWS]:
        table.add_row(Text(file["path"]), Text(file["reason"]))
    return [Text(""), _cut(table, len(files))]
