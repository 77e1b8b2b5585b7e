"""Duplicates: every planted copy is found, nothing else is taken for one, in photos as in digits; and what real sets hold."""

import io
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import markone.data.duplicates as duplicates_module
from markone.data.dataset import UNASSIGNED, Dataset, Part
from markone.data.duplicates import equal_rows, find_duplicates
from markone.data.folder import read_folder
from markone.data.perceptual import alike_pairs, chance_similarity, details, layouts, similarity
from markone.data.published import read_published
from markone.data.source import resolve
from markone.data.split import Split, split
from tests.pictures import texture

Pictures = NDArray[np.uint8]


def pictures_dataset(pictures: Pictures, **fields: object) -> Dataset:
    targets = np.arange(len(pictures), dtype=np.int64) % 2
    return Dataset("pictures", pictures, targets, classes=("a", "b"), **fields)  # type: ignore[arg-type]


def as_set(pairs: NDArray[np.int64]) -> set[tuple[int, int]]:
    return {(min(a, b), max(a, b)) for a, b in pairs.tolist()}


def textures(count: int, *, side: int = 64) -> Pictures:
    return np.stack([np.asarray(texture(seed, size=(side, side))) for seed in range(count)])


@pytest.fixture(scope="module")
def photos() -> Pictures:
    return textures(300)


# Exact duplicates


def test_equal_rows_against_python() -> None:
    random = np.random.default_rng(0)
    for shape in ((500, 3), (500, 8), (300, 5, 5, 3), (50, 1)):
        rows = random.integers(0, 4, shape).astype(np.uint8)
        seen: dict[bytes, int] = {}
        expected = [seen.setdefault(row.tobytes(), i) for i, row in enumerate(rows)]
        assert equal_rows(rows).tolist() == expected


