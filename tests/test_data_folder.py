"""Class folders: what is a class, a part, a group; 20 planted flaws, each named by path; and what cannot be trained on."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from markone.data.dataset import Dataset, Part
from markone.data.duplicates import find_duplicates
from markone.data.folder import read_folder
from markone.data.source import Folder, resolve
from markone.data.split import Split, split
from markone.errors import DataError
from tests.pictures import class_folders, encoded, put, texture

CROSS = Image.new("RGB", (40, 60), "white")
CROSS.paste("red", (0, 0, 20, 30))  # top left


@pytest.fixture(scope="module")
def flawed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 good pictures in two classes, a class of one, and 20 flaws."""
    root = class_folders(tmp_path_factory.mktemp("photos") / "photos", {"cats": 20, "dogs": 20})
    photo = encoded(texture(501), quality=92)
    put(root / "cats/truncated.jpg", photo[: len(photo) // 2])
    put(root / "cats/zero.jpg", b"")
    put(root / "cats/text.jpg", b"This is no picture at all.\n" * 20)
    put(root / "cats/noise.png", bytes(range(256)) * 8)
    put(root / "cats/broken-header.png", b"\x89PNG\r\n\x1a\n" + b"\1" * 60)
    put(root / "cats/really-a-png.jpg", encoded(texture(502), "PNG"))
    put(root / "cats/cmyk.jpg", encoded(texture(503).convert("CMYK")))
    deep = (np.arange(80 * 80, dtype=np.uint32).reshape(80, 80) * 10).astype(np.uint16)
    put(root / "cats/deep.png", encoded(Image.fromarray(deep), "PNG"))
    palette = texture(504).quantize(16)
    put(root / "cats/palette.png", encoded(palette, "PNG", transparency=0))
    exif = Image.Exif()
    exif[0x0112] = 6
    put(root / "cats/turned.jpg", encoded(CROSS.rotate(90, expand=True), exif=exif, quality=95))
    frames = [texture(505), texture(506)]
    put(root / "dogs/animated.gif", encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    put(root / "dogs/huge.png", encoded(Image.new("1", (15_000, 12_000)), "PNG"))
    put(root / "dogs/one.png", encoded(Image.new("RGB", (1, 1)), "PNG"))
    put(root / ".hidden/photo.jpg", photo)
    put(root / "__MACOSX/cats/photo.jpg", photo)
    put(root / "stray.jpg", photo)
    put(root / "dogs/notes.txt", b"taken in May\n")
    put(root / "alone/only.jpg", encoded(texture(507)))
    put(root / "dogs/also-a-cat.jpg", (root / "cats/000.jpg").read_bytes())
    put(root / "cats/copy.jpg", (root / "cats/001.jpg").read_bytes())
    smaller = texture(1002).resize((80, 60), Image.Resampling.LANCZOS)
    put(root / "dogs/002-again.jpg", encoded(smaller, quality=60))
    put(root / "dogs/alpha.png", encoded(Image.new("RGBA", (50, 50), (255, 0, 0, 0)), "PNG"))
    (root / "dogs/gone.jpg").symlink_to(root / "nowhere.jpg")
    put(root / "dogs/LOUD.JPG", encoded(texture(508)))
    put(root / "dogs/deep/er/nested.jpg", encoded(texture(509)))
    put(root / "dogs/Größe 🐕.webp", encoded(texture(5010), "WEBP"))
    put(root / "dogs/plain.bmp", encoded(texture(5011), "BMP"))
    return root


@pytest.fixture
def dataset(flawed: Path) -> Dataset:
    return read_folder(flawed)


SET_ASIDE = {
    "cats/truncated.jpg": "is damaged: image file is truncated",
    "cats/zero.jpg": "is empty (0 bytes)",
    "cats/text.jpg": "is not a picture (it holds text)",
    "cats/noise.png": "is not a picture",
    "cats/broken-header.png": "is damaged",
    "dogs/huge.png": "is too huge to decode",
    "dogs/one.png": "has only 1x1 pixels",
    ".hidden/": "is hidden",
    "__MACOSX/": "is hidden",
    "stray.jpg": "lies outside every class folder",
    "dogs/notes.txt": "is not a picture (it holds text)",
    "dogs/gone.jpg": "is a broken link",
}
ODD = {
    "cats/really-a-png.jpg": "is PNG in content, not .jpg",
    "cats/cmyk.jpg": "is CMYK, converted to RGB",
    "cats/deep.png": "has 16 bits per pixel, scaled to 8",
    "cats/palette.png": "is transparent: laid on white",
    "cats/turned.jpg": "is turned upright by its EXIF orientation",
    "dogs/animated.gif": "is animated: its first frame is taken",
    "dogs/alpha.png": "is transparent: laid on white",
}
FINE = ["dogs/LOUD.JPG", "dogs/deep/er/nested.jpg", "dogs/Größe 🐕.webp", "dogs/plain.bmp", "alone/only.jpg"]


def test_every_file_that_gives_no_picture_is_set_aside_with_the_reason(dataset: Dataset) -> None:
    found = {bad.path: bad.reason for bad in dataset.set_aside}
    assert found.keys() == SET_ASIDE.keys()
    for path, reason in SET_ASIDE.items():
        assert found[path].startswith(reason), path


def test_every_file_that_is_used_in_spite_of_something_is_named(dataset: Dataset) -> None:
    assert {odd.path: odd.reason for odd in dataset.odd} == ODD
    assert len(dataset.odd) == len(ODD)


def test_everything_else_is_used(dataset: Dataset) -> None:
    assert dataset.names is not None
    assert dataset.classes == ("alone", "cats", "dogs")
    assert set(FINE) <= set(dataset.names)
    assert not set(dataset.names) & SET_ASIDE.keys()
    assert len(dataset) == 40 + len(ODD) + len(FINE) + 3  # and a cat among the dogs, a copy, a near copy
    assert dataset.inputs.shape[1:] == (64, 64, 3)
    assert "The class alone has one picture only: it cannot be in all three parts." in dataset.notes
    for name, label in zip(dataset.names, dataset.targets, strict=True):
        assert name.split("/")[0] == dataset.classes[label]


def test_duplicates_are_found_by_name_and_kept_on_one_side(dataset: Dataset) -> None:
    assert dataset.names is not None
    found = find_duplicates(dataset)
    names = {frozenset(dataset.names[i] for i in pair) for pair in found.exact.tolist()}
    assert names == {
        frozenset(("cats/000.jpg", "dogs/also-a-cat.jpg")),
        frozenset(("cats/001.jpg", "cats/copy.jpg")),
    }
    near = {frozenset(dataset.names[i] for i in pair) for pair in found.near.tolist()}
    assert near == {frozenset(("dogs/002.jpg", "dogs/002-again.jpg"))}
    for seed in range(5):
        part = split(dataset, Split(), seed=seed, clusters=found.clusters).part
        for cluster in np.unique(found.clusters):
            assert len(np.unique(part[found.clusters == cluster])) == 1


def pixels(dataset: Dataset, name: str) -> np.ndarray:
    assert dataset.names is not None
    return np.asarray(dataset.inputs[dataset.names.index(name)]).astype(int)


def test_pixels_are_what_the_picture_shows(dataset: Dataset) -> None:
    turned = pixels(dataset, "cats/turned.jpg")  # 40 x 60, its middle square is 40 x 40: red to 20, white below
    assert np.abs(turned[5, 5] - (255, 0, 0)).max() < 12
    assert np.abs(turned[5, 60] - 255).max() < 12
    assert np.abs(turned[60, 5] - 255).max() < 12
    assert (pixels(dataset, "dogs/alpha.png") == 255).all(), "what is transparent is white"
    deep = pixels(dataset, "cats/deep.png")
    assert np.abs(deep[..., 0] - deep[..., 2]).max() == 0
    assert deep.max() == pytest.approx(80 * 80 * 10 / 257, abs=3), "16 bits are scaled, not clipped"
    assert deep.min() <= 3
    expected = texture(503).resize((64, 64), Image.Resampling.BILINEAR, box=(12, 0, 84, 72))
    assert np.abs(pixels(dataset, "cats/cmyk.jpg") - np.asarray(expected).astype(int)).mean() < 12
    first = texture(505).resize((64, 64), Image.Resampling.BILINEAR, box=(12, 0, 84, 72))
    assert np.abs(pixels(dataset, "dogs/animated.gif") - np.asarray(first).astype(int)).mean() < 15


def test_jpeg_is_decoded_small_but_looks_like_the_full_decoding(tmp_path: Path) -> None:
    """Draft mode against decoding whole and resizing once: over 32 dB is invisible."""
    root = class_folders(tmp_path, {"a": 4, "b": 4}, size=(480, 360))
    dataset = read_folder(root, size=64)
    assert dataset.names is not None
    for name in dataset.names:
        with Image.open(root / name) as image:
            whole = image.resize((64, 64), Image.Resampling.BILINEAR, box=(60, 0, 420, 360))
        error = np.mean((pixels(dataset, name) - np.asarray(whole).astype(float)) ** 2)
        assert 10 * np.log10(255**2 / error) > 32


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(48, 48)] * 8, 48),
        ([(28, 28)] * 8, 28),
        ([(30, 40)] * 8, 30),
        ([(200, 150), (180, 240)] * 4, 64),
        ([(40, 33), (30, 36)] * 4, 32),
        ([(128, 128)] * 8, 64),
    ],
    ids=["equal and small", "as MNIST", "equal, not square", "photos", "small, unequal", "equal and large"],
)
def test_size_is_chosen_from_the_data(sizes: list[tuple[int, int]], expected: int, tmp_path: Path) -> None:
    for i, size in enumerate(sizes):
        put(tmp_path / "ab"[i % 2] / f"{i}.png", encoded(texture(i, size=size), "PNG"))
    assert read_folder(tmp_path).input_shape == (3, expected, expected)


