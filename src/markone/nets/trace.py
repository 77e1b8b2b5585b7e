"""Trace: the chain rule through a small net, factor by factor, from the loss back to one weight."""

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markone.errors import SpecError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor, nn

    from markone.losses import LossSpec

MOST_ENTRIES = 1_000_000  # of one Jacobian: a thousand units to a thousand; its text and its numbers stay below 100 MB


@dataclass(frozen=True)
class Forward:
    """What one layer gives for the sample."""

    layer: str
    kind: str
    formula: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Factor:
    """One factor of the product, and dL/d(what it leads back to) once it is multiplied in.

    ``jacobian`` is (outputs, inputs) as rows, maps flattened; the first factor, dL/ds, is a row, and the last, of the
    chosen weight, a column. ``gradient`` is the row vector dL/ds J J ... up to here.
    """

    layer: str
    formula: str
    jacobian: tuple[tuple[float, ...], ...]
    gradient: tuple[float, ...]


@dataclass(frozen=True)
class Trace:
    """The forward pass of one sample, its loss, and every factor of d(loss)/d(weight), whose product is ``product``.

    ``autograd`` is what torch's backward pass through the whole net gives for the same weight, in float64 as well.
    """

    input: tuple[float, ...]
    target: tuple[float, ...]
    forward: tuple[Forward, ...]
    loss_kind: str
    loss: float
    weight: str
    value: float
    factors: tuple[Factor, ...]
    product: float
    autograd: float

    @property
    def difference(self) -> float:
        """|product - autograd|."""
        return abs(self.product - self.autograd)


@dataclass(frozen=True)
class _Link:
    """One layer of the chain with what it took and gave, a batch of one."""

    name: str
    module: Any
    input: Any
    output: Any


def trace(net: "nn.Module", x: "Tensor", target: "Tensor", loss: "LossSpec", *, weight: str | None = None) -> Trace:
    """dL/dw = dL/ds J_n ... J_{k+1} dz_k/dw for one input x, without its batch, and one target, in float64 and eval mode.

    s are the scores, J_l the Jacobian of layer l at this input, z_k what the layer of the weight gives. Each factor is
    the derivative of the loss or of one layer alone. ``target`` is a class (an int64 scalar) or numbers (outputs,).
    ``weight`` is a parameter with its place, such as ``head.weight[0,1]``; by default the first of the net whose gradient is
    not 0, or its very first. Raises SpecError where the net is no chain of layers, a layer is too large, or the weight is
    not there. Rumelhart, Hinton and Williams 1986.
    """
    import torch

    twin = copy.deepcopy(net).cpu().double().eval()
    name, place = _read_weight(twin, weight)
    twin.requires_grad_()
    inputs, targets = x.detach().cpu().double().unsqueeze(0), target.detach().cpu().unsqueeze(0)
    targets = targets.double() if targets.is_floating_point() else targets
    criterion = loss.build()
    with torch.enable_grad():
        chain, scores = _run(twin, inputs)
        value = criterion(scores, targets)
        parameters = dict(twin.named_parameters())
        gradients = torch.autograd.grad(value, list(parameters.values()), materialize_grads=True)
        gradient_of = dict(zip(parameters, gradients, strict=True))
        if weight is None:
            name, place = _first_moved(gradient_of) or (name, place)
        factors = _factors(chain, _jacobian(lambda s: criterion(s, targets), scores.detach()), name, place)
    return Trace(
        _row(inputs),
        _row(targets.double()),
        tuple(
            Forward(link.name, type(link.module).__name__, _formula(link.module), _row(link.output)) for link in chain
        ),
        loss.kind,
        float(value.detach()),
        f"{name}[{','.join(map(str, place))}]",
        float(parameters[name].detach()[place]),
        factors,
        factors[-1].gradient[0],
        float(gradient_of[name][place]),
    )


def _run(twin: "nn.Module", inputs: "Tensor") -> tuple[tuple[_Link, ...], "Tensor"]:
    """The layers that the sample goes through, in order. Raises SpecError unless each takes what the one before gives."""
    from torch import nn

    chain = list[_Link]()

    def note(name: str) -> Any:
        def hook(module: "nn.Module", given: Any, output: "Tensor") -> None:
            if not isinstance(module, nn.Identity | nn.Flatten | nn.Dropout | nn.Sequential):
                chain.append(_Link(name, module, given[0].detach(), output.detach()))

        return hook

    for name, module in twin.named_modules():
        if next(module.children(), None) is None:
            module.register_forward_hook(note(name))
    scores: Tensor = twin(inputs)
    before = inputs
    for link in chain:
        if not link.input.flatten().equal(before.flatten()):
            raise _no_chain(link.name)
        before = link.output
    if len({link.name for link in chain}) < len(chain):
        raise _no_chain("a layer that is used twice")
    if not chain or not scores.flatten().equal(before.flatten()):
        raise _no_chain("the output")
    return tuple(chain), scores  # the hooks go on noting when a layer is differentiated alone


def _no_chain(where: str) -> SpecError:
    return SpecError(
        "trace-chain",
        f"the net is no chain of layers: {where} does not take what the layer before gives; take perceptron, mlp or vgg-11.",
    )


