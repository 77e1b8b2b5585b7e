"""``markone net``: what a net is made of and what it costs."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from markone.cli.options import Format, FormatOption, SetOption, read_edits

if TYPE_CHECKING:
    from markone.nets import NetSpec


def net(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The net, such as convnet; without it, all are listed.")
    ] = None,
    *,
    settings: SetOption = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="DATA", help="Take the shapes from this data (default: digits).")
    ] = None,
    input: Annotated[
        str | None, typer.Option("--input", metavar="SHAPE", help="The shape of an input, such as 3x32x32 or 13.")
    ] = None,
    outputs: Annotated[int | None, typer.Option("--outputs", metavar="N", help="How many outputs.")] = None,
    format: FormatOption = Format.TEXT,
) -> None:
    """Summarizes a net layer by layer. Output shape, parameters and FLOPs of each; without NAME, all nets."""
    if name is None:
        _list_nets(format)
        return
    from markone.cli.output import open_console, print_json

    spec = _spec(name, settings)
    shape, count = _shapes(data, input, outputs)
    document = _summary(spec, shape, count)
    if format == Format.JSON:
        print_json(document)
    else:
        from markone.report.answers import net_text

        open_console().print(net_text(document))


def _list_nets(format: Format) -> None:
    from markone.cli.output import open_console, print_json
    from markone.nets import NETS
    from markone.report.text import plain_table

    rows = [{"name": net.model_fields["kind"].default, "formula": _first_line(net)} for net in NETS]
    if format == Format.JSON:
        print_json(rows)
        return
    table = plain_table("net", "")
    for row in rows:
        table.add_row(row["name"], row["formula"])
    open_console().print(table)


def _first_line(net: "type[NetSpec]") -> str:
    return (net.__doc__ or "").split("\n\n")[0].replace("\n", " ").strip()


def _spec(name: str, settings: list[str] | None) -> "NetSpec":
    """The net's spec with its edits; ``net.depth=3`` and ``depth=3`` are the same here."""
    from markone.errors import SpecError, did_you_mean
    from markone.nets import NETS

    by_name = {kind: net for net in NETS for kind in net.variants}
    if name not in by_name:
        near = did_you_mean(name, by_name)
        raise SpecError("net-unknown", f"there is no net {name!r}.{near} Allowed: {', '.join(by_name)}.")
    spec: NetSpec = by_name[name].from_dict({"kind": name})
    for path, value in read_edits(settings).items():
        spec = spec.edit(path.removeprefix("net."), value)
    return spec


def _shapes(data: str | None, text: str | None, outputs: int | None) -> tuple[tuple[int, ...], int]:
    """The input shape and the number of outputs, from the options or from the data."""
    from markone.errors import InputError

    if data is not None and text is not None:
        raise InputError("net-two-shapes", "--data and --input both give the shape of an input; give one of them.")
    if text is not None:
        return _read_shape(text), 10 if outputs is None else outputs
    from markone.cli.progress import progress_bar
    from markone.data.source import resolve

    with progress_bar() as progress:
        dataset = resolve(data or "digits").build(progress=progress)
    found = len(dataset.classes) if dataset.classes else len(dataset.target_names)
    return dataset.input_shape, found if outputs is None else outputs


def _read_shape(text: str) -> tuple[int, ...]:
    from markone.errors import InputError

    sizes = text.lower().replace("×", "x").split("x")
    if not all(size.isascii() and size.isdecimal() and int(size) for size in sizes):
        raise InputError("input-shape", f"--input {text} is no shape; write 3x32x32 for images or 13 for table rows.")
    return tuple(map(int, sizes))


def _summary(spec: "NetSpec", shape: tuple[int, ...], outputs: int) -> dict[str, Any]:
    """The document of ``net``; the net is built without memory for its weights."""
    import torch

    from markone.nets.summary import summarize

    with torch.device("meta"):
        module = spec.build(shape, outputs)
    summary = summarize(module, shape)
    return {
        "net": spec.to_dict(),
        "input_shape": list(shape),
        "outputs": outputs,
        "parameters": summary.parameters,
        "trainable": summary.trainable,
        "flops": summary.flops,
        "layers": [
            {
                "name": layer.name,
                "kind": layer.kind,
                "output_shape": list(layer.output_shape[1:]),
                "parameters": layer.parameters,
                "flops": layer.flops,
            }
            for layer in summary.layers
        ],
    }
