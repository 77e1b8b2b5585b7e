"""Every schedule against its formula, torch's own where there is one, and a checkpoint."""

import math
import warnings
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import SGD, lr_scheduler

from markone.errors import SpecError
from markone.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    Exponential,
    InverseTime,
    OneCycle,
    Pace,
    Plateau,
    ScheduleSpec,
    Step,
    WarmUp,
)

TOTAL, PER_EPOCH = 120, 12

each = pytest.mark.parametrize("spec", [member() for member in SCHEDULES], ids=lambda spec: spec.kind)


def pace(spec: ScheduleSpec) -> Pace:
    return spec.build(total_steps=TOTAL, steps_per_epoch=PER_EPOCH)


def torch_optimizer(lr: float = 1.0) -> SGD:
    return SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)


def torch_factors(scheduler: lr_scheduler.LRScheduler, optimizer: SGD, steps: int) -> Iterator[float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that no optimizer step came first: here none is wanted
        for _ in range(steps):
            yield optimizer.param_groups[0]["lr"]
            scheduler.step()


@each
@settings(deadline=None)
@given(total=st.integers(1, 400), per_epoch=st.integers(1, 50))
def test_factor_is_positive_and_at_most_one(spec: ScheduleSpec, total: int, per_epoch: int) -> None:
    built = spec.build(total_steps=total, steps_per_epoch=per_epoch)
    factors = [built.factor(step) for step in range(total + 1)]
    assert all(0 <= factor <= 1 + 1e-12 and math.isfinite(factor) for factor in factors)
    assert max(factors[:-1]) > 0


@each
def test_factor_depends_on_the_step_alone(spec: ScheduleSpec) -> None:
    built = pace(spec)
    forwards = [built.factor(step) for step in range(TOTAL)]
    assert [built.factor(step) for step in reversed(range(TOTAL))] == forwards[::-1]


def test_constant() -> None:
    assert {pace(Constant()).factor(step) for step in range(TOTAL)} == {1.0}


def test_step_like_torch_by_epochs() -> None:
    optimizer = torch_optimizer()
    theirs = torch_factors(lr_scheduler.StepLR(optimizer, 3 * PER_EPOCH, gamma=0.5), optimizer, TOTAL)
    built = pace(Step(every=3, decay=0.5))
    assert [built.factor(step) for step in range(TOTAL)] == pytest.approx(list(theirs))


def test_step_like_torch_by_marks() -> None:
    optimizer = torch_optimizer()
    theirs = torch_factors(lr_scheduler.MultiStepLR(optimizer, [60, 90]), optimizer, TOTAL)
    assert [pace(Step()).factor(step) for step in range(TOTAL)] == pytest.approx(list(theirs))


def test_exponential_like_torch_at_whole_epochs() -> None:
    optimizer = torch_optimizer()
    theirs = torch_factors(lr_scheduler.ExponentialLR(optimizer, 0.9), optimizer, 10)
    built = pace(Exponential(decay=0.9))
    assert [built.factor(epoch * PER_EPOCH) for epoch in range(10)] == pytest.approx(list(theirs))


def test_inverse_time_by_hand() -> None:
    built = pace(InverseTime(rate=0.5))
    assert [built.factor(step) for step in (0, 12, 24, 48)] == pytest.approx([1, 1 / 1.5, 1 / 2, 1 / 3])


def test_cosine_like_torch() -> None:
    optimizer = torch_optimizer()
    theirs = torch_factors(lr_scheduler.CosineAnnealingLR(optimizer, TOTAL, eta_min=0.1), optimizer, TOTAL)
    built = pace(Cosine(final=0.1))
    assert [built.factor(step) for step in range(TOTAL)] == pytest.approx(list(theirs))


@pytest.mark.parametrize("rise", [0.1, 0.3, 0.77])
def test_one_cycle_like_torch(rise: float) -> None:
    optimizer = torch_optimizer()
    scheduler = lr_scheduler.OneCycleLR(
        optimizer, 1.0, TOTAL, pct_start=rise, div_factor=25, final_div_factor=1e4, cycle_momentum=False
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = [optimizer.param_groups[0]["lr"]]
        for _ in range(TOTAL - 1):
            scheduler.step()
            theirs.append(optimizer.param_groups[0]["lr"])
    built = pace(OneCycle(rise=rise, start=1 / 25, final=1 / 25 / 1e4))
    assert [built.factor(step) for step in range(TOTAL)] == pytest.approx(theirs)


def test_warm_up_rises_in_a_line_and_hands_over() -> None:
    built = pace(WarmUp(epochs=2, then=Cosine()))
    rise = [built.factor(step) for step in range(25)]
    assert rise == pytest.approx([(step + 1) / 25 for step in range(25)])
    assert max(built.factor(step) for step in range(TOTAL)) == built.factor(24) == 1
    rest = Cosine().build(total_steps=TOTAL - 24, steps_per_epoch=PER_EPOCH)
    assert [built.factor(step) for step in range(24, TOTAL)] == [rest.factor(step) for step in range(TOTAL - 24)]


@settings(deadline=None)
@given(losses=st.lists(st.floats(0.0, 10.0), max_size=60), patience=st.integers(0, 5))
def test_plateau_like_torch(losses: list[float], patience: int) -> None:
    optimizer = torch_optimizer()
    theirs = lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=patience, threshold=0.01, min_lr=0.01, eps=0.0
    )
    ours = pace(Plateau(decay=0.5, patience=patience, improvement=0.01, least=0.01))
    for loss in losses:
        theirs.step(loss)
        ours.observe(loss)
        assert ours.factor(0) == pytest.approx(optimizer.param_groups[0]["lr"])


def test_plateau_counts_a_loss_that_is_no_number_as_no_improvement() -> None:
    built = pace(Plateau(patience=0))
    built.observe(1.0)
    built.observe(math.nan)
    assert built.factor(0) == pytest.approx(0.1)


@each
@settings(deadline=None)
@given(losses=st.lists(st.floats(0.0, 10.0), min_size=1, max_size=30), cut=st.integers(0, 30))
def test_state_goes_on_where_it_was(spec: ScheduleSpec, losses: list[float], cut: int) -> None:
    import json

    whole, first, second = pace(spec), pace(spec), pace(spec)
    for loss in losses:
        whole.observe(loss)
    for loss in losses[:cut]:
        first.observe(loss)
    second.state = json.loads(json.dumps(first.state, allow_nan=False))
    for loss in losses[cut:]:
        second.observe(loss)
    assert second.state == whole.state
    assert second.factor(7) == whole.factor(7)


def test_warm_up_passes_losses_on_to_the_plateau_behind_it() -> None:
    built = pace(WarmUp(epochs=1, then=Plateau(patience=0)))
    built.observe(1.0)
    built.observe(2.0)
    assert built.factor(TOTAL) == pytest.approx(0.1)
    assert built.state == {"drops": 1, "waited": 0, "best": 1.0}


@each
def test_no_steps_are_refused(spec: ScheduleSpec) -> None:
    with pytest.raises(SpecError, match="at least 1 step in all and per epoch, and got 0 and 1"):
        spec.build(total_steps=0, steps_per_epoch=1)
    with pytest.raises(SpecError, match="got 1 and 0"):
        spec.build(total_steps=1, steps_per_epoch=0)


def test_bounds_of_the_fields() -> None:
    for wrong in (
        lambda: Step(decay=0.0),
        lambda: Cosine(final=1.0),
        lambda: WarmUp(epochs=0.0),
        lambda: OneCycle(rise=1.0),
    ):
        with pytest.raises(SpecError, match="is not allowed"):
            wrong()
    with pytest.raises(SpecError, match=r"at\[1\] = 1\.5 is not allowed"):
        Step(at=(0.5, 1.5))
