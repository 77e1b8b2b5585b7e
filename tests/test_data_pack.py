"""The store: decoded once, whole or not there at all, rebuilt when damaged, shared by processes that start together."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import markone.data.pack as pack_module
import markone.data.store as store_module
from markone.data.dataset import Dataset
from markone.data.folder import read_folder
from markone.data.pack import decode_for
from markone.data.source import Folder
from markone.data.store import StoreWriter, open_store
from markone.errors import DataError
from tests.pictures import class_folders, encoded, put, texture, touch_back

SCRIPT = """
import sys
from pathlib import Path
from markone.data.folder import read_folder
print(read_folder(Path(sys.argv[1])).digest)
"""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return class_folders(tmp_path / "photos", {"a": 20, "b": 20})


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for every picture that is decoded."""
    calls: list[int] = []
    whole = pack_module.decode

    def counted(data: bytes, **options: object) -> object:
        calls.append(len(data))
        return whole(data, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(pack_module, "decode", counted)
    return calls


def stores(cache: Path) -> list[Path]:
    return sorted(path for path in (cache / "stores").iterdir() if not path.name.startswith("."))


def same(a: Dataset, b: Dataset) -> bool:
    return a.names == b.names and a.digest == b.digest and np.array_equal(a.inputs, b.inputs)


def test_second_start_reads_no_picture(photos: Path, decodes: list[int]) -> None:
    first = read_folder(photos)
    assert len(decodes) == 40
    for file in photos.rglob("*.jpg"):  # whoever opens one now finds no JPEG in it
        touch_back(file, b"x" * file.stat().st_size)
    second = read_folder(photos)
    assert len(decodes) == 40
    assert same(first, second)
    assert isinstance(second.inputs, np.memmap)
    assert not second.inputs.flags.writeable


def test_a_changed_or_added_file_is_decoded(photos: Path, decodes: list[int]) -> None:
    first = read_folder(photos)
    put(photos / "a/000.jpg", encoded(texture(77)))
    changed = read_folder(photos)
    assert changed.digest != first.digest
    assert not np.array_equal(changed.inputs[0], first.inputs[0])
    put(photos / "b/new.jpg", encoded(texture(78)))
    assert len(read_folder(photos)) == 41
    assert len(decodes) == 40 + 40 + 41


def test_the_store_is_named_by_content_and_settings(photos: Path, tmp_path: Path, private_cache: Path) -> None:
    first = read_folder(photos)
    copied = read_folder(Path(shutil.copytree(photos, tmp_path / "elsewhere" / "photos", copy_function=shutil.copy)))
    assert copied.digest == first.digest
    assert len(stores(private_cache)) == 1
    digests = {read_folder(photos, size=size, fit=fit).digest for size in (32, 48) for fit in ("crop", "squash", "pad")}
    assert len(digests) == 6
    assert first.digest not in digests
    assert len(stores(private_cache)) == 7


@pytest.mark.parametrize("damage", ["truncated", "changed", "no index", "bad index", "other version"])
def test_a_damaged_store_is_rebuilt(damage: str, photos: Path, private_cache: Path, decodes: list[int]) -> None:
    first = read_folder(photos)
    expected = np.array(first.inputs)
    (folder,) = stores(private_cache)
    pixels, index = folder / "pixels.raw", folder / "index.json"
    if damage == "truncated":
        os.truncate(pixels, 1000)
    elif damage == "changed":
        with pixels.open("r+b") as file:
            file.seek(12345)
            file.write(b"\0\1\2\3")
    elif damage == "no index":
        index.unlink()
    elif damage == "bad index":
        index.write_text(index.read_text()[:-50])
    else:
        index.write_text(json.dumps(json.loads(index.read_text()) | {"version": 0}))
    again = read_folder(photos)
    assert len(decodes) == 80
    np.testing.assert_array_equal(again.inputs, expected)
    assert same(again, read_folder(photos))
    assert len(decodes) == 80
    assert len(stores(private_cache)) == 1


def test_a_killed_process_leaves_no_store(photos: Path, private_cache: Path) -> None:
    slow = """
import time, markone.data.pack as pack
whole = pack.decode
def decode(data, **options):
    time.sleep(0.05)
    return whole(data, **options)
pack.decode = decode
"""
    child = subprocess.Popen([sys.executable, "-c", slow + SCRIPT, str(photos)])
    deadline = time.monotonic() + 60
    while not list((private_cache / "stores").glob(".*/pixels.raw")) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    left = list((private_cache / "stores").iterdir())
    assert [path.name[0] for path in left] == ["."], "it was killed while it wrote aside"
    assert len(read_folder(photos)) == 40
    assert len(stores(private_cache)) == 1
    os.utime(left[0], (0, 0))  # a day later, the next one that packs takes it away
    read_folder(photos, size=16)
    assert not left[0].exists()


def test_processes_that_start_together_agree(photos: Path, private_cache: Path) -> None:
    children = [
        subprocess.Popen([sys.executable, "-c", SCRIPT, str(photos)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    answers = {child.communicate(timeout=120)[0].strip() for child in children}
    assert [child.returncode for child in children] == [0, 0, 0]
    assert answers == {read_folder(photos).digest}
    assert len(stores(private_cache)) == 1
    assert not list((private_cache / "stores").glob(".*"))


def test_no_room_for_the_store_is_one_sentence(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "file", b"")
    monkeypatch.setenv("MARKONE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataError, match=r"cannot take .* MiB of pictures .*set MARKONE_CACHE"):
        read_folder(photos)


def test_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MARKONE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert store_module.cache_folder() == tmp_path / "markone"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert store_module.cache_folder() == Path.home() / ".cache" / "markone"


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("kept", ["all", "odd", "last", "random"])
def test_rows_are_moved_to_the_front_whole(grey: bool, kept: str) -> None:
    draw = np.random.default_rng(0)
    rows = draw.integers(0, 256, (700, 6, 6, 3), dtype=np.uint8)
    keep = {
        "all": np.arange(700),
        "odd": np.arange(1, 700, 2),
        "last": np.arange(650, 700),
        "random": np.flatnonzero(draw.random(700) < 0.9),
    }[kept]
    writer = StoreWriter((700, 6, 6, 3))
    writer.rows[...] = rows
    store = writer.finish("key", keep=keep, grey=grey, index={"note": "kept"})
    np.testing.assert_array_equal(store.pixels, rows[keep][..., : 1 if grey else 3])
    again = open_store("key")
    assert again is not None
    assert again.index["note"] == "kept"
    assert open_store("other") is None


def test_progress_rises_to_the_number_of_files(photos: Path) -> None:
    told: list[tuple[int, int, str]] = []
    read_folder(photos, progress=lambda *step: told.append(step))
    assert told[-1] == (40, 40, "decoding pictures")
    assert [step[0] for step in told] == sorted(step[0] for step in told)


def test_an_interrupted_packing_leaves_nothing(photos: Path, private_cache: Path) -> None:
    def stop(done: int, total: int, what: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_folder(photos, progress=stop)
    assert list((private_cache / "stores").iterdir()) == []


def test_new_pictures_are_decoded_as_the_training_saw_them(photos: Path, tmp_path: Path) -> None:
    for fit in ("crop", "squash", "pad"):
        source = Folder(path=str(photos), size=40, fit=fit)
        dataset = source.build()
        assert dataset.names is not None
        paths = [photos / name for name in dataset.names]
        again = decode_for(source, paths, input_shape=dataset.input_shape)
        np.testing.assert_array_equal(np.stack([p for p in again if not isinstance(p, str)]), dataset.inputs)
    bad = put(tmp_path / "bad.jpg", b"nothing")
    grey, reason, absent = decode_for(
        Folder(path=str(photos)), [photos / "a/000.jpg", bad, tmp_path / "no.jpg"], input_shape=(1, 28, 20)
    )
    assert not isinstance(grey, str)
    assert grey.shape == (28, 20, 1)
    assert reason == "is not a picture (it holds text)"
    assert absent == "cannot be read: No such file or directory"
