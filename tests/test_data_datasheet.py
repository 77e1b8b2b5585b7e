"""The datasheet: what it counts, on tables and pictures with known flaws."""

import json
from pathlib import Path

import numpy as np
import pytest

from markone.data.dataset import Column, Dataset, SetAside
from markone.data.datasheet import Datasheet, datasheet
from markone.data.duplicates import find_duplicates
from markone.data.folder import read_folder
from markone.data.source import NAMES, resolve
from markone.data.split import Split, split
from tests.pictures import class_folders, encoded, put, texture


def sheet_of(dataset: Dataset) -> Datasheet:
    found = find_duplicates(dataset)
    return datasheet(dataset, split(dataset, Split(), seed=0, clusters=found.clusters), found)


def test_a_table_with_known_flaws() -> None:
    inputs = np.random.default_rng(0).random((40, 3)).astype(np.float32)
    inputs[:5, 0], inputs[:, 1] = np.nan, 7
    targets = np.arange(40) % 2
    inputs[39], targets[39] = inputs[10], targets[10]
    columns = (Column("size", "number"), Column("same", "number"), Column("colour", "category", "red"))
    sheet = sheet_of(
        Dataset(
            "made",
            inputs,
            targets,
            classes=("no", "yes"),
            columns=columns,
            set_aside=(SetAside("line 42", "has no y"),),
            notes=("id numbers the rows and is left out",),
        )
    )
    assert (sheet.name, sheet.kind, sheet.samples, sheet.input_shape) == ("made", "table", 40, (3,))
    assert sheet.parts == {"training": 32, "validation": 4, "test": 4}
    assert sum(sum(parts.values()) for parts in sheet.classes.values()) == 40
    assert sum(sheet.classes["yes"].values()) == int(targets.sum())
    assert sheet.constant == ("same",)
    assert sheet.missing == {"size": 5}
    assert sheet.inputs[0].mean == pytest.approx(np.nanmean(inputs[:, 0]), abs=1e-6)
    assert sheet.inputs[0].std == pytest.approx(np.nanstd(inputs[:, 0]), abs=1e-6)
    assert (sheet.inputs[1].smallest, sheet.inputs[1].largest) == (7, 7)
    exact = sheet.duplicates["exact"]
    assert (exact.pairs, exact.across_classes) == (1, 0)
    assert (exact.named[0].first, exact.named[0].second) == ("#10", "#39")
    assert exact.named[0].parts[0] == exact.named[0].parts[1]
    assert [(odd.path, odd.reason) for odd in sheet.set_aside] == [("line 42", "has no y")]
    assert sheet.notes[0] == "id numbers the rows and is left out"
    assert "Clusters of duplicates, each kept on one side: 1, with 2 samples." in sheet.notes


def test_a_folder_with_known_flaws(tmp_path: Path) -> None:
    root = class_folders(tmp_path, {"a": 12, "b": 12})
    put(root / "b/as-a.jpg", (root / "a/003.jpg").read_bytes())
    put(root / "a/again.jpg", (root / "a/001.jpg").read_bytes())
    put(root / "a/empty.jpg", b"")
    put(root / "b/cmyk.jpg", encoded(texture(99).convert("CMYK")))
    dataset = read_folder(root)
    sheet = sheet_of(dataset)
    assert sheet.kind == "pictures"
    assert sheet.samples == 27
    assert [feature.name for feature in sheet.inputs] == ["red", "green", "blue"]
    for channel, feature in enumerate(sheet.inputs):
        values = np.asarray(dataset.inputs[..., channel], dtype=float)
        assert (feature.smallest, feature.largest) == (values.min(), values.max())
        assert (feature.mean, feature.std) == pytest.approx((values.mean(), values.std()))
    exact = sheet.duplicates["exact"]
    assert (exact.pairs, exact.across_classes) == (2, 1)
    assert (exact.named[0].first, exact.named[0].second) == ("a/003.jpg", "b/as-a.jpg"), (
        "what is filed twice comes first"
    )
    assert exact.named[0].classes == ("a", "b")
    assert sheet.duplicates["near"].pairs == 0
    assert sheet.similarity == 0.9
    assert [(bad.path, bad.reason) for bad in sheet.set_aside] == [("a/empty.jpg", "is empty (0 bytes)")]
    assert [(odd.path, odd.reason) for odd in sheet.odd] == [("b/cmyk.jpg", "is CMYK, converted to RGB")]
    assert sheet.digest == dataset.digest


def test_regression_has_target_ranges_and_no_classes() -> None:
    sheet = sheet_of(resolve("diabetes").build())
    assert sheet.classes == {}
    assert [(target.name, target.smallest, target.largest) for target in sheet.targets] == [
        ("disease progression", 25, 346)
    ]
    assert sheet.duplicates["exact"].named == ()


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("mnist", "fashion-mnist", "cifar10")])
def test_every_datasheet_is_plain_data(name: str) -> None:
    plain = sheet_of(resolve(name).build()).to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert sum(plain["parts"].values()) == plain["samples"]


def test_a_column_without_any_number_has_no_range() -> None:
    inputs = np.full((12, 2), np.nan, dtype=np.float32)
    inputs[:, 1] = np.arange(12)
    sheet = sheet_of(Dataset("made", inputs, np.arange(12) % 2, classes=("a", "b"), columns=()))
    assert sheet.to_dict()["inputs"][0] == {
        "name": "x0", "smallest": None, "largest": None, "mean": None, "std": None, "missing": 12,
    }  # fmt: skip
