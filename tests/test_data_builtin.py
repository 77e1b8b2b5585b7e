"""The bundled sets and the well-known ones by name: their published numbers, and where they are looked for."""

from pathlib import Path

import numpy as np
import pytest

from markone.data.dataset import UNASSIGNED, Part
from markone.data.published import CIFAR10, FASHION, read_published
from markone.data.source import Published, resolve
from markone.errors import DataError
from tests.pictures import put
from tests.test_data_source import make_cifar10, make_idx

# Test images per class, as published with MNIST (LeCun, Cortes, Burges).
MNIST_TEST = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("digits", (1797, 8, 8, 1), 10),
        ("breast-cancer", (569, 30), 2),
        ("iris", (150, 4), 3),
        ("wine", (178, 13), 3),
        ("diabetes", (442, 10), None),
        ("linnerud", (20, 3), None),
    ],
)
def test_bundled_sets_have_their_published_sizes(name: str, shape: tuple[int, ...], classes: int | None) -> None:
    dataset = resolve(name).build()
    assert dataset.inputs.shape == shape
    assert (None if dataset.classes is None else len(dataset.classes)) == classes


def test_digits_are_pictures_of_17_grey_levels_that_are_not_mirrored() -> None:
    digits = resolve("digits").build()
    assert np.unique(digits.inputs).tolist() == list(range(17))
    assert not digits.mirrored
    assert np.bincount(digits.targets).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_names_of_columns_classes_and_outputs() -> None:
    assert resolve("breast-cancer").build().classes == ("malignant", "benign")
    assert resolve("iris").build().columns[0].name == "sepal length (cm)"
    assert resolve("linnerud").build().target_names == ("Weight", "Waist", "Pulse")
    assert resolve("diabetes").build().target_names == ("disease progression",)


@pytest.mark.parametrize("place", ["given", "MARKONE_DATA", "here", "below data", "as torchvision keeps it"])
def test_well_known_sets_are_looked_for_in_the_usual_places(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MARKONE_DATA", raising=False)
    folder = {
        "given": "elsewhere",
        "MARKONE_DATA": "store/fashion-mnist",
        "here": "fashion-mnist",
        "below data": "data/fashion-mnist",
        "as torchvision keeps it": "data/fashion-mnist/FashionMNIST/raw",
    }[place]
    make_idx(tmp_path / folder)
    if place == "MARKONE_DATA":
        monkeypatch.setenv("MARKONE_DATA", str(tmp_path / "store"))
    spec = Published(kind="fashion-mnist", folder=str(tmp_path / "elsewhere") if place == "given" else None)
    dataset = spec.build()
    assert dataset.name == "fashion-mnist"
    assert dataset.classes == FASHION
    assert dataset.mirrored
    assert dataset.parts is not None
    assert dataset.parts.tolist() == [int(UNASSIGNED)] * 40 + [int(Part.TEST)] * 10


@pytest.mark.parametrize(
    ("name", "files"), [("mnist", "train-images-idx3-ubyte"), ("cifar10", r"data_batch_1\.bin to data_batch_5\.bin")]
)
def test_absent_files_are_named_with_where_they_were_looked_for(
    name: str, files: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MARKONE_DATA", "/some/store")
    with pytest.raises(DataError, match=files) as error:
        Published(kind=name).build()  # type: ignore[arg-type]
    for place in (f"/some/store/{name}", f"data/{name}", "data.folder", "MARKONE_DATA"):
        assert place in str(error.value)
    assert "\n" not in str(error.value)


def test_cifar10_binary_files(tmp_path: Path) -> None:
    dataset = read_published("cifar10", folder=str(make_cifar10(tmp_path)))
    assert dataset.inputs.shape == (120, 32, 32, 3)
    assert dataset.classes == CIFAR10
    assert dataset.mirrored
    assert (dataset.parts == Part.TEST).sum() == 20
    record = np.fromfile(tmp_path / "data_batch_1.bin", dtype=np.uint8)[3073:6146]
    assert dataset.targets[1] == record[0]
    np.testing.assert_array_equal(dataset.inputs[1, :, :, 2], record[1 + 2048 :].reshape(32, 32))


def test_cifar10_pickles_are_not_opened_and_damaged_files_refused(tmp_path: Path) -> None:
    put(tmp_path / "pickled" / "data_batch_1", b"\x80\x02}")
    with pytest.raises(DataError, match="which is a pickle and is never opened"):
        read_published("cifar10", folder=str(tmp_path / "pickled"))
    folder = make_cifar10(tmp_path / "binary")
    put(folder / "data_batch_3.bin", b"12345")
    with pytest.raises(DataError, match=r"data_batch_3\.bin is absent or damaged \(5 bytes\)"):
        read_published("cifar10", folder=str(folder))


@pytest.mark.slow
def test_mnist_and_fashion_mnist_are_the_published_ones(real_data: Path) -> None:
    mnist = read_published("mnist", folder=str(real_data / "mnist"))
    assert mnist.inputs.shape == (70_000, 28, 28, 1)
    assert np.bincount(mnist.targets[mnist.parts == Part.TEST]).tolist() == MNIST_TEST
    training = mnist.inputs[:60_000] / 255
    assert (training.mean(), training.std()) == pytest.approx((0.1307, 0.3081), abs=1e-4)
    assert not mnist.mirrored
    fashion = read_published("fashion-mnist", folder=str(real_data / "fashion-mnist"))
    assert np.bincount(fashion.targets).tolist() == [7000] * 10
    assert (fashion.inputs[:60_000] / 255).mean() == pytest.approx(0.2860, abs=1e-4)


@pytest.mark.slow
def test_cifar10_jpegs_are_decoded_once(real_data: Path, private_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = read_published("cifar10", folder=str(real_data / "cifar10"))
    assert dataset.inputs.shape == (60_000, 32, 32, 3)
    means = dataset.inputs[:50_000].mean(axis=(0, 1, 2)) / 255
    assert means.tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=1e-3)  # published, of the lossless pictures
    assert "JPEG copies" in dataset.notes[0]
    monkeypatch.setattr("markone.data.published.in_parallel", lambda *args, **options: pytest.fail("decoded again"))
    again = read_published("cifar10", folder=str(real_data / "cifar10"))
    assert again.digest == dataset.digest
