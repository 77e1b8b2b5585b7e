"""Every loss against a plain NumPy twin, its gradient, and the least that a constant output reaches."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from markone.errors import SpecError
from markone.losses import (
    LOSSES,
    BinaryCrossEntropy,
    CrossEntropy,
    Hinge,
    Huber,
    LossSpec,
    PerceptronCriterion,
    Squared,
    blind_guess,
)
from markone.seeds import torch_generator

SPECS: list[LossSpec] = [*(member() for member in LOSSES), Huber(delta=0.3)]
SMOOTHED = ("cross-entropy", "binary-cross-entropy")
each = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
by_classes = pytest.mark.parametrize("classes", [2, 5])


def is_classification(spec: LossSpec) -> bool:
    return "classification" in spec.tasks


def sample(spec: LossSpec, classes: int, *, samples: int = 40, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Float64 scores and targets of unequal classes or columns."""
    generator = torch_generator(seed, spec.kind)
    outputs = spec.outputs(classes)
    scores = torch.randn(samples, outputs, generator=generator, dtype=torch.float64) * 2
    if is_classification(spec):
        shares = torch.arange(1, classes + 1, dtype=torch.float64)
        targets = torch.multinomial(shares, samples, replacement=True, generator=generator)
        targets[:classes] = torch.arange(classes)
    else:
        targets = torch.randn(samples, outputs, generator=generator, dtype=torch.float64).exp()
    return scores, targets


def plain(spec: LossSpec, scores: np.ndarray, targets: np.ndarray, smoothing: float = 0.0) -> float:
    """A second implementation, sample by sample."""
    losses = [plain_sample(spec, row, target, smoothing) for row, target in zip(scores, targets, strict=True)]
    return float(np.mean(losses))


def plain_sample(spec: LossSpec, s: np.ndarray, target: np.ndarray, smoothing: float) -> float:
    if spec.kind == "cross-entropy":
        p = np.exp(s) / np.exp(s).sum()
        t = np.full(len(s), smoothing / len(s))
        t[target] += 1 - smoothing
        return float(-(t * np.log(p)).sum())
    if spec.kind == "binary-cross-entropy":
        on = np.array([target == 1]) if len(s) == 1 else np.arange(len(s)) == target
        t = on * (1 - smoothing) + smoothing / 2
        p = 1 / (1 + np.exp(-s))
        return float(-(t * np.log(p) + (1 - t) * np.log(1 - p)).mean())
    if spec.kind in ("hinge", "perceptron-criterion"):
        margin = (1 if target == 1 else -1) * s[0] if len(s) == 1 else s[target] - max(np.delete(s, target))
        return max(0.0, (1 if spec.kind == "hinge" else 0) - margin)
    errors = np.abs(s - target)
    if isinstance(spec, Huber):
        return float(np.where(errors <= spec.delta, errors**2 / 2, spec.delta * (errors - spec.delta / 2)).mean())
    return float((errors**2 if spec.kind == "squared" else errors).mean())


@each
@by_classes
def test_formula(spec: LossSpec, classes: int) -> None:
    scores, targets = sample(spec, classes)
    assert float(spec.build()(scores, targets)) == pytest.approx(
        plain(spec, scores.numpy(), targets.numpy()), rel=1e-12
    )
    if spec.kind in SMOOTHED:
        ours = spec.build(label_smoothing=0.1)(scores, targets)
        assert float(ours) == pytest.approx(plain(spec, scores.numpy(), targets.numpy(), 0.1), rel=1e-12)


@each
@by_classes
def test_gradient_in_float64(spec: LossSpec, classes: int) -> None:
    scores, targets = sample(spec, classes, samples=7)
    loss = spec.build()
    assert torch.autograd.gradcheck(lambda s: loss(s, targets), scores.requires_grad_())


@each
@by_classes
def test_half_precision_scores_are_widened(spec: LossSpec, classes: int) -> None:
    scores, targets = sample(spec, classes)
    if not is_classification(spec):
        targets = targets.float()
    half = scores.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = spec.build()(half, targets)
    assert loss.dtype == torch.float32
    assert loss.shape == ()
    assert torch.equal(loss, spec.build()(half.float(), targets))


@each
@by_classes
def test_no_constant_is_better_than_the_blind_guess(spec: LossSpec, classes: int) -> None:
    _, targets = sample(spec, classes, samples=300)
    outputs = spec.outputs(classes)
    loss, least = spec.build(), blind_guess(spec, targets, outputs)
    generator = torch_generator(0, "constants")
    constants = torch.randn(2000, outputs, generator=generator, dtype=torch.float64) * 3
    found = [float(loss(constant.expand(len(targets), -1), targets)) for constant in constants]
    assert min(found) >= least - 1e-12


@each
@by_classes
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_constant_reaches_the_blind_guess(spec: LossSpec, classes: int, smoothing: float) -> None:
    """Subgradient descent on the constant comes as near as it should."""
    if smoothing and spec.kind not in SMOOTHED:
        return
    _, targets = sample(spec, classes, samples=300)
    outputs = spec.outputs(classes)
    loss = spec.build(label_smoothing=smoothing)
    constant = torch.zeros(outputs, dtype=torch.float64, requires_grad=True)
    best = math.inf
    for step in range(500):
        value = loss(constant.expand(len(targets), -1), targets)
        best = min(best, float(value.detach()))
        (gradient,) = torch.autograd.grad(value, constant)
        constant.data -= 3.0 / (1 + step / 10) * gradient
    assert best == pytest.approx(blind_guess(spec, targets, outputs, label_smoothing=smoothing), rel=5e-3, abs=1e-9)


