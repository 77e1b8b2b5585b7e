"""Sources: what every one of them gives; names and paths, and what is said of those that are none."""

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter

from markone.data.dataset import Dataset
from markone.data.source import NAMES, Arrays, DataSource, Folder, Idx, Published, Table, resolve
from markone.errors import DataError, SpecError
from markone.spec import Spec
from tests.pictures import class_folders, encoded, idx_bytes, put, texture

SOURCES = TypeAdapter(DataSource)


def make_idx(folder: Path, *, samples: int = 40) -> Path:
    """The four files of MNIST, small."""
    random = np.random.default_rng(0)
    for stem, count in (("train", samples), ("t10k", samples // 4)):
        images = random.integers(0, 256, (count, 12, 12), dtype=np.uint8)
        put(folder / f"{stem}-images-idx3-ubyte.gz", gzip.compress(idx_bytes(images)))
        put(folder / f"{stem}-labels-idx1-ubyte", idx_bytes((np.arange(count) % 10).astype(np.uint8)))
    return folder


def make_cifar10(folder: Path) -> Path:
    random = np.random.default_rng(0)
    for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
        records = random.integers(0, 256, (20, 3073), dtype=np.uint8)
        records[:, 0] = np.arange(20) % 10
        put(folder / name, records.tobytes())
    return folder


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Spec]:
    """One of every kind."""
    monkeypatch.setenv("MARKONE_DATA", str(tmp_path / "known"))
    make_idx(tmp_path / "known" / "mnist")
    make_idx(tmp_path / "known" / "fashion-mnist")
    make_cifar10(tmp_path / "known" / "cifar10")
    np.savez(tmp_path / "some.npz", x=np.random.default_rng(0).random((50, 4)), y=np.arange(50) % 2)
    put(tmp_path / "some.csv", b"a,b,y\n" + b"".join(b"%d,%d,%d\n" % (i * i % 17, i % 5, i % 2) for i in range(50)))
    paths = {
        "folder": class_folders(tmp_path / "photos", {"cat": 5, "dog": 5}),
        "table": tmp_path / "some.csv",
        "arrays": tmp_path / "some.npz",
        "idx": make_idx(tmp_path / "idx"),
    }
    found: dict[str, Spec] = {name: resolve(name) for name in NAMES}
    return found | {kind: resolve(str(path)) for kind, path in paths.items()}


KINDS = (*NAMES, "folder", "table", "arrays", "idx")


@pytest.mark.parametrize("kind", KINDS)
def test_every_source_keeps_the_contract_of_datasets(kind: str, sources: dict[str, Spec]) -> None:
    spec = sources[kind]
    dataset: Dataset = spec.build()  # type: ignore[attr-defined]
    n = len(dataset)
    assert n >= 10
    assert len(dataset.inputs) == n
    if dataset.is_images:
        assert dataset.inputs.dtype == np.uint8
        assert dataset.input_shape == (dataset.inputs.shape[3], *dataset.inputs.shape[1:3])
        assert dataset.columns == ()
    else:
        assert dataset.inputs.dtype == np.float32
        assert dataset.inputs.shape == (n, len(dataset.columns))
        assert not np.isinf(dataset.inputs).any()
        assert len({column.name for column in dataset.columns}) == len(dataset.columns)
    if dataset.classes is not None:
        assert dataset.targets.dtype == np.int64
        assert np.unique(dataset.targets).tolist() == list(range(len(dataset.classes)))
        assert len(set(dataset.classes)) == len(dataset.classes) >= 2
    else:
        assert dataset.targets.dtype == np.float32
        assert dataset.targets.shape == (n, len(dataset.target_names))
        assert np.isfinite(dataset.targets).all()
    for labels in (dataset.parts, dataset.groups, dataset.names, *dataset.extras.values()):
        assert labels is None or len(labels) == n
    assert len(dataset.digest) == 12
    again: Dataset = spec.build()  # type: ignore[attr-defined]
    assert again.digest == dataset.digest
    np.testing.assert_array_equal(again.inputs, dataset.inputs)
    np.testing.assert_array_equal(again.targets, dataset.targets)


@pytest.mark.parametrize("kind", KINDS)
def test_every_source_survives_toml_and_describes_its_fields(kind: str, sources: dict[str, Spec]) -> None:
    spec = sources[kind]
    assert type(spec).from_toml(spec.to_toml()) == spec
    assert SOURCES.validate_json(spec.to_json()) == spec
    assert spec.to_dict()["kind"] == kind
    assert type(spec).__doc__
    for name, field in type(spec).model_fields.items():
        assert name == "kind" or field.description, f"{kind}.{name} has no description"


def test_names_give_specs_and_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "a.csv", b"x,y\n1,2\n")
    put(tmp_path / "a.npz", b"")
    put(tmp_path / "train-images-idx3-ubyte", b"")
    (tmp_path / "sub").mkdir()
    assert resolve("a.csv", target="y", group="x") == Table(path=str(tmp_path / "a.csv"), target="y", group="x")
    assert resolve("a.npz") == Arrays(path=str(tmp_path / "a.npz"))
    assert resolve("sub") == Folder(path=str(tmp_path / "sub"))
    assert resolve("sub", group="folder") == Folder(path=str(tmp_path / "sub"), group="folder")
    assert resolve(str(tmp_path)) == Idx(path=str(tmp_path))
    assert resolve("train-images-idx3-ubyte") == Idx(path=str(tmp_path / "train-images-idx3-ubyte"))
    assert resolve("mnist") == Published(kind="mnist")