def test_fit_decides_what_is_seen_of_a_picture_that_is_not_square(tmp_path: Path) -> None:
    wide = Image.new("RGB", (90, 30), "white")
    wide.paste("red", (0, 0, 30, 30))
    wide.paste("blue", (60, 0, 90, 30))
    for name in "ab":
        put(tmp_path / name / "wide.png", encoded(wide, "PNG"))
    seen = {fit: np.asarray(read_folder(tmp_path, size=30, fit=fit).inputs[0]) for fit in ("crop", "squash", "pad")}
    assert (seen["crop"] == 255).all(), "only the middle"
    assert seen["squash"][15, 1].tolist() == [255, 0, 0]
    assert seen["squash"][15, 28].tolist() == [0, 0, 255]
    assert (seen["pad"][:9] == 0).all()
    assert (seen["pad"][21:] == 0).all()
    assert seen["pad"][15, 1].tolist() == [255, 0, 0]


def test_grey_pictures_have_one_channel_and_are_not_mirrored(tmp_path: Path) -> None:
    for i in range(6):
        grey = texture(i).convert("L")
        data = encoded(grey if i % 2 else grey.convert("RGB"), "PNG")
        put(tmp_path / ("crack", "whole")[i % 2] / f"{i}.png", data)
    dataset = read_folder(tmp_path)
    assert dataset.input_shape == (1, 64, 64)
    assert not dataset.mirrored
    put(tmp_path / "crack" / "colour.png", encoded(texture(9), "PNG"))
    colourful = read_folder(tmp_path)
    assert colourful.input_shape == (3, 64, 64)
    assert colourful.mirrored
    np.testing.assert_array_equal(colourful.inputs[-1][..., 0], dataset.inputs[-1][..., 0])


