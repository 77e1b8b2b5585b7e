"""``markone net``: what a net is made of, what it costs, and the chain rule through a small one."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from markone.cli.options import Format, FormatOption, SetOption, read_edits

if TYPE_CHECKING:
    from torch import Tensor

    from markone.losses import LossSpec
    from markone.nets import NetSpec

TRACED = {"mlp": {"depth": 2, "width": 2, "activation": "tanh"}}  # a net whose every number fits a page
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
        typer.Option("--weight", metavar="NAME[I,J]", help="With --trace: which weight (default: the first)."),
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
    if trace and name is not None:
        found = _trace(name, settings, data, input, outputs, weight=weight, sample=sample, target=target, loss=loss)
        print_json(found) if format == Format.JSON else open_console().print(nets.trace_text(found))
        return
    if name is None:
        rows = _rows()
        print_json(rows) if format == Format.JSON else open_console().print(nets.nets_text(rows))
        return
    spec = _spec(name, settings)
    variant = spec.variants[name]
    shape, count = _shapes((variant.input_shape, variant.outputs), data, input, outputs)
    document = _summary(spec, shape, count)
    if format == Format.JSON:
        print_json(document)
    else:
        open_console().print(nets.net_text(document, every_layer=every_layer))


def _rows() -> list[dict[str, Any]]:
    """The document of ``net`` without a name."""
    from markone.nets.catalogue import catalogue

    return [
        {
            "name": entry.kind,
            "year": entry.year,
            "paper": entry.paper,
            "parameters": entry.parameters,
            "flops": entry.flops,
            "layers": entry.layers,
            "input_shape": list(entry.input_shape),
            "outputs": entry.outputs,
        }
        for entry in catalogue()
    ]


def _spec(name: str, settings: list[str] | None, *, fields: Mapping[str, Any] | None = None) -> "NetSpec":
    """The net's spec with its edits; ``net.depth=3`` and ``depth=3`` are the same here."""
    from markone.errors import SpecError, did_you_mean
    from markone.nets import NETS

    by_name = {kind: net for net in NETS for kind in net.variants}
    if name not in by_name:
        near = did_you_mean(name, by_name)
        raise SpecError("net-unknown", f"there is no net {name!r}.{near} Allowed: {', '.join(by_name)}.")
    spec: NetSpec = by_name[name].from_dict({"kind": name, **(fields or {})})
    for path, value in read_edits(settings).items():
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
    import torch

    from markone.nets.summary import summarize

    with torch.device("meta"):
        module = spec.build(shape, outputs)
    summary, variant = summarize(module, shape), spec.variants[spec.kind]
    return {
        "net": spec.to_dict(),
        "paper": variant.paper,
        "year": variant.year,
        "input_shape": list(shape),
        "outputs": outputs,
        "parameters": summary.parameters,
        "trainable": summary.trainable,
        "flops": summary.flops,
        "training_bytes": summary.training_bytes,
        "layers": [
            {
                "name": layer.name,
                "kind": layer.kind,
                "kernel": layer.kernel,
                "stride": layer.stride,
                "padding": layer.padding,
                "dilation": layer.dilation,
                "groups": layer.groups,
                "output_shape": list(layer.output_shape[1:]),
                "parameters": layer.parameters,
                "flops": layer.flops,
                "receptive_field": layer.receptive_field,
                "effective_stride": layer.effective_stride,
                "activation_bytes": layer.activation_bytes,
                "used": layer.used,
            }
            for layer in summary.layers
        ],
    }


def _require_trace(trace: bool, name: str | None, **options: str | None) -> None:
    """Raises InputError where --trace lacks a net, or an option of it stands alone."""
    from markone.errors import InputError

    alone = [f"--{option}" for option, value in options.items() if value is not None]
    if alone and not trace:
        raise InputError("net-trace", f"{alone[0]} is an option of --trace; add --trace or leave it out.")
    if trace and name is None:
        raise InputError("net-trace", "--trace needs a net; write markone net mlp --trace.")


def _trace(
    name: str,
    settings: list[str] | None,
    data: str | None,
    input: str | None,
    outputs: int | None,
    *,
    weight: str | None,
    sample: str | None,
    target: str | None,
    loss: str | None,
) -> dict[str, Any]:
    """The document of ``net --trace``; the weights are drawn as a training's of seed 0 are."""
    from dataclasses import asdict

    from markone.nets.initializers import HeNormal
    from markone.nets.trace import trace
    from markone.seeds import torch_generator

    spec = _spec(name, settings, fields=TRACED.get(name))
    shape, count = _shapes(((2,), 1), data, input, outputs)
    chosen = _loss(loss or ("squared" if count == 1 else "cross-entropy"))
    net = spec.build(shape, count)
    HeNormal().build()(net, torch_generator(0, "init"))
    found = trace(net, _sample(sample, shape), _target(target, chosen, count), chosen, weight=weight)
    return {"net": spec.to_dict(), **asdict(found), "difference": found.difference}


def _loss(name: str) -> "LossSpec":
    from markone.errors import SpecError, did_you_mean
    from markone.losses import LOSSES

    by_name = {loss.model_fields["kind"].default: loss for loss in LOSSES}
    if name not in by_name:
        near = did_you_mean(name, by_name)
        raise SpecError("net-trace", f"there is no loss {name}.{near} Allowed: {', '.join(by_name)}.")
    return by_name[name].from_dict({"kind": name})


def _sample(text: str | None, shape: tuple[int, ...]) -> "Tensor":
    """One input in the net's shape. Raises InputError unless there are as many numbers as it has places."""
    import torch

    count = math.prod(shape)
    repeated = [TRACED_SAMPLE[place % len(TRACED_SAMPLE)] for place in range(count)]
    values = repeated if text is None else _numbers("--sample", text, count)
    return torch.tensor(values, dtype=torch.float64).reshape(shape)


def _target(text: str | None, loss: "LossSpec", outputs: int) -> "Tensor":
    """A class for a loss of classification, a number for each output for one of regression."""
    import torch

    from markone.errors import InputError

    if "classification" not in loss.tasks:
        values = [1.0] * outputs if text is None else _numbers("--target", text, outputs)
        return torch.tensor(values, dtype=torch.float64)
    if outputs == 1 and loss.outputs(2) > 1:
        raise InputError("net-trace", f"loss {loss.kind} needs a score for each class; take --outputs 2 or more.")
    classes = max(outputs, 2)
    if text is not None and not (text.isascii() and text.isdecimal() and int(text) < classes):
        raise InputError(
            "net-trace", f"--target {text} is no class of loss {loss.kind}; take a number from 0 to {classes - 1}."
        )
    return torch.tensor(1 if text is None else int(text))


def _numbers(option: str, text: str, count: int) -> list[float]:
    from markone.errors import InputError

    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != count or not all(map(math.isfinite, values)):
        raise InputError("net-trace", f"{option} {text} is not {count} number{'s' * (count > 1)} with commas between.")
    return values
