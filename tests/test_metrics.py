"""Metrics against scikit-learn and published numbers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as theirs

from markone.metrics import accuracy, bootstrap, confusion, mae, predicted, r2, rmse, top_k, wilson_interval
from markone.seeds import numpy_generator

SEEDS = st.integers(0, 10_000)


def guesses(seed: int, classes: int, samples: int = 50) -> tuple[torch.Tensor, torch.Tensor]:
    generator = numpy_generator(seed, "scores")
    scores = torch.from_numpy(generator.normal(size=(samples, classes)))
    return scores, torch.from_numpy(generator.integers(0, classes, samples))


@settings(deadline=None, max_examples=25)
@given(SEEDS, st.integers(2, 8))
def test_classification_like_scikit_learn(seed: int, classes: int) -> None:
    scores, targets = guesses(seed, classes)
    labels = np.arange(classes)
    assert accuracy(scores, targets) == pytest.approx(theirs.accuracy_score(targets, predicted(scores)))
    assert np.array_equal(
        confusion(predicted(scores), targets, classes=classes).numpy(),
        theirs.confusion_matrix(targets, predicted(scores), labels=labels),
    )
    for k in range(1, classes):
        expected = (
            accuracy(scores, targets)
            if classes == 2
            else theirs.top_k_accuracy_score(targets, scores, k=k, labels=labels)
        )
        assert top_k(scores, targets, k=k) == pytest.approx(expected)


def test_top_k_of_all_classes_is_one() -> None:
    scores, targets = guesses(0, 3)
    assert top_k(scores, targets, k=3) == top_k(scores, targets) == 1.0
    assert top_k(scores[:, :1], targets.clamp_max(1), k=2) == 1.0


def test_one_score_stands_for_two_classes() -> None:
    scores = torch.tensor([[-0.1], [0.0], [0.3]])
    assert predicted(scores).tolist() == [0, 0, 1]
    assert accuracy(scores, torch.tensor([0, 1, 1])) == pytest.approx(2 / 3)
    assert top_k(scores, torch.tensor([0, 1, 1]), k=1) == pytest.approx(2 / 3)


@settings(deadline=None, max_examples=25)
@given(SEEDS, st.integers(1, 3))
def test_regression_like_scikit_learn(seed: int, outputs: int) -> None:
    generator = numpy_generator(seed, "numbers")
    targets = torch.from_numpy(generator.normal(size=(40, outputs)))
    values = targets + torch.from_numpy(generator.normal(size=(40, outputs)))
    assert rmse(values, targets) == pytest.approx(theirs.mean_squared_error(targets, values) ** 0.5)
    assert mae(values, targets) == pytest.approx(theirs.mean_absolute_error(targets, values))
    assert r2(values, targets) == pytest.approx(theirs.r2_score(targets, values))


def test_r2_of_a_constant_target() -> None:
    targets = torch.full((5, 1), 2.0)
    assert r2(targets, targets) == theirs.r2_score(targets, targets) == 1.0
    assert r2(targets + 1, targets) == theirs.r2_score(targets, targets + 1) == 0.0


def test_wilson_against_published_numbers() -> None:
    """81 of 263 and 1 of 29 (Newcombe, Two-sided confidence intervals for the single proportion, 1998, table I)."""
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson_interval(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


@given(st.integers(0, 500), st.integers(0, 500), st.floats(0.5, 0.999))
def test_wilson_holds_the_share_and_mirrors(right: int, wrong: int, confidence: float) -> None:
    n = right + wrong
    low, high = wilson_interval(right, n, confidence=confidence)
    mirrored = wilson_interval(wrong, n, confidence=confidence)
    assert 0 <= low <= high <= 1
    assert (low, high) == pytest.approx((1 - mirrored[1], 1 - mirrored[0]))
    if n:
        assert low <= right / n + 1e-12
        assert right / n <= high + 1e-12


def test_wilson_without_samples() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_bootstrap_like_the_normal_interval() -> None:
    """The mean error of 400 normal ones: mean +- 1.96 s / sqrt(n), within the noise of 2,000 draws."""
    errors = torch.from_numpy(numpy_generator(0, "errors").normal(size=(400, 1)))
    low, high = bootstrap(
        lambda v, t: float((v - t).mean()), errors, torch.zeros(400, 1), generator=numpy_generator(0, "b"), draws=2000
    )
    half = 1.96 * float(errors.std()) / 20
    assert (low, high) == pytest.approx((float(errors.mean()) - half, float(errors.mean()) + half), abs=0.015)


def test_bootstrap_comes_from_the_generator() -> None:
    values, targets = torch.arange(30.0).unsqueeze(1), torch.zeros(30, 1)
    first, again, other = (
        bootstrap(rmse, values, targets, generator=numpy_generator(seed, "b"), draws=50) for seed in (0, 0, 1)
    )
    assert first == again != other
    narrow = bootstrap(rmse, values, targets, generator=numpy_generator(0, "b"), draws=50, confidence=0.5)
    assert first[0] < narrow[0] < narrow[1] < first[1]
