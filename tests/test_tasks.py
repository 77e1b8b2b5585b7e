"""Tasks: what a training is for. One conformance test for all, then each one's own mathematics."""

import json
import math
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, mean_absolute_error, r2_score, root_mean_squared_error

from markone.data.dataset import Dataset
from markone.errors import SpecError
from markone.losses import BinaryCrossEntropy, CrossEntropy, Squared
from markone.tasks import TASKS, Classification, Regression, Segmentation
from markone.tasks.task import Interval, TargetCode, TaskSpec

ROWS = np.arange(30)


def classes(count: int = 3, n: int = 30) -> Dataset:
    targets = np.random.default_rng(0).integers(0, count, n)
    return Dataset("flowers", np.zeros((n, 2), np.float32), targets, classes=("rose", "tulip", "lily")[:count])


def numbers(n: int = 30, scale: tuple[float, ...] = (1000.0, 0.01)) -> Dataset:
    targets = np.random.default_rng(0).normal(5, 1, (n, len(scale))) * scale
    names = ("price", "size")[: len(scale)]
    return Dataset("houses", np.zeros((n, 2), np.float32), targets.astype(np.float32), target_names=names)


def pictures(n: int = 30) -> Dataset:
    random = np.random.default_rng(0)
    masks = random.choice([0, 1, 2, 255], (n, 4, 6), p=[0.5, 0.2, 0.2, 0.1]).astype(np.uint8)
    inputs = np.zeros((n, 4, 6, 3), np.uint8)
    return Dataset("meadows", inputs, np.arange(n) % 2, classes=("rose", "tulip"), extras={"mask": masks})


CASES: list[tuple[TaskSpec, Dataset, Any]] = [
    (Classification(), classes(), CrossEntropy()),
    (Classification(), classes(2), CrossEntropy()),
    (Classification(), classes(2), BinaryCrossEntropy()),
    (Regression(), numbers(), Squared()),
    (Regression(), numbers(scale=(1.0,)), Squared()),
    (Segmentation(), pictures(), CrossEntropy()),
]
IDS = ["three classes", "two scores", "one score", "two numbers", "one number", "masks"]


def scores_for(task: TaskSpec, dataset: Dataset, loss: Any, seed: int = 0) -> tuple[Any, Any, TargetCode]:
    code = task.code(dataset, ROWS)
    targets = task.targets(dataset, code)
    random = torch.Generator().manual_seed(seed)
    places = targets.shape[1:] if task.gives == "maps" else ()
    return torch.randn(len(dataset), task.outputs(code, loss), *places, generator=random), targets, code


def test_every_task_is_a_case() -> None:
    assert {type(task) for task, _, _ in CASES} == set(TASKS)


@pytest.mark.parametrize(("task", "dataset", "loss"), CASES, ids=IDS)
def test_conformance(task: TaskSpec, dataset: Dataset, loss: Any) -> None:
    scores, targets, code = scores_for(task, dataset, loss)
    assert len(targets) == len(dataset)
    assert TargetCode.from_dict(json.loads(json.dumps(code.to_dict()))) == code
    kept = task.kept(scores, targets)
    metrics = task.metrics(*kept, code)
    intervals = task.intervals(*kept, code, seed=3)
    assert task.metric in metrics
    assert set(task.blind_guess(targets, code)) <= set(metrics)
    assert task.metric in task.blind_guess(targets, code)
    assert set(intervals) == set(metrics)
    for name, interval in intervals.items():
        assert interval.value == pytest.approx(metrics[name], rel=1e-12)
        assert interval.low <= interval.value <= interval.high
        assert interval.low < interval.high
    assert intervals == task.intervals(*kept, code, seed=3), "a function of the seed"
    rows = task.present(scores, code, loss)
    assert len(rows) == len(dataset)
    assert json.loads(json.dumps(rows)) == rows
    loss.require_task(task.kind)
    loss.build()(scores, targets)
    assert task.better({task.metric: task.less(0.5, -0.1), "loss": 1.0}, {task.metric: 0.5, "loss": 1.0})
    assert not task.better({task.metric: task.less(0.5, 0.1), "loss": 1.0}, {task.metric: 0.5, "loss": 1.0})


