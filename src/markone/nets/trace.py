"""Trace: the chain rule through a small net, factor by factor, from the loss back to one weight."""

import copy
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markone.errors import SpecError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor, nn

    from markone.losses import LossSpec


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

    ``jacobian`` is (outputs, inputs) as rows; the first factor, dL/ds, is a row, and the last, of the chosen weight, a
    column. ``gradient`` is the row vector dL/ds J J ... up to here.
    """

    layer: str
    formula: str
    jacobian: tuple[tuple[float, ...], ...]
    gradient: tuple[float, ...]


@dataclass(frozen=True)
class Trace:
    """The forward pass of one sample, its loss, and every factor of d(loss)/d(weight), whose product is ``product``.

    ``autograd`` is what torch's backward pass gives for the same weight, in float64 as well.
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

    @property
    def scalar(self) -> bool:
        """Whether every factor is one number, so that the gradient is the plain product a x b x c x ..."""
        return all(len(factor.jacobian) == len(factor.jacobian[0]) == 1 for factor in self.factors)


def trace(net: "nn.Module", x: "Tensor", target: "Tensor", loss: "LossSpec", *, weight: str | None = None) -> Trace:
    """dL/dw = dL/ds J_n ... J_{k+1} dz_k/dw for one input x, without its batch, and one target, in float64 and eval mode.

    s are the scores, J_l the Jacobian of layer l at this input, z_k what the layer of the weight gives. Each factor is
    computed from its formula, not by autograd. ``target`` is a class (an int64 scalar) or numbers (outputs,). ``weight``
    is a parameter with its place, such as ``head.weight[0,1]``; by default the first of the net. The net must be a chain
    of linear layers, activations, layer and batch normalization (of columns); raises SpecError that names a layer that
    is something else, or a weight that is not there. Rumelhart, Hinton and Williams 1986.
    """
    import torch

    twin = copy.deepcopy(net).cpu().double().eval()
    name, place = _read_weight(twin, weight)
    parameter = twin.get_parameter(name).requires_grad_()
    inputs, targets = x.detach().cpu().double().unsqueeze(0), target.detach().cpu().unsqueeze(0)
    targets = targets.double() if targets.is_floating_point() else targets
    with torch.enable_grad():
        chain, scores = _run(twin, inputs)
        value = loss.build()(scores, targets)
        with torch.no_grad():
            factors = _factors(chain, _loss_gradient(loss, scores[0].detach(), targets), name, place)
        (found,) = torch.autograd.grad(value, parameter)
    return Trace(
        tuple(inputs.flatten().tolist()),
        tuple(map(float, targets.flatten().tolist())),
        tuple(Forward(link.name, type(link.module).__name__, link.formula, _row(link.output)) for link in chain),
        loss.kind,
        float(value.detach()),
        f"{name}[{','.join(map(str, place))}]",
        float(parameter.detach()[place]),
        factors,
        factors[-1].gradient[0],
        float(found[place]),
    )


@dataclass(frozen=True)
class _Link:
    """One layer of the chain with what it took and gave, each a vector."""

    name: str
    module: Any
    input: Any
    output: Any

    @property
    def formula(self) -> str:
        return _formula(self.module)


def _run(twin: "nn.Module", inputs: "Tensor") -> tuple[list[_Link], "Tensor"]:
    """The layers that the sample goes through, in order. Raises SpecError unless each takes what the one before gives."""
    from torch import nn

    chain = list[_Link]()

    def note(name: str) -> Any:
        def hook(module: "nn.Module", given: Any, output: "Tensor") -> None:
            if not isinstance(module, nn.Identity | nn.Flatten | nn.Dropout | nn.Sequential):
                chain.append(_Link(name, module, given[0][0].detach().flatten(), output[0].detach().flatten()))

        return hook

    for name, module in twin.named_modules():
        if next(module.children(), None) is None:
            module.register_forward_hook(note(name))
    scores: Tensor = twin(inputs)
    before = inputs.flatten()
    for link in chain:
        if not _known(link.module):
            raise SpecError(
                "trace-layer",
                f"the chain rule is traced through linear layers, activations and normalization of columns, and {link.name}"
                f" is a {type(link.module).__name__}; take mlp or perceptron.",
            )
        if link.input.shape != before.shape or not bool((link.input == before).all()):
            raise _no_chain(link.name)
        before = link.output
    if len({link.name for link in chain}) < len(chain):
        raise _no_chain("a layer that is used twice")
    if not chain or scores.shape[1:] != before.shape or not bool((scores[0] == before).all()):
        raise _no_chain("the output")
    return chain, scores


