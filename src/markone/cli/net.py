"""``markone net``: what a net is made of, what it costs, and the chain rule through a small one."""

import math
from collections.abc import Iterable, Mapping
from itertools import cycle, islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from markone.cli.options import Format, FormatOption, SetOption, read_edits

if TYPE_CHECKING:
    from torch import Tensor

    from markone.losses import LossSpec
    from markone.nets import NetSpec
    from markone.spec import Spec

TRACED = {"mlp": {"depth": 2, "width": 2, "activation": "tanh"}}  # a net whose every number fits a page
TRACED_ROW, TRACED_IMAGE = (2,), (8, 8)  # a trace writes every number of its input down
TRACED_SAMPLE = (0.5, -1.0)  # repeated until the input is full


def net(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The net, such as resnet-50; without it, all are listed.")
    ] = None,
    *,
    settings: SetOption = None,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="DATA", help="Take the shapes from this data (default: what it was made for)."),
    ] = None,
    input: Annotated[
        str | None, typer.Option("--input", metavar="SHAPE", help="The shape of an input, such as 3x32x32 or 13.")
    ] = None,
    outputs: Annotated[int | None, typer.Option("--outputs", metavar="N", help="How many outputs.")] = None,
    every_layer: Annotated[bool, typer.Option("--all", help="Every layer of a deep net, not only its blocks.")] = False,
    trace: Annotated[
        bool, typer.Option("--trace", help="The chain rule instead, back from the loss of one sample to one weight.")
    ] = False,
    weight: Annotated[
        str | None,
        typer.Option(
            "--weight",
            metavar="NAME[I,J]",
            help="With --trace: which weight (default: the first that the loss depends on).",
        ),
    ] = None,
    sample: Annotated[
        str | None,
        typer.Option("--sample", metavar="X,X,...", help="With --trace: the input (default: 0.5,-1,0.5,...)."),
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", metavar="T", help="With --trace: the class or the numbers (default: 1).")
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option("--loss", metavar="LOSS", help="With --trace (default: squared of 1 output, else cross-entropy)."),
    ] = None,
    format: FormatOption = Format.TEXT,
) -> None:
    """Summarizes a net layer by layer, or traces the chain rule. Window, output shape, parameters, FLOPs, receptive field and
    memory of each layer; without NAME, all nets."""
    from markone.cli.output import open_console, print_json
    from markone.report import nets

    _require_trace(trace, name, weight=weight, sample=sample, target=target, loss=loss)
    document: Any
    if name is None:
        document = _rows()
        text = nets.nets_text(document)
    elif trace:
        spec = _spec(name, settings, fields=TRACED.get(name))
        made_for = (spec.variants[spec.kind].input_shape[0], *TRACED_IMAGE) if spec.images_only else TRACED_ROW
        shape, count = _shapes((made_for, 1), data, input, outputs)
        document = _trace(spec, shape, count, weight=weight, sample=sample, target=target, loss=loss)
        text = nets.trace_text(document)
    else:
        spec = _spec(name, settings)
        variant = spec.variants[name]
        document = _summary(spec, *_shapes((variant.input_shape, variant.outputs), data, input, outputs))
        text = nets.net_text(document, every_layer=every_layer)
    print_json(document) if format == Format.JSON else open_console().print(text)


def _rows() -> list[dict[str, Any]]:
    """The document of ``net`` without a name."""
    from dataclasses import asdict

    from markone.nets.catalogue import catalogue

    return [asdict(entry) for entry in catalogue()]


def _member(what: str, kind: str, members: "Iterable[type[Spec]]") -> Any:
    """The member of a family that has this kind."""
    from markone.errors import SpecError, did_you_mean
    from markone.spec import kinds_of

    by_kind = {name: member for member in members for name in kinds_of(member)}
    if kind not in by_kind:
        near = did_you_mean(kind, by_kind)
        raise SpecError(f"{what}-unknown", f"there is no {what} {kind!r}.{near} Allowed: {', '.join(by_kind)}.")
    return by_kind[kind]


def _spec(name: str, settings: list[str] | None, *, fields: Mapping[str, Any] | None = None) -> "NetSpec":
    """The net's spec with its edits; ``net.depth=3`` and ``depth=3`` are the same here."""
    from markone.errors import InputError
    from markone.nets import NETS

    spec: NetSpec = _member("net", name, NETS).from_dict({"kind": name, **(fields or {})})
    for path, value in read_edits(settings).items():
        if path.removeprefix("net.") == "kind":
            raise InputError("net-kind", f"--set {path}={value} names another net; write markone net {value} instead.")
        spec = spec.edit(path.removeprefix("net."), value)
    return spec