def test_known_blind_guesses() -> None:
    balanced = torch.arange(1000) % 10
    assert blind_guess(CrossEntropy(), balanced, 10) == pytest.approx(math.log(10))
    assert blind_guess(CrossEntropy(), balanced, 10, label_smoothing=0.3) == pytest.approx(math.log(10))
    assert blind_guess(BinaryCrossEntropy(), balanced % 2, 1) == pytest.approx(math.log(2))
    assert blind_guess(Hinge(), balanced, 10) == 1.0
    assert blind_guess(Hinge(), torch.tensor([0, 1, 1, 1]), 1) == pytest.approx(0.5)
    assert blind_guess(PerceptronCriterion(), balanced, 10) == 0.0
    numbers = torch.tensor([[1.0], [2.0], [6.0]])
    assert blind_guess(Squared(), numbers, 1) == pytest.approx(float(np.var([1, 2, 6])))
    assert blind_guess(CrossEntropy(), torch.zeros(5, dtype=torch.int64), 3) == 0.0  # one class only


@settings(deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=1, max_size=40), st.floats(0.01, 50))
def test_hubers_best_constant(values: list[float], delta: float) -> None:
    """The slope of the loss changes its sign at the best constant."""
    targets = torch.tensor(values, dtype=torch.float64).unsqueeze(1)
    best = Huber(delta=delta).best_constant(targets)
    for side in (-1, 1):
        slope = (best + side * 1e-6 - targets).clamp(-delta, delta).mean()
        assert side * float(slope) >= -1e-9


@pytest.mark.parametrize("spec", [spec for spec in SPECS if is_classification(spec)], ids=lambda spec: spec.kind)
@by_classes
def test_probabilities(spec: LossSpec, classes: int) -> None:
    scores, _ = sample(spec, classes)
    probabilities = spec.probabilities(scores)
    assert probabilities.shape == (len(scores), classes)
    assert bool((probabilities >= 0).all())
    assert torch.allclose(probabilities.sum(dim=1), torch.ones(len(scores), dtype=torch.float64))
    decided = (scores[:, 0] > 0).long() if scores.shape[1] == 1 else scores.argmax(dim=1)
    assert torch.equal(probabilities.argmax(dim=1), decided)
    assert spec.probabilities(scores.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("spec", [CrossEntropy(), BinaryCrossEntropy()], ids=lambda spec: spec.kind)
@by_classes
def test_probabilities_are_those_of_the_loss(spec: LossSpec, classes: int) -> None:
    """The loss of proper scores is -log p of the right class; one-against-rest scores are the exception."""
    if spec.kind == "binary-cross-entropy" and classes > 2:
        return
    scores, targets = sample(spec, classes)
    right = spec.probabilities(scores).gather(1, targets.unsqueeze(1))
    assert float(spec.build()(scores, targets)) == pytest.approx(float(-right.log().mean()), rel=1e-12)


def test_scores_far_out_stay_finite() -> None:
    scores = torch.tensor([[1e4, -1e4]]).requires_grad_()
    for spec in (CrossEntropy(), BinaryCrossEntropy(), Hinge(), PerceptronCriterion()):
        loss = spec.build()(scores, torch.tensor([1]))
        (gradient,) = torch.autograd.grad(loss, scores)
        assert loss.isfinite()
        assert gradient.isfinite().all()
    assert BinaryCrossEntropy().probabilities(torch.full((1, 3), -1e4)).isfinite().all()


def test_a_step_on_the_perceptron_criterion_is_rosenblatts_rule() -> None:
    """One sample, lr 1, from zero weights: w + y x after a mistake (a tie is one), else nothing."""
    weights = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    rule = np.zeros(3)
    generator = torch_generator(0, "samples")
    loss = PerceptronCriterion().build()
    mistakes = 0
    for _ in range(50):
        x = torch.randn(3, generator=generator, dtype=torch.float64)
        target = int(x[0] + 2 * x[1] > 0)
        y = 2 * target - 1
        (gradient,) = torch.autograd.grad(loss((x @ weights).view(1, 1), torch.tensor([target])), weights)
        weights.data -= gradient
        if y * (rule @ x.numpy()) <= 0:
            rule, mistakes = rule + y * x.numpy(), mistakes + 1
        np.testing.assert_allclose(weights.detach().numpy(), rule, rtol=1e-12)
    assert 1 <= mistakes < 50


@each
def test_a_task_it_is_not_made_for(spec: LossSpec) -> None:
    wrong = "regression" if is_classification(spec) else "classification"
    spec.require_task(next(iter(spec.tasks)))
    with pytest.raises(SpecError, match=f"loss {spec.kind} is not made for {wrong}. Allowed: ") as raised:
        spec.require_task(wrong)
    assert spec.kind not in str(raised.value).split("Allowed: ")[1]
    if not is_classification(spec):
        with pytest.raises(SpecError, match="its scores are no probabilities"):
            spec.probabilities(torch.zeros(1, 1))


@each
def test_label_smoothing_where_it_has_no_meaning(spec: LossSpec) -> None:
    if spec.kind in SMOOTHED:
        with pytest.raises(SpecError, match="label smoothing is 1; it must be at least 0 and under 1"):
            spec.build(label_smoothing=1.0)
        return
    with pytest.raises(SpecError, match=f"label smoothing 0.1 has no meaning with loss {spec.kind}"):
        spec.build(label_smoothing=0.1)


def test_numbers_of_another_shape_are_refused() -> None:
    with pytest.raises(SpecError, match=r"scores of shape \(4, 1\) need targets of the same shape, not \(4,\)"):
        Squared().build()(torch.zeros(4, 1), torch.zeros(4))
