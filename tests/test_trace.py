"""The chain rule by factors: against autograd, and against numbers worked out by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from markone.errors import SpecError
from markone.losses import LOSSES, CrossEntropy, Huber, LossSpec, PerceptronCriterion, Squared
from markone.nets import MLP, VGG, Perceptron, ResNet
from markone.nets.activations import ACTIVATIONS
from markone.nets.initializers import Normal
from markone.nets.trace import Trace, trace
from markone.seeds import torch_generator


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch_generator(seed, "data"))


def made(spec: MLP | Perceptron, inputs: int, outputs: int, *, seed: int = 0) -> nn.Module:
    net = spec.build((inputs,), outputs).double()
    randomize(net, seed=seed)
    return net


def randomize(net: nn.Module, *, seed: int) -> None:
    """Every number at random, those too that begin as zeros and ones."""
    generator = torch_generator(seed, "init")
    with torch.no_grad():
        for value in (*net.parameters(), *(buffer for buffer in net.buffers() if buffer.dim())):
            value.copy_(
                torch.randn(value.shape, dtype=value.dtype, generator=generator).abs() - 0.3 * (value.dim() > 1)
            )


def target_for(loss: LossSpec, outputs: int) -> Tensor:
    if "classification" in loss.tasks:
        return torch.tensor(1 if outputs == 1 else outputs - 1)
    return numbers(outputs, seed=1)


def gradient(net: nn.Module, x: Tensor, target: Tensor, loss: LossSpec, name: str) -> Tensor:
    """By autograd, of a net and a loss that the trace has not touched."""
    net.eval().zero_grad()
    loss.build()(net(x.unsqueeze(0)), target.unsqueeze(0)).backward()
    found = net.get_parameter(name).grad
    assert found is not None
    return found


@settings(deadline=None, max_examples=150)
@given(
    st.data(),
    st.sampled_from(sorted(ACTIVATIONS)),
    st.sampled_from(["none", "batch", "layer"]),
    st.sampled_from([loss.model_fields["kind"].default for loss in LOSSES]),
    st.integers(0, 4),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(0, 99),
)
def test_the_product_is_autograds_gradient(
    data: st.DataObject, activation: str, normalization: str, kind: str, depth: int, width: int, outputs: int, seed: int
) -> None:
    loss = next(member for member in LOSSES if member.model_fields["kind"].default == kind).from_dict({"kind": kind})
    outputs = max(outputs, loss.outputs(2)) if "classification" in loss.tasks else outputs
    fields = {"activation": activation, "normalization": normalization, "depth": depth, "width": width, "dropout": 0.5}
    net = made(MLP.from_dict({"kind": "mlp", **fields}), 3, outputs, seed=seed)
    x, target = numbers(3, seed=seed), target_for(loss, outputs)
    name = data.draw(st.sampled_from([name for name, _ in net.named_parameters()]))
    place = tuple(data.draw(st.integers(0, size - 1)) for size in net.get_parameter(name).shape)
    found = trace(net, x, target, loss, weight=f"{name}[{','.join(map(str, place))}]")
    wanted = float(gradient(net, x, target, loss, name)[place])
    assert abs(found.product - wanted) <= 1e-12 * max(1, abs(wanted))
    assert found.autograd == pytest.approx(wanted, rel=1e-12, abs=1e-12)
    assert found.value == float(net.get_parameter(name).detach()[place])
    assert_the_factors_multiply(found)


def assert_the_factors_multiply(found: Trace) -> None:
    """A row vector times each Jacobian in turn, as written down."""
    row = torch.ones(1, 1, dtype=torch.float64)
    for factor in found.factors:
        row = row @ torch.tensor(factor.jacobian, dtype=torch.float64)
        assert torch.allclose(row.flatten(), torch.tensor(factor.gradient, dtype=torch.float64), rtol=1e-12, atol=0)
    assert row.item() == pytest.approx(found.product, rel=1e-12, abs=1e-300)


def test_one_unit_in_each_layer_by_hand() -> None:
    """s = w2 tanh(w1 x + b1) + b2, L = (s - t)^2: dL/dw1 = 2 (s - t) w2 (1 - tanh^2) x."""
    net = MLP(depth=1, width=1, activation="tanh").build((1,), 1).double()
    with torch.no_grad():
        for parameter, value in zip(net.parameters(), (0.5, 0.25, -2.0, 1.0), strict=True):
            parameter.fill_(value)
    found = trace(net, torch.tensor([3.0]), torch.tensor([0.5]), Squared())
    hidden = math.tanh(0.5 * 3 + 0.25)
    score = -2 * hidden + 1
    factors = [2 * (score - 0.5), -2.0, 1 - hidden**2, 3.0]
    assert found.weight == "hidden.0.linear.weight[0,0]"
    assert [factor.jacobian[0][0] for factor in found.factors] == pytest.approx(factors, rel=1e-14)
    assert [factor.layer for factor in found.factors] == [
        "loss",
        "head",
        "hidden.0.activation",
        "hidden.0.linear.weight",
    ]
    assert found.product == pytest.approx(math.prod(factors), rel=1e-14)
    assert [layer.values[0] for layer in found.forward] == pytest.approx([1.75, hidden, score], rel=1e-14)
    assert found.loss == pytest.approx((score - 0.5) ** 2, rel=1e-14)


def test_cross_entropy_of_a_perceptron_by_hand() -> None:
    """dL/dW = (softmax(s) - one hot) x^T: with equal scores of three classes 1/3, and 1/3 - 1 of the right one."""
    net = Perceptron().build((2,), 3).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    x = torch.tensor([0.6, -3.0])
    wrong = trace(net, x, torch.tensor(2), CrossEntropy(), weight="head.weight[0,1]")
    right = trace(net, x, torch.tensor(2), CrossEntropy(), weight="head.weight[2,1]")
    assert wrong.product == pytest.approx(-1.0)
    assert right.product == pytest.approx(2.0)
    assert wrong.loss == pytest.approx(math.log(3))
    assert len(wrong.factors[0].jacobian[0]) == 3


def test_rosenblatts_rule_is_this_gradient() -> None:
    """At a mistake the step against the gradient adds y x, else nothing (Rosenblatt 1962)."""
    net = Perceptron().build((2,), 1).double()
    with torch.no_grad():
        net.get_parameter("head.weight").copy_(torch.tensor([[1.0, 1.0]]))
        net.get_parameter("head.bias").zero_()
    x = torch.tensor([2.0, 1.0])
    mistake = trace(net, x, torch.tensor(0), PerceptronCriterion(), weight="head.weight[0,0]")
    correct = trace(net, x, torch.tensor(1), PerceptronCriterion(), weight="head.weight[0,0]")
    assert (mistake.product, correct.product) == (2.0, 0.0)


@pytest.mark.parametrize(
    "net",
    [
        VGG(kind="vgg-11-bn", depths=(1, 2), width=2, head_width=3).build((2, 4, 4), 3),
        nn.Sequential(nn.Conv2d(2, 3, 3), nn.GroupNorm(3, 3), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(3, 3)),
    ],
    ids=["vgg", "sequential"],
)
def test_convolutions_by_every_first_weight(net: nn.Module) -> None:
    randomize(net.double(), seed=1)
    x, target = numbers(2, 4, 4), torch.tensor(2)
    for name, parameter in net.named_parameters():
        found = trace(net, x, target, CrossEntropy(), weight=name)
        wanted = float(gradient(net, x, target, CrossEntropy(), name)[(0,) * parameter.dim()])
        assert abs(found.product - wanted) <= 1e-12 * max(1, abs(wanted)), name
        assert_the_factors_multiply(found)


def test_images_and_frozen_weights() -> None:
    net = made(MLP(depth=1, width=2), 4, 2)
    net.requires_grad_(False)
    found = trace(net, numbers(4).reshape(1, 2, 2), numbers(2), Huber(delta=0.5), weight=" head.bias [ 1 ] ")
    assert (found.weight, found.difference) == ("head.bias[1]", 0.0)
    assert not net.get_parameter("head.bias").requires_grad


def test_the_net_stays_as_it_was() -> None:
    net = MLP(width=3, normalization="batch").build((2,), 1).train()
    Normal().build()(net, torch_generator(0, "init"))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    trace(net, numbers(2), numbers(1), Squared())
    assert net.training
    assert not any(module._forward_hooks for module in net.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net.get_parameter("head.weight").dtype == torch.float32
    assert net.get_parameter("head.weight").grad is None


class Skipping(nn.Module):
    """A sum around a layer, which is no chain; with a layer that is left out."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.unused = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.one(x)
        return y + self.two(y)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(self.layer(x))
        return y


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.unused, self.layer = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        return y