def _shapes(
    made_for: tuple[tuple[int, ...], int], data: str | None, text: str | None, outputs: int | None
) -> tuple[tuple[int, ...], int]:
    """The input shape and the number of outputs: from the options, from the data, or what the net was made for."""
    from markone.errors import InputError

    if data is not None and text is not None:
        raise InputError("net-two-shapes", "--data and --input both give the shape of an input; give one of them.")
    shape, count = made_for
    if text is not None:
        shape = _read_shape(text)
    if data is not None:
        from markone.cli.progress import progress_bar
        from markone.data.source import resolve

        with progress_bar() as progress:
            dataset = resolve(data).build(progress=progress)
        shape, count = dataset.input_shape, len(dataset.classes) if dataset.classes else len(dataset.target_names)
    return shape, count if outputs is None else outputs


def _read_shape(text: str) -> tuple[int, ...]:
    from markone.errors import InputError

    sizes = text.lower().replace("×", "x").split("x")
    if not all(size.isascii() and size.isdecimal() and int(size) for size in sizes):
        raise InputError("input-shape", f"--input {text} is no shape; write 3x32x32 for images or 13 for table rows.")
    return tuple(map(int, sizes))


def _summary(spec: "NetSpec", shape: tuple[int, ...], outputs: int) -> dict[str, Any]:
    """The document of ``net`` with a name; the net is built without memory for its weights."""
    from dataclasses import asdict

    import torch

    from markone.nets.summary import summarize

    with torch.device("meta"):
        module = spec.build(shape, outputs)
    variant = spec.variants[spec.kind]
    document = {**asdict(summarize(module, shape)), "input_shape": shape}
    for layer in document["layers"]:
        layer["output_shape"] = layer["output_shape"][1:]
    return {"net": spec.to_dict(), "paper": variant.paper, "year": variant.year, "outputs": outputs, **document}


def _require_trace(trace: bool, name: str | None, **options: str | None) -> None:
    """Raises InputError where --trace lacks a net, or an option of it stands alone."""
    from markone.errors import InputError

    alone = [f"--{option}" for option, value in options.items() if value is not None]
    if alone and not trace:
        raise InputError("net-trace", f"{alone[0]} is an option of --trace; add --trace or leave it out.")
    if trace and name is None:
        raise InputError("net-trace", "--trace needs a net; write markone net mlp --trace.")


def _trace(
    spec: "NetSpec",
    shape: tuple[int, ...],
    outputs: int,
    *,
    weight: str | None,
    sample: str | None,
    target: str | None,
    loss: str | None,
) -> dict[str, Any]:
    """The document of ``net --trace``; the weights are drawn as a training's of seed 0 are."""
    from dataclasses import asdict

    import torch

    from markone.losses import LOSSES
    from markone.nets.initializers import HeNormal
    from markone.nets.trace import trace
    from markone.seeds import torch_generator

    kind = loss or ("squared" if outputs == 1 else "cross-entropy")
    chosen: LossSpec = _member("loss", kind, LOSSES).from_dict({"kind": kind})
    net = spec.build(shape, outputs)
    HeNormal().build()(net, torch_generator(0, "init"))
    places = math.prod(shape)
    usual = list(islice(cycle(TRACED_SAMPLE), places))
    values = usual if sample is None else _numbers("--sample", sample, places)
    x = torch.tensor(values, dtype=torch.float64).reshape(shape)
    found = trace(net, x, _target(target, chosen, outputs), chosen, weight=weight)
    return {"net": spec.to_dict(), **asdict(found), "difference": found.difference}


def _target(text: str | None, loss: "LossSpec", outputs: int) -> "Tensor":
    """A class for a loss of classification, a number for each output for one of regression."""
    import torch

    from markone.errors import InputError

    if "classification" not in loss.tasks:
        values = [1.0] * outputs if text is None else _numbers("--target", text, outputs)
        return torch.tensor(values, dtype=torch.float64)
    if outputs == 1 and loss.outputs(2) > 1:
        raise InputError("net-trace", f"loss {loss.kind} needs a score for each class; take --outputs 2 or more.")
    classes = [str(place) for place in range(max(outputs, 2))]
    if text not in (None, *classes):
        raise InputError(
            "net-trace", f"--target {text} is no class of loss {loss.kind}; take a number from 0 to {classes[-1]}."
        )
    return torch.tensor(int(text or 1))


def _numbers(option: str, text: str, count: int) -> list[float]:
    from markone.errors import InputError

    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != count or not all(map(math.isfinite, values)):
        raise InputError("net-trace", f"{option} {text} is not {count} number{'s' * (count > 1)} with commas between.")
    return values