@pytest.mark.parametrize(("task", "dataset", "loss"), CASES, ids=IDS)
def test_perfect_scores(task: TaskSpec, dataset: Dataset, loss: Any) -> None:
    scores, targets, code = scores_for(task, dataset, loss)
    perfect = targets.clone() if isinstance(task, Regression) else one_hot(targets, scores.shape[1])
    metrics = task.metrics(*task.kept(perfect, targets), code)
    best = {"accuracy": 1.0, "rmse": 0.0, "mae": 0.0, "r2": 1.0, "mean_iou": 1.0, "pixel_accuracy": 1.0}
    assert metrics == {name: best[name] for name in metrics}
    assert task.better({**metrics, "loss": 1.0}, {**task.metrics(*task.kept(scores, targets), code), "loss": 0.0})


def one_hot(targets: torch.Tensor, outputs: int) -> torch.Tensor:
    if targets.ndim == 3:
        return torch.eye(outputs)[targets.long() % outputs].movedim(3, 1)  # a void pixel may be anything
    return (2.0 * targets - 1)[:, None] if outputs == 1 else torch.eye(outputs)[targets]


@pytest.mark.parametrize(
    ("task", "other"), [(Classification(), numbers()), (Regression(), classes()), (Segmentation(), classes())]
)
def test_the_wrong_data_is_refused(task: TaskSpec, other: Dataset) -> None:
    with pytest.raises(SpecError, match=rf"^{other.name} has .* set task.kind=\w+\.$") as caught:
        task.code(other, ROWS)
    assert caught.value.slug == "task-mismatch"


values = st.floats(-5, 5) | st.just(math.nan)
metric_sets = st.tuples(values, values)


@pytest.mark.parametrize("task", [Classification(), Regression(), Segmentation()])
@given(a=metric_sets, b=metric_sets, c=metric_sets)
def test_better_is_a_strict_order(task: TaskSpec, a: Any, b: Any, c: Any) -> None:
    first, second, third = ({task.metric: metric, "loss": loss} for metric, loss in (a, b, c))
    assert task.better(first, None)
    assert not task.better(first, first)
    assert not (task.better(first, second) and task.better(second, first))
    if task.better(first, second) and task.better(second, third):
        assert task.better(first, third)
    if not any(map(math.isnan, (*a, *b))):
        gain = a[0] - b[0] if task.higher_is_better else b[0] - a[0]
        assert task.better(first, second) == (gain > 0 or (gain == 0 and a[1] < b[1]))
    if math.isnan(a[0]) and not math.isnan(b[0]):
        assert task.better(second, first), "any number is better than none"


def test_less_is_worse() -> None:
    assert Classification().less(0.9, 0.1) == pytest.approx(0.8)
    assert Regression().less(0.9, 0.1) == pytest.approx(1.0)


def test_classes_by_the_largest_score_or_the_sign_of_one() -> None:
    assert Classification.decide(torch.tensor([[1.0, 3.0, 2.0], [0.0, -1.0, -2.0]])).tolist() == [1, 0]
    assert Classification.decide(torch.tensor([[0.3], [-0.3], [0.0]])).tolist() == [1, 0, 0]
    with_half = Classification.decide(torch.tensor([[1.0, 3.0]], dtype=torch.bfloat16))
    assert with_half.dtype == torch.int64


@pytest.mark.parametrize(("dataset", "loss"), [(classes(), CrossEntropy()), (classes(2), BinaryCrossEntropy())])
def test_accuracy_is_scikit_learns(dataset: Dataset, loss: Any) -> None:
    scores, targets, code = scores_for(Classification(), dataset, loss)
    decided = Classification.decide(scores)
    expected = accuracy_score(targets, decided)
    assert Classification().metrics(scores, targets, code)["accuracy"] == pytest.approx(expected, rel=1e-12)


def test_accuracy_interval_is_wilsons() -> None:
    """Its ends are the shares from which the one that was seen lies 1.96 of their own standard errors away."""
    scores = torch.eye(2)[torch.tensor([0] * 90 + [1] * 10)]
    found = Classification().intervals(scores, torch.zeros(100).long(), TargetCode(classes=("a", "b")), seed=0)[
        "accuracy"
    ]
    assert (found.value, found.method) == (0.9, "Wilson")
    for end in (found.low, found.high):
        assert abs(0.9 - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / 100), rel=1e-6)
    ends = {"low": found.low, "high": found.high}
    assert found.to_dict() == {"value": 0.9, **ends, "level": 0.95, "method": "Wilson"}