@pytest.mark.parametrize(
    ("net", "weight", "slug", "message"),
    [
        (Perceptron().build((2,), 2), "head.wieght[0,0]", "trace-weight", "Did you mean head.weight? Allowed: head.we"),
        (Perceptron().build((2,), 2), "head.weight[0,2]", "trace-weight", "2x2 weight; take [0,0] to [1,1]."),
        (Perceptron().build((2,), 2), "head.weight[0]", "trace-weight", "head.weight[0] is no place of a 2x2 weight"),
        (Perceptron().build((2,), 2), "head.weight[[", "trace-weight", "the net has no weight head.weight[["),
        (nn.Tanh(), None, "trace-weight", "the net has no weights that learn"),
        (Skipping(), None, "trace-chain", "the net is no chain of layers: the output does not take"),
        (Twice(), None, "trace-chain", "a layer that is used twice"),
        (Unused(), "unused.weight", "trace-weight", "unused.weight is not used on the way"),
        (
            nn.Sequential(nn.Linear(2, 1001), nn.Linear(1001, 1000), nn.Linear(1000, 2)),
            None,
            "trace-size",
            "layer 1 has 1000 x 1001 derivatives, and at most 1,000,000 are traced; take a smaller input or net",
        ),
    ],
)
def test_what_cannot_be_traced(net: nn.Module, weight: str | None, slug: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        trace(net, numbers(2), numbers(2), Squared(), weight=weight)
    assert caught.value.slug == slug
    assert message in str(caught.value)


def test_a_shortcut_is_no_chain() -> None:
    net = ResNet(kind="cifar-resnet-20", width=4).build((3, 8, 8), 2)
    with pytest.raises(SpecError, match=r"no chain of layers: layer1\.0\.activation2 does not take"):
        trace(net, numbers(3, 8, 8), torch.tensor(1), CrossEntropy())