@pytest.mark.parametrize(
    ("names", "mirrored"), [(("cat", "dog"), True), (("left hand", "fist"), False), (("b", "d"), False)]
)
def test_mirroring_is_for_classes_that_it_keeps(names: tuple[str, str], mirrored: bool, tmp_path: Path) -> None:
    assert read_folder(class_folders(tmp_path, dict.fromkeys(names, 2))).mirrored is mirrored


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "VALIDATION", "Test")])
def test_given_parts_are_kept(names: tuple[str, str, str], tmp_path: Path) -> None:
    for place, name in enumerate(names):
        class_folders(tmp_path / name, {"a": 6, "b": 4}, seed=100 * place)
    put(tmp_path / "extra/a/1.jpg", encoded(texture(0)))
    dataset = read_folder(tmp_path)
    assert dataset.classes == ("a", "b")
    assert [bad.path for bad in dataset.set_aside] == ["extra/"]
    result = split(dataset, Split(), seed=0)
    assert result.counts == {"training": 10, "validation": 10, "test": 10}
    assert dataset.names is not None
    for part, name in zip((Part.TRAINING, Part.VALIDATION, Part.TEST), names, strict=True):
        assert {dataset.names[i].split("/")[0] for i in result.indices(part)} == {name}


def test_a_missing_part_is_carved_from_training(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", {"a": 30, "b": 20})
    class_folders(tmp_path / "test", {"a": 5, "b": 5}, seed=500)
    result = split(read_folder(tmp_path), Split(), seed=0)
    assert result.counts == {"training": 45, "validation": 5, "test": 10}


def test_train_may_be_a_class(tmp_path: Path) -> None:
    dataset = read_folder(class_folders(tmp_path, {"train": 3, "plane": 3, "ship": 3}))
    assert dataset.classes == ("plane", "ship", "train")
    assert dataset.parts is None


def test_folders_inside_a_class_are_groups_on_request(tmp_path: Path) -> None:
    for place in range(12):
        class_folders(tmp_path / "ab"[place % 2], {f"patient {place}": 4}, seed=10 * place)
    put(tmp_path / "a/loose.jpg", encoded(texture(999)))
    dataset = Folder(path=str(tmp_path), group="folder").build()
    assert read_folder(tmp_path).groups is None
    assert dataset.groups is not None
    assert len(np.unique(dataset.groups)) == 13
    part = split(dataset, Split(), seed=3).part
    for group in np.unique(dataset.groups):
        assert len(np.unique(part[dataset.groups == group])) == 1


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    root = class_folders(tmp_path, {"a": 2, "b": 2})
    (root / "a/again").symlink_to(root / "a")
    dataset = read_folder(root)
    assert len(dataset) == 4
    assert [(bad.path, bad.reason) for bad in dataset.set_aside] == [("a/again/", "is a link to a folder above it")]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file_is_set_aside(tmp_path: Path) -> None:
    root = class_folders(tmp_path, {"a": 2, "b": 2})
    (root / "a/000.jpg").chmod(0)
    assert [bad.reason for bad in read_folder(root).set_aside] == ["cannot be read: Permission denied"]


def test_names_that_are_no_text_are_printable(tmp_path: Path) -> None:
    root = class_folders(tmp_path, {"a": 2, "b": 2})
    try:
        put(root / "a" / os.fsdecode(b"bad-\xff.jpg"), encoded(texture(5)))
    except OSError:
        pytest.skip("this file system takes only text as names")
    dataset = read_folder(root)
    assert dataset.names is not None
    assert [name.encode() for name in dataset.names if name.startswith("a/bad")] == ["a/bad-\ufffd.jpg".encode()]


def empty_class(root: Path) -> None:
    class_folders(root, {"cats": 3, "dogs": 3})
    (root / "birds").mkdir()


def spoilt_class(root: Path) -> None:
    class_folders(root, {"cats": 3, "dogs": 3})
    put(root / "birds/1.jpg", b"")


def class_without_training(root: Path) -> None:
    class_folders(root / "train", {"cats": 3, "dogs": 3})
    class_folders(root / "test", {"cats": 3, "dogs": 3, "birds": 3})


def one_class(root: Path) -> None:
    class_folders(root / "flowers", {"rose": 2, "tulip": 2})


def no_classes(root: Path) -> None:
    for i in range(3):
        put(root / f"{i}.jpg", encoded(texture(i)))


def no_images(root: Path) -> None:
    for name in ("cats", "dogs"):
        put(root / name / "list.csv", b"a,b\n")


REFUSED = {
    "empty class": (empty_class, "data-class-empty", r"the class birds of .*there is none"),
    "class of bad files": (spoilt_class, "data-class-empty", r"the class birds .*birds/1\.jpg, which is empty"),
    "class not in training": (class_without_training, "data-class-empty", "the class birds .* in the training part"),
    "one class": (one_class, "data-one-class", r"one class folder only, flowers.* Did you mean .*flowers\?"),
    "no class folders": (no_classes, "data-no-classes", r"holds 3 files and no class folders"),
    "no images": (no_images, "data-no-images", r"cats/list\.csv, which is not a picture"),
    "nothing": (lambda root: None, "data-empty", "is empty"),
    "empty folders": (
        lambda root: [(root / n).mkdir() for n in "ab"],
        "data-no-images",
        "no files in the class folders",
    ),
}


@pytest.mark.parametrize(("make", "slug", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_folders_that_cannot_be_trained_on_are_one_sentence(
    make: object, slug: str, message: str, tmp_path: Path
) -> None:
    make(tmp_path)  # type: ignore[operator]
    with pytest.raises(DataError, match=message) as error:
        resolve(str(tmp_path)).build()
    assert error.value.slug == slug
    assert "\n" not in str(error.value)