@pytest.mark.parametrize(("dataset", "loss"), [case[1:] for case in CASES[:3]], ids=IDS[:3])
def test_classes_are_presented_with_probabilities(dataset: Dataset, loss: Any) -> None:
    scores, _, code = scores_for(Classification(), dataset, loss)
    for row, decided in zip(Classification().present(scores, code, loss), Classification.decide(scores), strict=True):
        assert row["class"] == (dataset.classes or ())[decided]
        assert list(row["probabilities"]) == list(dataset.classes or ())
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-6)
        assert row["probability"] == row["probabilities"][row["class"]] == max(row["probabilities"].values())


def test_the_net_has_as_many_outputs_as_the_loss_wants() -> None:
    code = TargetCode(classes=("a", "b"))
    assert [Classification().outputs(code, loss) for loss in (CrossEntropy(), BinaryCrossEntropy())] == [2, 1]
    assert Regression().outputs(Regression().code(numbers(), ROWS), Squared()) == 2


def test_targets_of_regression_are_standardized_by_the_training_part() -> None:
    dataset, training = numbers(), np.arange(20)
    code = Regression().code(dataset, training)
    targets = Regression().targets(dataset, code)
    assert targets.dtype == torch.float32
    part = targets[:20].double()
    torch.testing.assert_close(part.mean(0), torch.zeros(2).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(part.std(0, correction=0), torch.ones(2).double(), atol=1e-6, rtol=0)
    changed = dataset.targets.copy()
    changed[20:] = 1e6
    again = Regression().code(Dataset("houses", dataset.inputs, changed, target_names=("price", "size")), training)
    assert again == code, "other samples change nothing"
    np.testing.assert_allclose(Regression.original(targets, code), dataset.targets, rtol=1e-6)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 3e7, 0.0])
def test_a_constant_target_is_only_centred(value: float) -> None:
    dataset = Dataset("flat", np.zeros((30, 2), np.float32), np.full((30, 1), value))
    code = Regression().code(dataset, ROWS)
    assert code.std == (1.0,)
    assert Regression().targets(dataset, code).abs().max() < 1e-6 * max(value, 1)


def test_metrics_of_regression_are_in_original_units() -> None:
    scores, targets, code = scores_for(Regression(), numbers(), Squared())
    guess = scores.double().numpy() * np.array(code.std) + np.array(code.mean)
    truth = targets.double().numpy() * np.array(code.std) + np.array(code.mean)
    metrics = Regression().metrics(scores, targets, code)
    assert metrics["rmse"] == pytest.approx(float(np.sqrt(((guess - truth) ** 2).mean())), rel=1e-9)
    assert metrics["mae"] == pytest.approx(mean_absolute_error(truth, guess), rel=1e-9)
    assert metrics["r2"] == pytest.approx(r2_score(truth, guess), rel=1e-9)
    one = scores_for(Regression(), numbers(scale=(1.0,)), Squared())
    assert Regression().metrics(*one)["rmse"] == pytest.approx(
        root_mean_squared_error(*(Regression.original(each, one[2]) for each in (one[1], one[0]))), rel=1e-9
    )


def test_numbers_are_presented_by_name_in_original_units() -> None:
    dataset = numbers()
    code = Regression().code(dataset, ROWS)
    rows = Regression().present(Regression().targets(dataset, code), code, Squared())
    assert [list(row) for row in rows] == [["price", "size"]] * 30
    np.testing.assert_allclose([list(row.values()) for row in rows], dataset.targets, rtol=1e-6)


def test_the_bootstrap_interval_has_the_width_that_theory_gives() -> None:
    """Of n normal errors of deviation s the rmse has the standard error s / sqrt(2 n)."""
    n = 2000
    errors = torch.randn(n, 1, generator=torch.Generator().manual_seed(0))
    code = TargetCode(names=("y",), mean=(0.0,), std=(3.0,))
    interval = Regression().intervals(errors, torch.zeros(n, 1), code, seed=0)["rmse"]
    assert interval.method == "bootstrap"
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * 3 / (2 * n) ** 0.5, rel=0.15)
    assert interval.low < 3 < interval.high


def test_seeds_give_other_draws() -> None:
    case = scores_for(Regression(), numbers(), Squared())
    lows = {seed: Regression().intervals(*case, seed=seed)["rmse"] for seed in (0, 1)}
    assert lows[0] != lows[1]
    assert lows[0].value == lows[1].value


def test_codes_are_values() -> None:
    codes = [TargetCode(), TargetCode(classes=("a", "b")), TargetCode(names=("y",), mean=(0.5,), std=(2.0,))]
    for (i, a), (j, b) in product(enumerate(codes), repeat=2):
        assert (a == b) == (i == j)
    assert Interval(0.5, 0.4, 0.6, "Wilson").to_dict()["level"] == 0.95