def _factors(chain: tuple[_Link, ...], gradient: "Tensor", name: str, place: tuple[int, ...]) -> tuple[Factor, ...]:
    """dL/ds, the Jacobian of each layer behind the weight's own, and the weight's own column."""
    owner, _, role = name.rpartition(".")
    factors = [Factor("loss", "dL/ds", _rows(gradient), _row(gradient))]
    for link in reversed(chain):
        if link.name == owner:
            column = _of_weight(link, role, place)
            gradient = gradient @ column
            factors.append(Factor(name, _weight_formula(link.module, role, place), _rows(column), _row(gradient)))
            return tuple(factors)
        jacobian = _jacobian(link.module, link.input, link.output.numel(), link.name)
        gradient = gradient @ jacobian
        factors.append(Factor(link.name, _jacobian_formula(link), _rows(jacobian), _row(gradient)))
    raise SpecError("trace-weight", f"{name} is not used on the way of a sample through the net; take another weight.")


def _jacobian(function: "Callable[[Tensor], Tensor]", x: "Tensor", outputs: int = 1, name: str = "loss") -> "Tensor":
    """d(output)/d(input) of a function alone at x, (outputs, inputs), both flattened; at a corner as torch takes it."""
    from torch.autograd.functional import jacobian

    if outputs * x.numel() > MOST_ENTRIES:
        raise SpecError(
            "trace-size",
            f"layer {name} has {outputs} x {x.numel()} derivatives, and at most {MOST_ENTRIES:,} are traced; take a smaller "
            "input or net, such as --input 1x4x4 --set width=2.",
        )
    found: Tensor = jacobian(function, x).reshape(outputs, x.numel()) + 0.0  # no -0
    return found


def _of_weight(link: _Link, role: str, place: tuple[int, ...]) -> "Tensor":
    """d(output)/dw of the layer of the weight: a column (outputs, 1)."""
    import torch
    from torch.func import functional_call

    weight = link.module.get_parameter(role).detach()
    unit = torch.zeros_like(weight)
    unit[place] = 1

    def output(change: "Tensor") -> "Tensor":
        moved: Tensor = functional_call(link.module, {role: weight + change * unit}, (link.input,))
        return moved

    return _jacobian(output, weight.new_zeros(1), link.output.numel(), link.name)


def _formula(module: "nn.Module") -> str:
    """What a layer computes; what has no short formula is named."""
    from torch import nn

    from markone.nets.activations import activation_of

    activation, kind = activation_of(module), type(module).__name__
    if activation is not None:
        return activation.formula
    if isinstance(module, nn.Linear):
        return "W x" if module.bias is None else "W x + b"
    return "γ (x - m) / sqrt(v + ε) + β" if "Norm" in kind else kind


def _jacobian_formula(link: _Link) -> str:
    from torch import nn

    from markone.nets.activations import activation_of

    if activation_of(link.module) is None:
        return "dz/dx = W" if isinstance(link.module, nn.Linear) else "dz/dx"
    return "diag f'(x)" if link.input.numel() > 1 else "f'(x)"


def _weight_formula(module: "nn.Module", role: str, place: tuple[int, ...]) -> str:
    from torch import nn

    if not isinstance(module, nn.Linear):
        return "dz/dw"
    return f"dz{place[0]}/db{place[0]} = 1" if role == "bias" else f"dz{place[0]}/dw = x{place[1]}"


def _read_weight(net: "nn.Module", text: str | None) -> tuple[str, tuple[int, ...]]:
    """``head.weight[0,1]`` -> ("head.weight", (0, 1)). Raises SpecError that says what is there."""
    shapes = {name: tuple(parameter.shape) for name, parameter in net.named_parameters()}
    if not shapes:
        raise SpecError("trace-weight", "the net has no weights that learn, so there is no gradient to trace.")
    name, place = next(iter(shapes)), ""
    if text is not None:
        match = re.fullmatch(r"\s*([^\[\]]+?)\s*(?:\[([\d,\s]*)\])?\s*", text)
        name, place = (match[1], match[2] or "") if match else (text, "")
    if name not in shapes:
        near = did_you_mean(name, shapes)
        raise SpecError("trace-weight", f"the net has no weight {name}.{near} Allowed: {', '.join(shapes)}.")
    shape = shapes[name]
    numbers = tuple(int(part) for part in place.split(",") if part.strip()) or (0,) * len(shape)
    if len(numbers) != len(shape) or any(n >= size for n, size in zip(numbers, shape, strict=True)):
        last = ",".join(str(size - 1) for size in shape)
        first = ",".join("0" for _ in shape)
        raise SpecError(
            "trace-weight",
            f"{name}[{place}] is no place of a {'x'.join(map(str, shape))} weight; take [{first}] to [{last}].",
        )
    return name, numbers


def _first_moved(gradients: "Mapping[str, Tensor]") -> tuple[str, tuple[int, ...]] | None:
    """The first weight whose gradient is not 0: one behind an input of 0 would only show that 0 times anything is 0."""
    for name, gradient in gradients.items():
        if gradient.any():
            return name, tuple(gradient.nonzero()[0].tolist())
    return None


def _row(values: "Tensor") -> tuple[float, ...]:
    return tuple(values.flatten().tolist())


def _rows(matrix: "Tensor") -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, matrix.tolist()))