def test_equal_rows_when_all_hashes_collide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes decide: a collision never makes a duplicate."""
    monkeypatch.setattr(duplicates_module, "_hash_rows", lambda rows: np.zeros(len(rows), dtype=np.uint64))
    rows = np.array([[1], [1], [2], [1]], dtype=np.uint8)
    assert equal_rows(rows).tolist() == [0, 0, 2, 0]


def test_rows_of_a_table_are_duplicates_with_equal_inputs_and_target() -> None:
    inputs = np.array([[1, 2], [1, 2], [1, 2], [np.nan, 3], [np.nan, 3], [0.0, 1], [-0.0, 1]], dtype=np.float32)
    targets = np.array([0, 0, 1, 1, 1, 0, 0])
    found = find_duplicates(Dataset("table", inputs, targets, classes=("a", "b")))
    assert as_set(found.exact) == {(0, 1), (3, 4), (5, 6)}
    assert len(found.near) == 0
    assert found.threshold is None
    assert found.count == 6
    prices = Dataset("table", inputs, np.array([[0.5], [0.5], [0.6], [1], [2], [3], [3]], dtype=np.float32))
    assert as_set(find_duplicates(prices).exact) == {(0, 1), (5, 6)}


def test_clusters_join_all_that_hangs_together() -> None:
    pictures = textures(6)
    dataset = pictures_dataset(pictures[[0, 1, 0, 2, 0, 1, 3]])
    found = find_duplicates(dataset)
    assert as_set(found.exact) == {(0, 2), (0, 4), (1, 5)}
    groups = [set(np.flatnonzero(found.clusters == c).tolist()) for c in np.unique(found.clusters)]
    assert sorted(map(sorted, groups)) == [[0, 2, 4], [1, 5], [3], [6]]


# Near duplicates


def changed(picture: Pictures, how: str) -> Pictures:
    """A copy as it goes around: compressed, resized, recoloured, brightened, cropped a little, framed by a little border."""
    image = Image.fromarray(picture.squeeze())
    width, height = image.size
    if how.startswith("jpeg"):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=int(how[4:]))
        image = Image.open(buffer)
    elif how == "smaller":
        image = image.resize((round(0.75 * width), round(0.75 * height)), Image.Resampling.BICUBIC)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    elif how == "larger":
        image = image.resize((2 * width, 2 * height), Image.Resampling.BICUBIC)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    elif how == "brighter":
        image = image.point(lambda value: min(255, int(1.1 * value)))
    elif how == "grey":
        image = image.convert("L").convert("RGB")
    return np.asarray(image).reshape(picture.shape)


@pytest.mark.parametrize("how", ["jpeg90", "jpeg75", "jpeg60", "smaller", "larger", "brighter", "grey"])
def test_every_changed_copy_of_a_photo_is_found_and_nothing_else(how: str, photos: Pictures) -> None:
    planted = np.arange(0, 300, 10)
    copies = np.stack([changed(photos[i], how) for i in planted])
    found = find_duplicates(pictures_dataset(np.concatenate([photos, copies])))
    assert as_set(found.near) == {(int(i), 300 + k) for k, i in enumerate(planted)}
    assert found.threshold == 0.9


def test_other_pictures_are_no_copies(photos: Pictures) -> None:
    assert len(find_duplicates(pictures_dataset(photos)).near) == 0


def test_pictures_without_detail_are_copies_only_when_equal() -> None:
    """One shade, and skies: steps of one grey level, no two pixels of a block different."""
    flat = np.broadcast_to(np.arange(0, 200, 10, dtype=np.uint8)[:, None, None, None], (20, 16, 16, 1)).copy()
    skies = flat + (np.arange(16, dtype=np.uint8) // 4)[None, :, None, None]
    found = find_duplicates(pictures_dataset(np.concatenate([flat, skies, flat[:3]])))
    assert as_set(found.exact) == {(0, 40), (1, 41), (2, 42)}
    assert len(found.near) == 0


def test_digits_look_alike_but_are_no_copies() -> None:
    """8x8 digits: thousands of pairs are as alike as copies of photos; two ones differ by a grey level or two in 64 pixels."""
    digits = resolve("digits").build()
    pictures = digits.inputs.astype(np.uint8)
    alike = alike_pairs(layouts(pictures), 0.95)
    assert len(alike) > 1000
    found = find_duplicates(digits)
    assert found.threshold is not None
    assert found.threshold > 0.98
    assert len(found.near) <= 2
    assert (np.abs(pictures[found.near[:, 0]].astype(int) - pictures[found.near[:, 1]]).mean(axis=(1, 2, 3)) < 1).all()


@pytest.mark.parametrize("side", [8, 12, 28, 32, 33, 64, 100])
def test_similarity_is_one_for_copies_and_blind_to_brightness_and_contrast(side: int) -> None:
    pictures = textures(20, side=side)
    pale = (pictures.astype(np.float64) * 0.5 + 60).round().astype(np.uint8)
    both = np.concatenate([pictures, pictures, pale])
    layout = layouts(both)
    own = np.arange(20)
    copies = similarity(both, layout, np.stack([own, own + 20], axis=1))
    np.testing.assert_allclose(copies, 1, atol=1e-5)
    assert similarity(both, layout, np.stack([own, own + 40], axis=1)).min() > 0.97
    assert similarity(both, layout, np.stack([own, np.roll(own, 1)], axis=1)).max() < 0.85


def test_similarity_against_plain_formulas() -> None:
    """Block means and detail computed pixel by pixel, for a side that 16 and 8 divide."""
    pictures = textures(2, side=32)
    grey = pictures.astype(np.float64) @ (0.299, 0.587, 0.114)
    layout = grey.reshape(2, 16, 2, 16, 2).mean(axis=(2, 4)).reshape(2, -1)
    coarse = grey.reshape(2, 8, 4, 8, 4).mean(axis=(2, 4)).repeat(4, axis=1).repeat(4, axis=2)
    detail = (grey - coarse).reshape(2, -1)
    expected = (np.corrcoef(layout)[0, 1] + np.corrcoef(detail)[0, 1]) / 2
    found = similarity(pictures, layouts(pictures), np.array([[0, 1]]))[0]
    assert found == pytest.approx(expected, abs=1e-5)
    assert details(pictures).shape == (2, 32 * 32)


def test_alike_pairs_against_all_pairs() -> None:
    """Sure for close pairs; what the hash misses is at the edge of the wanted correlation."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((400, 256))
    vectors = np.concatenate([centres, centres + 0.1 * random.standard_normal((400, 256))])
    vectors = np.concatenate([vectors, centres[:100] + 0.4 * random.standard_normal((100, 256))])
    layout = vectors - vectors.mean(axis=1, keepdims=True)
    layout = (layout / np.linalg.norm(layout, axis=1, keepdims=True)).astype(np.float32)
    correlation = layout @ layout.T
    for least in (0.9, 0.97):
        expected = {(int(i), int(j)) for i, j in np.argwhere(np.triu(correlation >= least, 1))}
        found = as_set(alike_pairs(layout, least))
        assert found <= expected
        close = {(i, j) for i, j in expected if correlation[i, j] > 0.98}
        assert len(close) == 400
        assert len(close - found) <= 4
        assert len(found) >= 0.9 * len(expected)


def test_chance_similarity_is_where_one_chance_pair_is_expected() -> None:
    """Gaussian vectors in few dimensions, drawn again and again: how often the closest pair is closer than said."""
    random = np.random.default_rng(1)
    basis = random.standard_normal((6, 12, 12))
    closer = 0
    for _ in range(20):
        smooth = np.tensordot(random.standard_normal((300, 6)), basis, 1)
        pictures = (
            (128 + 20 * smooth / np.abs(basis).sum(axis=0).max() * 3).clip(0, 255).astype(np.uint8)[..., np.newaxis]
        )
        layout = layouts(pictures)
        pairs = np.stack(np.triu_indices(300, 1), axis=1)
        said = chance_similarity(pictures, layout)
        assert said is not None
        closer += int((similarity(pictures, layout, pairs) >= said).sum())
    assert 2 <= closer <= 60, "one each is expected, 20 in all"
    assert chance_similarity(textures(20), layouts(textures(20))) is None


