"""Generated data against its definition: the truth tables, the curves, the polynomial, the shapes to the pixel."""

import numpy as np
import pytest

from markone.data.dataset import Dataset
from markone.data.letters import LETTERS
from markone.data.shapes import COLOURS, SHAPES
from markone.data.synthetic import Gate, Letters, Moons, Polynomial, Shapes, Spirals
from markone.spec import Spec


@pytest.mark.parametrize(
    "spec", [Gate(kind="xor"), Spirals(), Moons(), Polynomial(), Shapes(samples=60), Letters(samples=80)], ids=str
)
def test_seed_decides_the_data(spec: Spec) -> None:
    def inputs(seed: int) -> np.ndarray:
        dataset: Dataset = spec.edit("seed", seed).build()  # type: ignore[attr-defined]
        return np.asarray(dataset.inputs)

    np.testing.assert_array_equal(inputs(3), inputs(3))
    assert (inputs(3) != inputs(4)).any()


@pytest.mark.parametrize(
    ("kind", "table"), [("and", [0, 0, 0, 1]), ("or", [0, 1, 1, 1]), ("xor", [0, 1, 1, 0])], ids=["and", "or", "xor"]
)
def test_gates_are_their_truth_tables(kind: str, table: list[int]) -> None:
    dataset = Gate(kind=kind, samples=400, noise=0.05).build()  # type: ignore[arg-type]
    corners = np.rint(dataset.inputs).astype(int)
    assert dataset.targets.tolist() == [table[2 * a + b] for a, b in corners]
    assert np.bincount(2 * corners[:, 0] + corners[:, 1]).tolist() == [100] * 4
    assert (dataset.inputs - corners).std() == pytest.approx(0.05, rel=0.1)
    assert dataset.classes == ("0", "1")


def test_spirals_lie_on_their_arms() -> None:
    dataset = Spirals(samples=900, arms=3, turns=2.0, noise=0.0).build()
    radius = np.hypot(*dataset.inputs.T.astype(float))
    assert 0 < radius.min() < radius.max() <= 1 + 1e-6
    angle = np.arctan2(dataset.inputs[:, 1], dataset.inputs[:, 0])
    turned = (angle / (2 * np.pi) - 2.0 * radius - dataset.targets / 3) % 1
    np.testing.assert_allclose(np.minimum(turned, 1 - turned), 0, atol=1e-4)
    assert np.bincount(dataset.targets).tolist() == [300] * 3


def test_moons_are_half_circles() -> None:
    dataset = Moons(samples=500, noise=0.0).build()
    upper, lower = (dataset.inputs[dataset.targets == k].astype(float) for k in (0, 1))
    np.testing.assert_allclose(np.hypot(upper[:, 0], upper[:, 1]), 1, atol=1e-5)
    np.testing.assert_allclose(np.hypot(lower[:, 0] - 1, lower[:, 1] - 0.5), 1, atol=1e-5)
    assert (upper[:, 1] >= -1e-6).all()
    assert (lower[:, 1] <= 0.5 + 1e-6).all()


@pytest.mark.parametrize("degree", [1, 3, 8])
def test_polynomial_has_its_degree(degree: int) -> None:
    dataset = Polynomial(samples=300, degree=degree, noise=0.0).build()
    x, y = dataset.inputs[:, 0].astype(float), dataset.targets[:, 0].astype(float)
    assert np.abs(x).max() <= 1

    def residual(of_degree: int) -> float:
        return float(np.abs(np.polynomial.Polynomial.fit(x, y, of_degree)(x) - y).max())

    assert residual(degree) < 1e-5
    assert residual(degree - 1) > 1e-2


def test_polynomial_noise_is_relative() -> None:
    plain, noisy = (Polynomial(samples=5000, noise=noise).build().targets for noise in (0.0, 0.5))
    assert (noisy - plain).std() / plain.std() == pytest.approx(0.5, rel=0.05)


@pytest.fixture(scope="module")
def shapes() -> Dataset:
    return Shapes(samples=1000, size=48, noise=0.0).build()