BAD = {
    "digit": ("data-unknown", "no dataset and no path 'digit'. Did you mean digits?"),
    "fashion": ("data-unknown", "Did you mean fashion-mnist?"),
    "xqzt": ("data-unknown", "Allowed: a path, or digits, breast-cancer"),
    "photos/none": ("data-path-absent", "there is no photos/none"),
    "some.zip": ("data-packed", "unpack it first"),
    "some.tar.gz": ("data-packed", "unpack it first"),
    "some.jpg": ("data-one-picture", "is one picture"),
    "some.pkl": ("data-pickle", "never opened"),
    "some.npy": ("data-npy", "is one array"),
    "some.mp4": ("data-unsupported", "is of no kind that can be read"),
}


@pytest.mark.parametrize(("text", "slug", "message"), [(text, *row) for text, row in BAD.items()], ids=BAD.keys())
def test_what_is_no_source_is_one_sentence(
    text: str, slug: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if text.startswith("some."):
        put(tmp_path / text, b"anything")
    with pytest.raises(DataError) as error:
        resolve(text)
    assert error.value.slug == slug
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_options_that_do_not_belong_are_refused(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "photos", {"a": 2, "b": 2})
    put(tmp_path / "a.npz", b"")
    with pytest.raises(DataError, match="is no table, so it has no target column 'y'"):
        resolve(str(root), target="y")
    with pytest.raises(DataError, match=r"group = 'patient' is not allowed for class folders\. Allowed: folder"):
        resolve(str(root), group="patient")
    with pytest.raises(DataError, match="so it has no groups"):
        resolve(str(tmp_path / "a.npz"), group="x")
    with pytest.raises(DataError, match="digits has its target built in"):
        resolve("digits", target="y")


def test_a_path_that_went_away_is_one_sentence(tmp_path: Path) -> None:
    for spec in (Folder, Table, Arrays, Idx):
        with pytest.raises(DataError, match=r"there is no .*gone: give the path"):
            spec(path=str(tmp_path / "gone")).build()


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("xor", "noise", 0.0),
        ("xor", "samples", 3),
        ("spirals", "arms", 1),
        ("shapes", "size", 4),
        ("moons", "seed", -1),
    ],
)
def test_bounds_are_held(kind: str, field: str, value: float) -> None:
    with pytest.raises(SpecError, match=field):
        type(resolve(kind)).from_dict({"kind": kind, field: value})


SPEED = """
import sys, time
import numpy, pydantic  # others need these as well
began = time.process_time()
import markone.data.source, markone.data.split
print(time.process_time() - began)
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""


def test_specs_import_fast_and_without_the_heavy_libraries() -> None:
    """The best of three, in seconds of the processor: a heavy import decides the test, not a busy machine."""
    seconds = []
    for _ in range(3):
        answer = subprocess.run([sys.executable, "-c", SPEED], capture_output=True, text=True, check=True)
        first, modules = answer.stdout.splitlines()
        seconds.append(float(first))
        assert not {"torch", "sklearn", "polars", "PIL", "scipy"} & set(modules.split())
    assert min(seconds) < 0.2


def test_pictures_helper_makes_different_pictures() -> None:
    assert encoded(texture(1), "PNG") != encoded(texture(2), "PNG")
    assert encoded(texture(1), "PNG") == encoded(texture(1), "PNG")