def test_result_is_kept_and_found_again(private_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = resolve("shapes").build()
    first = find_duplicates(dataset)
    (kept,) = (private_cache / "duplicates").iterdir()
    monkeypatch.setattr(duplicates_module, "_search", lambda *args: pytest.fail("it was looked for again"))
    second = find_duplicates(dataset)
    np.testing.assert_array_equal(first.clusters, second.clusters)
    np.testing.assert_array_equal(first.near, second.near)
    assert first.threshold == second.threshold
    kept.write_bytes(b"damaged")
    monkeypatch.undo()
    monkeypatch.setenv("MARKONE_CACHE", str(private_cache))
    np.testing.assert_array_equal(find_duplicates(dataset).clusters, first.clusters)


# Planted in many pictures, and real sets


def plant(pictures: Pictures, training: int, seed: int) -> tuple[Pictures, set[tuple[int, int]]]:
    """43 copies inside training, 10 of training pictures in test and one pair inside test, at drawn places."""
    random = np.random.default_rng(seed)
    train, test = random.permutation(training), training + random.permutation(len(pictures) - training)
    pairs = [
        *zip(train[:43], train[43:86], strict=True),
        *zip(train[86:96], test[:10], strict=True),
        (test[10], test[11]),
    ]
    pictures = pictures.copy()
    for source, copy in pairs:
        pictures[copy] = pictures[source]
    return pictures, {(int(min(pair)), int(max(pair))) for pair in pairs}


def test_planted_copies_are_found_exactly_and_kept_on_one_side() -> None:
    shapes = resolve("shapes").build()
    pictures, planted = plant(shapes.inputs.astype(np.uint8), training=1700, seed=5)
    parts = np.full(2000, UNASSIGNED, dtype=np.int8)
    parts[1700:] = Part.TEST
    dataset = pictures_dataset(pictures, parts=parts)
    found = find_duplicates(dataset)
    assert as_set(found.exact) == planted
    result = split(dataset, Split(), seed=0, clusters=found.clusters)
    assert result.counts["left out"] >= 10
    assert result.counts["test"] == 300
    for a, b in planted:
        assert result.part[a] == result.part[b] or Part.LEFT_OUT in (result.part[a], result.part[b])


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_fashion_mnist_planted_copies_are_found_in_ten_seconds(real_data: Path, seed: int) -> None:
    """The publishers replaced the copies that users had reported, so as many are planted at other places."""
    dataset = read_published("fashion-mnist", folder=str(real_data / "fashion-mnist"))
    assert len(np.flatnonzero(equal_rows(dataset.inputs) != np.arange(70_000))) == 0
    pictures, planted = plant(dataset.inputs.astype(np.uint8), training=60_000, seed=seed)
    began = time.process_time()  # of all threads: on a free machine the clock shows less
    found = find_duplicates(pictures_dataset(pictures))
    assert time.process_time() - began < 10
    assert as_set(found.exact) == planted
    assert 30 <= len(found.near) <= 100
    first, second = (pictures[found.near[:, k]].reshape(len(found.near), -1) for k in (0, 1))
    alike = [np.corrcoef(a, b)[0, 1] for a, b in zip(first, second, strict=True)]
    assert min(alike) > 0.985, "and the near ones look the same but for their brightness"


@pytest.mark.slow
def test_mnist_has_no_copies(real_data: Path) -> None:
    found = find_duplicates(read_published("mnist", folder=str(real_data / "mnist")))
    assert (len(found.exact), len(found.near)) == (0, 0)


@pytest.mark.slow
def test_flowers_known_flaws_are_found(real_data: Path, tmp_path: Path) -> None:
    """4 pictures are filed as rose and as tulip, 2 more twice in a class; the near ones were looked at one by one."""
    with zipfile.ZipFile(real_data / "flowers_160.zip") as archive:
        archive.extractall(tmp_path)
    dataset = read_folder(tmp_path / "flowers")
    found = find_duplicates(dataset)
    exact = dataset.targets[found.exact]
    across = exact[exact[:, 0] != exact[:, 1]]
    assert len(exact) == 6
    assert dataset.classes is not None
    assert [[dataset.classes[k] for k in sorted(pair)] for pair in across.tolist()] == [["rose", "tulip"]] * 4
    near = dataset.targets[found.near]
    assert 20 <= len(near) <= 30
    assert (near[:, 0] == near[:, 1]).all()