def _no_chain(where: str) -> SpecError:
    return SpecError(
        "trace-chain",
        f"the net is no chain of layers: {where} does not take what the layer before gives; take mlp or perceptron.",
    )


def _known(module: "nn.Module") -> bool:
    from torch import nn

    from markone.nets.activations import activation_of

    return activation_of(module) is not None or isinstance(module, nn.Linear | nn.LayerNorm | nn.BatchNorm1d)


def _formula(module: "nn.Module") -> str:
    from torch import nn

    from markone.nets.activations import activation_of

    if isinstance(module, nn.Linear):
        return "W x" if module.bias is None else "W x + b"
    if isinstance(module, nn.LayerNorm | nn.BatchNorm1d):
        return "γ (x - m) / sqrt(v + ε) + β"
    activation = activation_of(module)
    return activation.formula if activation else ""


def _factors(chain: list[_Link], gradient: "Tensor", name: str, place: tuple[int, ...]) -> tuple[Factor, ...]:
    """dL/ds, the Jacobian of each layer behind the weight's own, and the weight's own column."""
    owner, _, role = name.rpartition(".")
    factors = [Factor("loss", "dL/ds", (_row(gradient),), _row(gradient))]
    for link in reversed(chain):
        if link.name == owner:
            column = _of_weight(link, role, place)
            gradient = gradient @ column
            factors.append(Factor(name, _weight_formula(link, role, place), _rows(column), _row(gradient)))
            return tuple(factors)
        jacobian = _jacobian(link)
        gradient = gradient @ jacobian
        factors.append(Factor(link.name, _jacobian_formula(link), _rows(jacobian), _row(gradient)))
    raise SpecError("trace-weight", f"{name} is not used on the way of a sample through the net; take another weight.")


def _jacobian(link: _Link) -> "Tensor":
    """d(output)/d(input) of one layer at its input, (outputs, inputs)."""
    import torch
    from torch import nn

    module, x = link.module, link.input
    jacobian: Tensor
    if isinstance(module, nn.Linear):
        jacobian = module.weight
        return jacobian
    if isinstance(module, nn.BatchNorm1d):
        return torch.diag(_normal(module, x)[1] * module.weight)
    if isinstance(module, nn.LayerNorm):
        normal, scale = _normal(module, x)
        size = x.numel()
        inner = torch.eye(size, dtype=x.dtype) - 1 / size - torch.outer(normal, normal) / size
        jacobian = module.weight.unsqueeze(1) * inner * scale
        return jacobian
    return torch.diag(_slope(module, x))


def _normal(module: Any, x: "Tensor") -> tuple["Tensor", "Tensor"]:
    """The normalized input and 1 / sqrt(v + ε)."""
    from torch import nn

    running = isinstance(module, nn.BatchNorm1d)
    mean = module.running_mean if running else x.mean()
    variance = module.running_var if running else x.var(correction=0)
    scale = 1 / (variance + module.eps).sqrt()
    return (x - mean) * scale, scale


