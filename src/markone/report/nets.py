"""What ``markone net`` answers, as rich renderables for the terminal."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.text import Text

from markone.report.text import inline, plain_table
from markone.report.words import several

MOST_ROWS = 60  # about what two screens hold; a deeper net is shown by blocks
MOST_WINDOWS = 3  # of a block that are named; a bottleneck has three

Layer = Mapping[str, Any]
Rows = tuple[str, list[Layer]]


@dataclass(frozen=True)
class _Fitting:
    """A table that leaves out columns, the least useful first, until it fits the terminal."""

    rows: Sequence[Mapping[str, str]]
    right: tuple[str, ...]
    least_useful: tuple[str, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for dropped in range(len(self.least_useful) + 1):
            shown = [column for column in self.rows[0] if column not in self.least_useful[:dropped]]
            table = plain_table(*shown, right=self.right)
            table.padding = (0, 2, 0, 0)
            for row in self.rows:
                table.add_row(*(Text(row[column]) for column in shown))
            if Measurement.get(console, options.update(max_width=10_000), table).maximum <= options.max_width:
                break
        yield table


def net_text(document: Mapping[str, Any], *, every_layer: bool = False) -> RenderableType:
    """The layers of a net in the order of the forward pass, a deep net by its blocks, and the totals."""
    layers: Sequence[Layer] = document["layers"]
    groups = _each(layers) if every_layer else folded(layers)
    images = len(document["input_shape"]) == 3
    table = _Fitting(
        [_row(name, group, images=images) for name, group in groups],
        ("output", "parameters", "FLOPs", "sees", "memory"),
        ("memory", "kind", "window", "FLOPs", "sees"),
    )
    legend = (
        "window: kernel, s stride, p padding, d dilation, g groups; sees: receptive field / effective stride, in pixels"
    )
    return Group(
        Text(inline(document["net"]), "bold"),
        Text(f"{document['paper']}, {document['year']}", "dim"),
        Text(f"input {_sides(document['input_shape'])}, {several(document['outputs'], 'output')}", "dim"),
        Text(""),
        table,
        Text(""),
        *([Text(legend, "dim")] if images else []),
        *([Text("--all shows every layer.", "dim")] if len(groups) < len(layers) else []),
        Text(f"{several(document['parameters'], 'parameter')}, {document['flops']:,} FLOPs for one input."),
        Text(f"Training keeps {_bytes(document['training_bytes'])} of activations for each input, at float32."),
    )


def folded(layers: Sequence[Layer]) -> list[Rows]:
    """The layers in groups that a row each can show: single ones, else blocks as deep as MOST_ROWS lets them be."""
    depth = max(layer["name"].count(".") for layer in layers) + 1
    groups = _each(layers)
    while len(groups) > MOST_ROWS and depth > 1:
        depth -= 1
        groups = _alike(_blocks(layers, depth))
    return groups


def _each(layers: Sequence[Layer]) -> list[Rows]:
    return [(layer["name"], [layer]) for layer in layers]


def _blocks(layers: Sequence[Layer], depth: int) -> Iterator[Rows]:
    for prefix, inner in groupby(layers, key=lambda layer: ".".join(layer["name"].split(".")[:depth])):
        block = list(inner)
        yield (prefix if len(block) > 1 else block[0]["name"]), block


def _alike(blocks: Iterable[Rows]) -> list[Rows]:
    """Neighbouring blocks of one parent whose layers are the same, put together: ``layer1.1 to 2``."""
    groups, last = list[Rows](), None
    for name, block in blocks:
        same = ("kind", "kernel", "stride", "output_shape", "parameters")
        parent, _, own = name.rpartition(".")
        form = (parent, [[layer[key] for key in same] for layer in block])
        if len(block) > 1 and form == last:
            before, layers = groups[-1]
            groups[-1] = (f"{before.partition(' ')[0]} to {own}", [*layers, *block])
        else:
            groups.append((name, block))
        last = form
    return groups


def _row(name: str, group: Sequence[Layer], *, images: bool) -> dict[str, str]:
    """One row: of a layer, a block, or several blocks alike; what they give is what the last of them gives."""
    last = group[-1]
    used = any(layer["used"] for layer in group)
    return {
        "layer": name or "(net)",
        "kind": last["kind"] if len(group) == 1 else several(len(group), "layer"),
        **({"window": _windows(group)} if images else {}),
        "output": _sides(last["output_shape"]) if used else "training only",
        "parameters": f"{sum(layer['parameters'] for layer in group):,}",
        "FLOPs": short(sum(layer["flops"] for layer in group)),
        **({"sees": _sees(last)} if images else {}),
        "memory": _bytes(sum(layer["activation_bytes"] for layer in group)) if used else "",
    }


def _windows(group: Sequence[Layer]) -> str:
    """The window of a layer whole; of a block its kernels, of layers with parameters if it has any."""
    if len(group) == 1:
        return _window(group[0]) if group[0]["kernel"] else ""
    kernels = [_sides(layer["kernel"]) for layer in group if layer["kernel"] and layer["parameters"]]
    if len(kernels) > MOST_WINDOWS:
        names = list(dict.fromkeys(kernels))
        return f"{len(kernels)} of {' '.join(names[:MOST_WINDOWS])}{' …' if len(names) > MOST_WINDOWS else ''}"
    return " ".join(kernels)


def _window(layer: Layer) -> str:
    """``7×7 s2 p3``; what is as usual is left out: stride 1, padding 0, dilation 1, groups 1."""
    text = _sides(layer["kernel"])
    for letter, key, usual in (("s", "stride", 1), ("p", "padding", 0), ("d", "dilation", 1)):
        values = layer[key] or [usual]
        text += f" {letter}{_one(values)}" if set(values) != {usual} else ""
    return f"{text} g{layer['groups']}" if (layer["groups"] or 1) > 1 else text


def _sees(layer: Layer) -> str:
    field, stride = layer["receptive_field"], layer["effective_stride"]
    return "" if not field else "all" if stride is None else f"{_one(field)} / {_one(stride)}"


def _sides(values: Sequence[int]) -> str:
    return "×".join(map(str, values))


def _one(values: Sequence[float]) -> str:
    """One number where both sides are equal."""
    return "×".join(f"{value:g}" for value in (values if len(set(values)) > 1 else values[:1]))


def short(count: float, unit: str = "") -> str:
    """Three digits and a letter for thousands, millions, ...

    >>> short(0), short(999), short(1234567), short(8.18e9)
    ('0', '999', '1.23 M', '8.18 G')
    """
    for size, letter in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size * 0.9995:
            return f"{count / size:#.3g}".rstrip(".") + f" {letter}{unit}"
    return f"{count:g} {unit}".strip()


def _bytes(count: float) -> str:
    return short(count, "B")


def nets_text(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """All nets, one a line: by year."""
    shown = [
        {
            "net": row["name"],
            "year": str(row["year"]),
            "parameters": "" if row["parameters"] is None else f"{row['parameters']:,}",
            "FLOPs": "" if row["flops"] is None else short(row["flops"]),
            "input": _sides(row["input_shape"]),
            "paper": cited(row["paper"]),
        }
        for row in rows
    ]
    table = _Fitting(shown, ("parameters", "FLOPs", "input"), ("input", "FLOPs"))
    return Group(table, Text(""), Text("markone net NAME shows its layers; FLOPs are of one input.", "dim"))


LONGEST_TITLE = 37
_NAME = r"[^ ,]+(?: [^ ,]+){0,2}"  # van der Maaten
_AUTHORS = re.compile(rf"({_NAME}?)(?:(?:, {_NAME})* and {_NAME})?, ")


def cited(paper: str) -> str:
    """The first author and as much of the title as a terminal of 100 columns has room for.

    >>> cited("He, Zhang, Ren and Sun, Deep residual learning for image recognition")
    'He: Deep residual learning for image …'
    """
    authors = _AUTHORS.match(paper)
    first, title = (authors[1], paper[authors.end() :]) if authors else ("", paper)
    room = LONGEST_TITLE - len(first)
    if len(title) > room:
        title = title[:room].rpartition(" ")[0].rstrip(":,") + " …"
    return f"{first}: {title}"


MOST_UNITS = 12  # of a vector that are shown whole
ENDS = 3  # of a longer one: so many at its beginning, and the last


def trace_text(document: Mapping[str, Any]) -> RenderableType:
    """The values of the forward pass, the loss, the factors back to the weight, and what their product is."""
    forward = plain_table("forward", "", "gives")
    forward.add_row("x", "", _vector(document["input"]))
    for layer in document["forward"]:
        forward.add_row(layer["layer"], Text(layer["formula"]), _vector(layer["values"]))
    forward.add_row("loss", f"{document['loss_kind']}, target {_vector(document['target'])}", f"{document['loss']:.6g}")
    backward = plain_table("backward", "", "factor", "product so far")
    for factor in document["factors"]:
        backward.add_row(Text(factor["layer"]), Text(factor["formula"]), _factor(factor), _vector(factor["gradient"]))
    return Group(
        Text(inline(document["net"]), "bold"),
        Text(""),
        forward,
        Text(""),
        backward,
        Text(""),
        Text(_product_line(document)),
        Text(
            f"product {document['product']:.17g}, autograd {document['autograd']:.17g}, "
            f"difference {document['difference']:.2g}"
        ),
    )


def _product_line(document: Mapping[str, Any]) -> str:
    """``dL/dw = a × b × c``: of plain numbers where every layer has one unit, else dL/dz dz/dw over the z that w is in."""
    factors, start = document["factors"], f"dL/d{document['weight']} ="
    value = f"{document['product']:.6g}"
    if all(len(factor["jacobian"]) == len(factor["jacobian"][0]) == 1 for factor in factors):
        return f"{start} {' × '.join(_signed(factor['jacobian'][0][0]) for factor in factors)} = {value}"
    pairs = list(zip(factors[-2]["gradient"], (entry for (entry,) in factors[-1]["jacobian"]), strict=True))
    places = [place for place, (_, entry) in enumerate(pairs) if entry] or [
        0
    ]  # a linear layer's weight is in one z alone
    names = _sum([f"dL/dz{place} × dz{place}/dw" for place in places])
    return f"{start} {names} = {_sum([' × '.join(map(_signed, pairs[place])) for place in places])} = {value}"


def _sum(terms: Sequence[str]) -> str:
    return " + ".join(terms if len(terms) <= ENDS else [*terms[:ENDS], "…"])


def _signed(value: float) -> str:
    return f"({value:.6g})" if value < 0 else f"{value:.6g}"


def _factor(factor: Mapping[str, Any]) -> str:
    """A diagonal as such, a single number alone, other matrices by rows."""
    rows = factor["jacobian"]
    if factor["formula"].startswith("diag"):
        return f"diag{_vector([row[place] for place, row in enumerate(rows)])}"
    if len(rows) == 1:
        return _vector(rows[0])
    shown = rows if len(rows) <= MOST_UNITS else [*rows[:ENDS], None, rows[-1]]
    return "\n".join("…" if row is None else _vector(row) for row in shown)


def _vector(values: Sequence[float]) -> str:
    """``(1, 2)``; one number alone; a long one by its ends and its size."""
    texts = [f"{value:.6g}" for value in values]
    if len(texts) == 1:
        return texts[0]
    if len(texts) > MOST_UNITS:
        texts = [*texts[:ENDS], "…", texts[-1]]
        return f"({', '.join(texts)}) of {len(values)}"
    return f"({', '.join(texts)})"