def test_shapes_have_a_class_a_mask_and_a_caption(shapes: Dataset) -> None:
    assert shapes.inputs.shape == (1000, 48, 48, 3)
    assert shapes.classes == tuple(SHAPES)
    assert np.bincount(shapes.targets).tolist() == [200] * 5
    mask, captions = shapes.extras["mask"], shapes.extras["caption"]
    assert mask.shape == (1000, 48, 48)
    for picture, target, seen, caption in zip(shapes.inputs, shapes.targets, mask, captions, strict=True):
        assert np.unique(seen).tolist() == [0, target + 1]
        article, colour, shape, on, another, ground, word = str(caption).split()
        assert (article, on, another, word) == ("a", "on", "a", "background")
        assert shape == shapes.classes[target]
        assert colour != ground
        inside, outside = picture[seen > 0].astype(int), picture[seen == 0].astype(int)
        assert np.abs(np.median(inside, axis=0) - COLOURS[colour]).max() <= 19
        assert np.abs(np.median(outside, axis=0) - COLOURS[ground]).max() <= 19


def test_masks_have_the_area_and_extent_of_their_shape(shapes: Dataset) -> None:
    """Area over the square of the widest diameter: pi/4 for a circle, less for the others, whatever size and angle."""
    mask = shapes.extras["mask"] > 0
    expected = {"circle": np.pi / 4, "ring": np.pi * (1 - 0.44**2) / 4, "square": 0.5}
    grid = np.stack(np.meshgrid(np.arange(48), np.arange(48), indexing="ij"), axis=-1)
    for name, ratio in expected.items():
        found = []
        for seen in mask[shapes.targets == list(SHAPES).index(name)][:40]:
            points = grid[seen].astype(float)
            angles = np.linspace(0, np.pi, 36, endpoint=False)
            along = points @ np.stack([np.cos(angles), np.sin(angles)])
            found.append(seen.sum() / (np.ptp(along, axis=0).max() + 1) ** 2)
        assert np.mean(found) == pytest.approx(ratio, rel=0.08), name
        assert min(found) > 0.85 * ratio, "no shape is cut off by the border"


def test_noise_is_what_was_asked(shapes: Dataset) -> None:
    noisy = Shapes(samples=1000, size=48, noise=12.0).build()
    ground = (noisy.extras["mask"] == 0) & (shapes.extras["mask"] == 0)
    values = noisy.inputs[ground].astype(float) - shapes.inputs[ground]
    middle = (shapes.inputs[ground] > 60) & (shapes.inputs[ground] < 195)  # where nothing is clipped
    assert values[middle].std() == pytest.approx(12, rel=0.1)


def test_letters_are_their_dots() -> None:
    dataset = Letters(samples=80, shift=0, noise=0.0).build()
    assert dataset.inputs.shape == (80, 20, 20, 1)
    assert set(np.unique(dataset.inputs).tolist()) == {0, 255}
    assert dataset.classes == tuple(LETTERS)
    for picture, target in zip(dataset.inputs[..., 0], dataset.targets, strict=True):
        dots = [[picture[3 + 2 * i, 2 + 3 * j] > 0 for j in range(5)] for i in range(7)]
        assert dots == [[dot == "#" for dot in row] for row in LETTERS["ABCDEFGH"[target]].split()]


def test_letters_are_shifted_each_way_and_stay_whole() -> None:
    still, moved = (Letters(samples=2000, shift=shift, noise=0.0).build().inputs[..., 0] for shift in (0, 2))
    shifts = set()
    for picture, there in zip(still[:800], moved[:800], strict=True):
        found = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if (np.roll(picture, (down, right), (0, 1)) == there).all()
        ]
        assert len(found) == 1
        shifts |= set(found)
    assert len(shifts) == 25
    assert (moved.sum((1, 2)) == still.sum((1, 2))).all()
    assert not still[:, :2].any()
    assert not still[:, -2:].any()


def test_letters_are_as_noisy_as_asked() -> None:
    plain, noisy = (Letters(samples=400, shift=0, noise=noise).build().inputs for noise in (0.0, 0.05))
    assert (plain != noisy).mean() == pytest.approx(0.05, rel=0.05)
