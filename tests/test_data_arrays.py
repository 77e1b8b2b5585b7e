"""NPZ and IDX files: every layout that is about, and one sentence for what is damaged or something else."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from markone.data.arrays import read_arrays
from markone.data.dataset import UNASSIGNED, Dataset, Part
from markone.data.idx import read_idx, read_idx_dataset
from markone.data.split import Split, split
from markone.data.targets import class_indices, encode_targets, task_of
from markone.errors import DataError
from tests.pictures import idx_bytes, put

LABELS = np.arange(20) % 4


def store(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def pictures(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


# NPZ


@pytest.mark.parametrize(
    "names", [("x", "y"), ("X", "Y"), ("images", "labels"), ("data", "target"), ("inputs", "targets")]
)
def test_usual_names_are_found(names: tuple[str, str], tmp_path: Path) -> None:
    x = pictures(20, 6, 5)
    dataset = read_arrays(store(tmp_path / "a.npz", **{names[0]: x, names[1]: LABELS, "other": np.arange(3)}))
    np.testing.assert_array_equal(dataset.inputs[..., 0], x)
    np.testing.assert_array_equal(dataset.targets, LABELS)
    assert dataset.classes == ("0", "1", "2", "3")
    assert dataset.parts is None


def test_arrays_may_be_named(tmp_path: Path) -> None:
    path = store(tmp_path / "a.npz", first=pictures(20, 6, 5), second=LABELS)
    assert len(read_arrays(path, inputs="first", targets="second")) == 20
    with pytest.raises(
        DataError, match=r"no array 'frist'\. Did you mean first\? It holds: first \(20, 6, 5\), second"
    ):
        read_arrays(path, inputs="frist", targets="second")
    with pytest.raises(DataError, match="no inputs and targets under a usual name"):
        read_arrays(path)


@pytest.mark.parametrize("form", ["x_{}/y_{}", "{}_images/{}_labels", "x{}/y{}"])
def test_given_parts_are_kept(form: str, tmp_path: Path) -> None:
    first, second = form.split("/")
    arrays = {}
    for seed, (part, count) in enumerate((("train", 40), ("val", 8), ("test", 12))):
        arrays |= {first.format(part): pictures(count, 4, 4, seed=seed), second.format(part): np.arange(count) % 4}
    dataset = read_arrays(store(tmp_path / "a.npz", **arrays))
    assert dataset.parts is not None
    assert dataset.parts.tolist() == [int(UNASSIGNED)] * 40 + [int(Part.VALIDATION)] * 8 + [int(Part.TEST)] * 12
    assert split(dataset, Split(), seed=0).counts == {"training": 40, "validation": 8, "test": 12}


@pytest.mark.parametrize("layout", ["NHW", "NHWC", "NCHW", "NHW1", "N1HW"])
def test_layouts_of_pictures(layout: str, tmp_path: Path) -> None:
    colour = pictures(20, 9, 7, 3)
    x, expected = {
        "NHW": (colour[..., 0], colour[..., :1]),
        "NHWC": (colour, colour),
        "NCHW": (colour.transpose(0, 3, 1, 2), colour),
        "NHW1": (colour[..., :1], colour[..., :1]),
        "N1HW": (colour[..., :1].transpose(0, 3, 1, 2), colour[..., :1]),
    }[layout]
    dataset = read_arrays(store(tmp_path / "a.npz", x=x, y=LABELS))
    np.testing.assert_array_equal(dataset.inputs, expected)
    assert dataset.notes == ()


@pytest.mark.parametrize(
    ("values", "note"),
    [
        (lambda p: p / 255, "float64 values 0 to 1 became 0 to 255"),
        (lambda p: (p / 255).astype(np.float32), "float32 values 0 to 1"),
        (lambda p: p / 127.5 - 1, "float64 values -1 to 1"),
        (lambda p: p.astype(np.int64), None),
        (lambda p: p.astype(np.float32), None),
        (lambda p: p.astype(np.uint16) * 257, "uint16 values 0 to 65535"),
    ],
    ids=["0 to 1", "float32", "-1 to 1", "whole numbers", "whole floats", "16 bits"],
)
def test_numbers_of_every_kind_become_bytes_and_it_is_said(values: object, note: str | None, tmp_path: Path) -> None:
    plain = pictures(20, 8, 8)
    plain[0, 0, :2] = 0, 255
    dataset = read_arrays(store(tmp_path / "a.npz", x=values(plain), y=LABELS))  # type: ignore[operator]
    np.testing.assert_array_equal(dataset.inputs[..., 0], plain)
    assert len(dataset.notes) == (note is not None)
    assert note is None or note in dataset.notes[0]


def test_other_ranges_are_stretched_and_it_is_said(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(0, 2, (20, 8, 8))
    dataset = read_arrays(store(tmp_path / "a.npz", x=x, y=LABELS))
    assert (dataset.inputs.min(), dataset.inputs.max()) == (0, 255)
    assert f"values {x.min():g} to {x.max():g} became 0 to 255" in dataset.notes[0]


def test_tables_and_regression(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).random((30, 5)), np.random.default_rng(1).random((30, 2))
    dataset = read_arrays(store(tmp_path / "a.npz", x=x, y=y))
    assert dataset.inputs.dtype == np.float32
    assert dataset.classes is None
    assert dataset.targets.shape == (30, 2)
    assert dataset.target_names == ("y0", "y1")
    assert [column.name for column in dataset.columns] == ["x0", "x1", "x2", "x3", "x4"]
    assert read_arrays(store(tmp_path / "b.npz", x=x[:, 0], y=y[:, 0])).inputs.shape == (30, 1)


MASKS = np.random.default_rng(2).integers(0, 3, (20, 4, 5))


def test_masks_stand_beside_labels_or_alone(tmp_path: Path) -> None:
    x, names = pictures(20, 4, 5), np.array(["sky", "sea", "land"])
    both = read_arrays(store(tmp_path / "a.npz", x=x, y=LABELS, mask=MASKS.astype(np.int64)))
    assert both.extras["mask"].dtype == np.uint8
    np.testing.assert_array_equal(both.extras["mask"], MASKS)
    assert (both.classes, both.mask_classes) == (("0", "1", "2", "3"), None)
    alone = read_arrays(store(tmp_path / "b.npz", x=x, masks=MASKS.astype(np.uint8), mask_classes=names))
    assert (alone.classes, alone.mask_classes) == (None, ("sky", "sea", "land"))
    np.testing.assert_allclose(alone.targets[:, 0], (MASKS > 0).mean((1, 2)), rtol=1e-6)
    assert both.digest != read_arrays(store(tmp_path / "c.npz", x=x, y=LABELS)).digest


def test_masks_of_given_parts(tmp_path: Path) -> None:
    x = pictures(20, 4, 5)
    arrays = {"x_train": x[:12], "masks_train": MASKS[:12], "x_test": x[12:], "masks_test": MASKS[12:]}
    dataset = read_arrays(store(tmp_path / "a.npz", **arrays))
    np.testing.assert_array_equal(dataset.extras["mask"], MASKS)
    assert dataset.parts is not None
    assert dataset.parts.tolist() == [int(UNASSIGNED)] * 12 + [int(Part.TEST)] * 8


def test_what_is_called_mask_beside_a_labelled_table_is_left_alone(tmp_path: Path) -> None:
    dataset = read_arrays(store(tmp_path / "a.npz", x=np.ones((20, 3)), y=LABELS, mask=np.ones((20, 3))))
    assert not dataset.extras


BAD_NPZ = {
    "mask size": ({"x": pictures(20, 4, 4), "masks": MASKS}, "(20, 4, 5); they must be (20, 4, 4), as its pictures"),
    "mask count": ({"x": pictures(20, 4, 5), "masks": MASKS[1:]}, "their first axes must agree"),
    "mask type": ({"x": pictures(20, 4, 5), "masks": MASKS / 2}, "values 0.0 to 1.0 of type float64; whole numbers"),
    "mask values": ({"x": pictures(20, 4, 5), "y": LABELS, "mask": MASKS - 1}, "values -1 to 1 of type int64; whole"),
    "mask of a table": ({"x": np.ones((20, 4)), "masks": MASKS}, "they are for pictures, whose"),
    "mask names": (
        {"x": pictures(20, 4, 5), "masks": MASKS, "mask_classes": np.arange(3)},
        "a list of different names",
    ),
    "mask of a part": (
        {"x_train": MASKS, "y_train": LABELS, "masks_train": MASKS, "x_test": MASKS, "y_test": LABELS},
        "some of the parts have masks",
    ),
    "counts": ({"x": pictures(20, 4, 4), "y": np.arange(19)}, "their first axes must agree"),
    "empty": ({"x": pictures(0, 4, 4), "y": np.arange(0)}, "holds no samples"),
    "words": ({"x": np.array([["a"]] * 20), "y": LABELS}, "numbers are needed"),
    "pickled": ({"x": np.array([{"a": 1}] * 20, dtype=object), "y": LABELS}, "which are never opened"),
    "channels": ({"x": pictures(20, 7, 4, 9), "y": LABELS}, "neither the second nor the last axis is 1 to 4 channels"),
    "axes": ({"x": pictures(20, 2, 3, 4, 3), "y": LABELS}, "pictures have 3 or 4 axes"),
    "nan": ({"x": np.full((20, 4, 4), np.nan), "y": LABELS}, "hold NaN or infinity"),
    "infinite": ({"x": np.full((20, 4), np.inf), "y": LABELS}, "hold infinity"),
    "one class": ({"x": pictures(20, 4, 4), "y": np.ones(20, int)}, "at least two classes are needed"),
    "nan target": ({"x": pictures(20, 4, 4), "y": np.full(20, np.nan)}, "NaN or infinity"),
    "constant target": ({"x": pictures(20, 4, 4), "y": np.full(20, 0.5)}, "nothing to learn"),
    "deep target": ({"x": pictures(20, 4, 4), "y": pictures(20, 4, 4)}, "one label or row per sample"),
    "only test": ({"x_test": pictures(20, 4, 4), "y_test": LABELS}, "no inputs and targets"),
    "unlike parts": (
        {"x_train": pictures(20, 4, 4), "y_train": LABELS, "x_test": pictures(20, 5, 5), "y_test": LABELS},
        "do not fit together",
    ),
}


@pytest.mark.parametrize(("arrays", "message"), BAD_NPZ.values(), ids=BAD_NPZ.keys())
def test_npz_that_cannot_be_used_is_one_sentence(arrays: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read_arrays(store(tmp_path / "a.npz", **arrays))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("data", [b"", b"PK\3\4 broken", b"no archive", None], ids=["empty", "broken", "text", "cut"])
def test_damaged_npz_is_one_sentence(data: bytes | None, tmp_path: Path) -> None:
    whole = store(tmp_path / "whole.npz", x=pictures(20, 4, 4), y=LABELS).read_bytes()
    with pytest.raises(DataError, match=r"cannot be read as NPZ|never opened"):
        read_arrays(put(tmp_path / "a.npz", whole[:200] if data is None else data))


# IDX


@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.int8, np.int16, np.int32, np.float32, np.float64]),
        hnp.array_shapes(min_dims=1, max_dims=4, max_side=5),
        elements={"allow_nan": False},
    ),
    st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_idx_round_trip(array: NDArray[np.generic], packed: bool) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as name:
        data = idx_bytes(array)
        found = read_idx(put(Path(name) / "file", gzip.compress(data) if packed else data))
    np.testing.assert_array_equal(found, array)
    assert found.dtype.newbyteorder("=") == array.dtype


def mnist_like(folder: Path, *, between: str = "-", packed: bool = False, test: str = "t10k") -> Dataset:
    for stem, count in (("train", 30), (test, 10)):
        images = idx_bytes(pictures(count, 7, 6, seed=count))
        labels = idx_bytes((np.arange(count) % 5).astype(np.uint8))
        for what, data in (("images-idx3", images), ("labels-idx1", labels)):
            name = f"{stem}-{what}".replace("-idx", f"{between}idx") + f"-ubyte{'.gz' if packed else ''}"
            put(folder / name, gzip.compress(data) if packed else data)
    return read_idx_dataset(folder)


@pytest.mark.parametrize("between", ["-", "."])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("test", ["t10k", "test"])
def test_folders_of_idx_files(between: str, packed: bool, test: str, tmp_path: Path) -> None:
    dataset = mnist_like(tmp_path, between=between, packed=packed, test=test)
    assert dataset.input_shape == (1, 7, 6)
    np.testing.assert_array_equal(dataset.inputs[:30, ..., 0], pictures(30, 7, 6, seed=30))
    assert dataset.targets.tolist() == [i % 5 for i in (*range(30), *range(10))]
    assert dataset.parts is not None
    assert dataset.parts.tolist() == [int(UNASSIGNED)] * 30 + [int(Part.TEST)] * 10


def test_one_idx_file_is_read_with_its_partner(tmp_path: Path) -> None:
    mnist_like(tmp_path)
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        dataset = read_idx_dataset(tmp_path / name)
        assert len(dataset) == 30
        assert dataset.parts is None


def test_labels_need_not_begin_at_zero(tmp_path: Path) -> None:
    put(tmp_path / "letters-images-idx3-ubyte", idx_bytes(pictures(20, 4, 4)))
    put(tmp_path / "letters-labels-idx1-ubyte", idx_bytes((1 + np.arange(20) % 3 * 5).astype(np.uint8)))
    dataset = read_idx_dataset(tmp_path)
    assert dataset.classes == ("1", "6", "11")
    assert dataset.targets.max() == 2


def spoil_idx(folder: Path, how: str) -> None:
    images, labels = folder / "train-images-idx3-ubyte", folder / "train-labels-idx1-ubyte"
    if how == "truncated":
        images.write_bytes(images.read_bytes()[:-5])
    elif how == "too long":
        labels.write_bytes(labels.read_bytes() + b"1")
    elif how == "other":
        images.write_bytes(b"\x89PNG and more")
    elif how == "empty":
        images.write_bytes(b"")
    elif how == "gz truncated":
        images.write_bytes(gzip.compress(images.read_bytes())[:-9])
    elif how == "no labels":
        labels.unlink()
    elif how == "fewer labels":
        labels.write_bytes(idx_bytes(np.arange(29).astype(np.uint8)))
    elif how == "flat":
        images.write_bytes(idx_bytes(pictures(30, 42)))
    elif how == "floats":
        images.write_bytes(idx_bytes(pictures(30, 7, 6).astype(np.float32)))
    elif how == "sizes":
        images.write_bytes(idx_bytes(pictures(30, 8, 8)))
    elif how == "several":
        for what in ("images-idx3", "labels-idx1"):
            put(folder / f"digits-train-{what}-ubyte", (folder / f"train-{what}-ubyte").read_bytes())


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("truncated", "should hold 1,260 bytes of numbers and holds 1,255"),
        ("too long", "should hold 30 bytes of numbers and holds 31"),
        ("other", "is no IDX file: it begins with 89 50 4e 47"),
        ("empty", "is no IDX file: it begins with nothing"),
        ("gz truncated", "cannot read"),
        ("no labels", "has no labels file for 'train'"),
        ("fewer labels", "has 30 pictures but train-labels-idx1-ubyte 29 labels"),
        ("flat", "not 8-bit pictures"),
        ("floats", "not 8-bit pictures"),
        ("sizes", "differ in size from file to file"),
        ("several", "holds several sets"),
    ],
)
def test_idx_that_cannot_be_used_is_one_sentence(how: str, message: str, tmp_path: Path) -> None:
    mnist_like(tmp_path)
    spoil_idx(tmp_path, how)
    with pytest.raises(DataError, match=message) as error:
        read_idx_dataset(tmp_path)
    assert "\n" not in str(error.value)


def test_a_folder_without_idx_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there are no IDX files such as train-images"):
        read_idx_dataset(tmp_path)


# Targets


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (np.array(["a", "b"]), "classification"),
        (np.array([True, False]), "classification"),
        (np.array([0, 1, 1, 0]), "classification"),
        (np.array([1.0, 2.0, 1.0, 2.0]), "classification"),
        (np.array([1.5, 2.0, 1.0]), "regression"),
        (np.arange(50), "regression"),
        (np.tile(np.arange(100), 30), "classification"),
        (np.tile(np.arange(100) + 1, 30), "classification"),
        (np.tile(np.arange(100) * 3, 30), "regression"),
        (np.tile(np.arange(18, 80), 30), "regression"),
        (np.array([3, 7, 5]), "regression"),
    ],
    ids=[
        "words", "truth", "0 and 1", "whole floats", "fractions", "all different", "0 to 99", "1 to 100", "steps of 3",
        "ages", "three numbers",
    ],
)  # fmt: skip
def test_values_decide_the_task(values: NDArray[np.generic], task: str) -> None:
    assert task_of(values) == task


def test_one_hot_targets_are_classes(tmp_path: Path) -> None:
    targets, classes = encode_targets(np.eye(4)[LABELS], name="it", task="auto")
    np.testing.assert_array_equal(targets, LABELS)
    assert classes == ("0", "1", "2", "3")
    assert encode_targets(np.eye(4)[LABELS], name="it", task="regression")[1] is None
    with pytest.raises(DataError, match="holds words"):
        encode_targets(np.array(["a", "b"]), name="it", task="regression")


def test_class_names_of_whole_numbers_have_no_point() -> None:
    assert class_indices(np.array([2.0, 10.0, 2.0]), name="it")[1] == ("2", "10")
