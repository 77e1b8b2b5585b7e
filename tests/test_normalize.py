"""Normalization: exact statistics, of the training part alone, and their application on the device."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from markone.data import normalize
from markone.data.dataset import Dataset
from markone.data.normalize import Fixed, Normalizer, Standardize, Statistics, UnitRange, identity, moments
from markone.errors import SpecError

CPU = torch.device("cpu")
FITTED = (Standardize, UnitRange)  # to the training part


def dataset(inputs: Any) -> Dataset:
    return Dataset("test", inputs, np.zeros(len(inputs), dtype=np.int64), classes=("a", "b"))


def pictures(n: int = 40, height: int = 5, width: int = 7, channels: int = 3, seed: int = 0) -> Any:
    random = np.random.default_rng(seed)
    return (random.random((n, height, width, channels)) * [200, 30, 100][:channels] + [50, 7, 0][:channels]).astype(
        np.uint8
    )


def table(n: int = 60, seed: int = 0) -> Any:
    """Columns of very different size, one constant, one that is 0 or 1."""
    random = np.random.default_rng(seed)
    columns = [random.normal(2000, 0.5, n), random.normal(0, 1e-6, n), random.exponential(1e8, n), np.full(n, 0.1)]
    return np.stack([*columns, random.integers(0, 2, n)], axis=1).astype(np.float32)


def whole(data: Dataset) -> Any:
    return np.arange(len(data))


def test_moments_of_pictures_are_numpys() -> None:
    data = dataset(pictures())
    mean, std = moments(data, whole(data))
    flat = data.inputs.reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(mean, flat.mean(0), rtol=1e-14)
    np.testing.assert_allclose(std, flat.std(0), rtol=1e-14)


@given(arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 3), st.integers(1, 3), st.sampled_from((1, 3)))))
def test_moments_of_any_pictures(inputs: Any) -> None:
    mean, std = moments(dataset(inputs), np.arange(len(inputs)))
    flat = inputs.reshape(-1, inputs.shape[3]).astype(np.float64)
    np.testing.assert_allclose(mean, flat.mean(0), rtol=1e-13)
    np.testing.assert_allclose(std, flat.std(0), rtol=1e-13, atol=1e-13)
    assert ((std == 0) == (flat.min(0) == flat.max(0))).all(), "the deviation of a constant is exactly 0"


def test_standardize_is_scikit_learns() -> None:
    data = dataset(table())
    training = np.arange(0, 60, 2)
    found, scaler = Standardize().fit(data, training), StandardScaler().fit(data.inputs[training].astype(np.float64))
    np.testing.assert_allclose(found.mean, scaler.mean_, rtol=1e-12)
    np.testing.assert_allclose(found.std, scaler.scale_, rtol=1e-9)
    applied = Normalizer(found, images=False, device=CPU)(torch.from_numpy(data.inputs))
    np.testing.assert_allclose(applied, scaler.transform(data.inputs.astype(np.float64)), rtol=1e-6, atol=1e-6)


def test_unit_range_is_scikit_learns() -> None:
    data = dataset(table())
    training = np.arange(0, 60, 2)
    scaler = MinMaxScaler().fit(data.inputs[training].astype(np.float64))
    applied = Normalizer(UnitRange().fit(data, training), images=False, device=CPU)(torch.from_numpy(data.inputs))
    np.testing.assert_allclose(applied, scaler.transform(data.inputs.astype(np.float64)), rtol=1e-6, atol=1e-6)
    assert applied[training].min() == 0
    assert applied[training].max() == 1


def test_unit_range_of_pictures_is_one_for_all_channels() -> None:
    data = dataset(pictures())
    found = UnitRange().fit(data, whole(data))
    low, high = int(data.inputs.min()), int(data.inputs.max())
    assert found == Statistics(mean=(float(low),) * 3, std=(float(high - low),) * 3)


@given(arrays(np.float32, (12, 2), elements=st.floats(-1e6, 1e6, width=32) | st.just(float("nan"))))
def test_missing_numbers_are_left_out(inputs: Any) -> None:
    mean, std = moments(dataset(inputs), np.arange(12))
    for column, (m, s) in zip(inputs.T.astype(np.float64), zip(mean, std, strict=True), strict=True):
        there = column[~np.isnan(column)]
        np.testing.assert_allclose(m, there.mean() if len(there) else 0, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(s, there.std() if len(there) else 0, rtol=1e-9, atol=1e-9)
        assert (s == 0) == (len(set(there)) <= 1)


def test_infinity_is_left_out_and_stays_to_be_seen() -> None:
    inputs = np.array([[1, 5], [3, np.inf], [np.nan, 7], [2, -np.inf]], dtype=np.float32)
    found = Standardize().fit(dataset(inputs), np.arange(4))
    assert found.mean == (2.0, 6.0)
    applied = Normalizer(found, images=False, device=CPU)(torch.from_numpy(inputs))
    assert applied[2, 0] == 0, "a missing number is the mean"
    assert applied[1, 1] == float("inf")
    assert applied[3, 1] == -float("inf")


@pytest.mark.parametrize("value", [0.1, -3e7, 1e-30, 0.0])
def test_a_constant_is_only_centred(value: float) -> None:
    inputs = np.full((1000, 1), value, dtype=np.float32)
    for normalization in FITTED:
        found = normalization().fit(dataset(inputs), np.arange(1000))
        assert found.std == (1.0,)
        assert found.mean == (float(np.float32(value)),)
        assert (Normalizer(found, images=False, device=CPU)(torch.from_numpy(inputs)) == 0).all()


def test_a_large_mean_costs_no_digits() -> None:
    """E[x^2] - E[x]^2 would keep none here."""
    base = np.random.default_rng(0).integers(-100, 100, (5000, 1))
    inputs = (base * 64 + 3 * 2**28).astype(np.float32)  # float32 holds multiples of 64 exactly there
    mean, std = moments(dataset(inputs), np.arange(5000))
    np.testing.assert_allclose(mean, base.mean() * 64 + 3 * 2**28, rtol=1e-15)
    np.testing.assert_allclose(std, base.std() * 64, rtol=1e-12)
    applied = Normalizer(Standardize().fit(dataset(inputs), np.arange(5000)), images=False, device=CPU)
    np.testing.assert_allclose(applied(torch.from_numpy(inputs)), (base - base.mean()) / base.std(), atol=3e-7)


@pytest.mark.parametrize("normalization", FITTED)
@pytest.mark.parametrize("inputs", [pictures(), table()], ids=["pictures", "table"])
def test_only_the_training_part_counts(normalization: Any, inputs: Any) -> None:
    training, other = np.arange(0, 40, 3), np.setdiff1d(np.arange(len(inputs)), np.arange(0, 40, 3))
    before = normalization().fit(dataset(inputs), training)
    changed = inputs.copy()
    changed[other] = 255
    assert normalization().fit(dataset(changed), training) == before
    assert normalization().fit(dataset(inputs[training]), np.arange(len(training))) == before


@pytest.mark.parametrize("inputs", [pictures(), table()], ids=["pictures", "table"])
@pytest.mark.parametrize("normalization", FITTED)
def test_pieces_and_memory_maps_change_nothing(
    normalization: Any, inputs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.arange(1, len(inputs), 2)
    before = normalization().fit(dataset(inputs), rows)
    np.save(tmp_path / "inputs.npy", inputs)
    mapped = np.load(tmp_path / "inputs.npy", mmap_mode="r")
    assert normalization().fit(dataset(mapped), rows) == before
    for size in (1, inputs[0].nbytes * 3):
        monkeypatch.setattr(normalize, "PIECE_BYTES", size)
        found = normalization().fit(dataset(mapped), rows)
        np.testing.assert_allclose(found.mean, before.mean, rtol=1e-14)
        np.testing.assert_allclose(found.std, before.std, rtol=1e-14)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("normalization", [*FITTED, None])
def test_pictures_become_channels_last_float32(channels: int, normalization: Any) -> None:
    inputs = pictures(channels=channels)
    found = normalization().fit(dataset(inputs), np.arange(40)) if normalization else identity(dataset(inputs))
    bytes_before = torch.from_numpy(inputs.copy())
    applied = Normalizer(found, images=True, device=CPU)(bytes_before)
    assert applied.shape == (40, channels, 5, 7)
    assert applied.dtype == torch.float32
    assert applied.is_contiguous(memory_format=torch.channels_last)
    expected = (inputs - np.array(found.mean)) / np.array(found.std)
    np.testing.assert_allclose(applied.permute(0, 2, 3, 1), expected, rtol=1e-6, atol=2e-6)
    assert torch.equal(bytes_before, torch.from_numpy(inputs)), "the input is left as it was"


def test_no_normalization_changes_nothing() -> None:
    inputs = pictures()
    applied = Normalizer(identity(dataset(inputs)), images=True, device=CPU)(torch.from_numpy(inputs))
    assert torch.equal(applied.permute(0, 2, 3, 1), torch.from_numpy(inputs).float())
    rows = torch.from_numpy(table())
    assert torch.equal(Normalizer(identity(dataset(table())), images=False, device=CPU)(rows), rows)


@pytest.mark.parametrize("images", [True, False])
def test_float_inputs_are_not_changed_in_place(images: bool) -> None:
    inputs = torch.rand(4, 3, 3, 2) if images else torch.rand(4, 2)
    before = inputs.clone()
    Normalizer(Statistics((1.0, 2.0), (3.0, 4.0)), images=images, device=CPU)(inputs)
    assert torch.equal(inputs, before)


def test_pictures_of_another_size_go_through_the_same_normalizer() -> None:
    normalizer = Normalizer(Statistics((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)), images=True, device=CPU)
    for side in (3, 5, 3):
        inputs = torch.randint(0, 256, (2, side, side, 3), dtype=torch.uint8)
        expected = (inputs - torch.tensor([1.0, 2.0, 3.0])) / torch.tensor([4.0, 5.0, 6.0])
        torch.testing.assert_close(normalizer(inputs).permute(0, 2, 3, 1), expected, rtol=1e-6, atol=1e-5)


def test_statistics_are_kept_exactly() -> None:
    found = Standardize().fit(dataset(table()), np.arange(60))
    assert Statistics.from_dict(found.to_dict()) == found
    assert all(type(number) is float for number in (*found.mean, *found.std))


@pytest.mark.parametrize(
    ("channels", "mean", "std"), [(3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), (1, (0.5,), (0.25,))]
)
def test_fixed_is_in_shares_of_white(channels: int, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    inputs = pictures(channels=channels)
    found = Fixed(mean=mean, std=std).fit(dataset(inputs), np.arange(1))
    applied = Normalizer(found, images=True, device=CPU)(torch.from_numpy(inputs))
    np.testing.assert_allclose(applied.permute(0, 2, 3, 1), (inputs / 255 - mean) / std, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("inputs", "given"), [(pictures(channels=1), "1 channels"), (table(), "5 columns")])
def test_fixed_is_for_as_many_channels_as_it_has(inputs: Any, given: str) -> None:
    with pytest.raises(SpecError, match=f"normalization fixed has 3 means .*, and test has {given}; give one for each"):
        Fixed().fit(dataset(inputs), np.arange(1))