def _slope(module: Any, x: "Tensor") -> "Tensor":
    """f'(x) of an activation; at a corner as torch takes it."""
    import torch

    from markone.nets.activations import LEAK, SELU_ALPHA, SELU_SCALE, activation_of

    activation = activation_of(module)
    one, normal = torch.ones_like(x), torch.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    match activation.name if activation else "":
        case "threshold":
            return 0 * one
        case "sigmoid":
            return x.sigmoid() * (1 - x.sigmoid())
        case "tanh":
            return 1 - x.tanh() ** 2
        case "relu":
            return (x > 0).to(x.dtype)
        case "leaky-relu":
            return torch.where(x > 0, one, LEAK * one)
        case "elu":
            return torch.where(x > 0, one, x.exp())
        case "selu":
            return SELU_SCALE * torch.where(x > 0, one, SELU_ALPHA * x.exp())
        case "gelu":
            return (1 + torch.erf(x / math.sqrt(2))) / 2 + x * normal
        case "silu":
            return x.sigmoid() * (1 + x * (1 - x.sigmoid()))
        case other:
            raise SpecError("trace-layer", f"the chain rule is not traced through activation {other}.")


def _of_weight(link: _Link, role: str, place: tuple[int, ...]) -> "Tensor":
    """d(output)/dw of the layer of the weight: a column (outputs, 1)."""
    import torch
    from torch import nn

    column = torch.zeros(link.output.numel(), 1, dtype=link.input.dtype)
    if role == "bias":
        column[place[0]] = 1
    elif isinstance(link.module, nn.Linear):
        column[place[0]] = link.input[place[1]]
    else:
        column[place[0]] = _normal(link.module, link.input)[0][place[0]]
    return column


def _weight_formula(link: _Link, role: str, place: tuple[int, ...]) -> str:
    from torch import nn

    if role == "bias":
        return f"dz{place[0]}/db{place[0]} = 1"
    if isinstance(link.module, nn.Linear):
        return f"dz{place[0]}/dw = x{place[1]}"
    return f"dz{place[0]}/dγ{place[0]} = (x - m) / sqrt(v + ε)"


def _jacobian_formula(link: _Link) -> str:
    from torch import nn

    if isinstance(link.module, nn.Linear):
        return "dz/dx = W"
    if isinstance(link.module, nn.LayerNorm | nn.BatchNorm1d):
        return "dz/dx of the normalization"
    return "diag f'(x)" if link.input.numel() > 1 else "f'(x)"


def _loss_gradient(loss: "LossSpec", s: "Tensor", targets: "Tensor") -> "Tensor":
    """dL/ds (outputs,) of one sample's scores."""
    from torch.nn.functional import one_hot

    from markone.losses import BinaryCrossEntropy, CrossEntropy, Hinge, Huber, MarginLoss

    count = s.numel()
    match loss:
        case CrossEntropy():
            return s.softmax(0) - one_hot(targets[0], count)
        case BinaryCrossEntropy():
            wanted = (targets == 1) if count == 1 else one_hot(targets[0], count)
            return (s.sigmoid() - wanted.to(s.dtype)) / count
        case MarginLoss():
            slope = _margin_slope(s, targets)
            margin = float(s @ slope)
            falling = margin < 1 if isinstance(loss, Hinge) else margin <= 0
            return -slope if falling else 0 * slope
    error = s - targets[0]
    match loss.kind:
        case "squared":
            return 2 * error / count
        case "absolute":
            return error.sign() / count
        case "huber" if isinstance(loss, Huber):
            return error.clamp(-loss.delta, loss.delta) / count
    raise SpecError(
        "trace-loss", f"the chain rule is not traced through loss {loss.kind}; take squared or cross-entropy."
    )


def _margin_slope(s: "Tensor", targets: "Tensor") -> "Tensor":
    """d(margin)/ds, a row: +1 or -1 of one score; +1 of the right class and -1 of its best rival. The margin is its product
    with s."""
    import torch

    slope, right = torch.zeros_like(s), int(targets[0])
    if s.numel() == 1:
        return slope + (2 * right - 1)
    rivals = s.clone()
    rivals[right] = -math.inf
    best = rivals == rivals.max()
    slope[best] = -1 / best.sum()  # rivals that are equal share it, as torch's amax does
    slope[right] = 1
    return slope


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


def _row(vector: "Tensor") -> tuple[float, ...]:
    return tuple(vector.flatten().tolist())


def _rows(matrix: "Tensor") -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, matrix.tolist()))
