"""predict and test: what a trained net says, in three forms, and the one opening of the sealed part."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from markone.cli import main
from markone.data.synthetic import Moons, Polynomial, Shapes
from markone.recipe import Recipe
from markone.training.evaluate import Predictor
from markone.training.loop import fit
from markone.training.run import Run

TINY = {"net": "mlp", "net.width": 8, "epochs": 1, "precision": "float32"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run on a table with classes, one on a table with numbers, one on pictures."""
    folder = tmp_path_factory.mktemp("runs")
    fit(Recipe(data=Moons(samples=100)).edit_all(TINY), folder=folder / "moons")
    numbers = {**TINY, "task": "regression", "loss": "squared"}
    fit(Recipe(data=Polynomial(samples=60)).edit_all(numbers), folder=folder / "numbers")
    fit(Recipe(data=Shapes(samples=60, size=12)).edit_all(TINY), folder=folder / "shapes")
    return folder


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with inputs."""
    folder = tmp_path / "work"
    (folder / "photos" / "more").mkdir(parents=True)
    monkeypatch.chdir(folder)
    Path("points.csv").write_text("x,y\n0.1,0.2\n-3,1.5\n")
    np.savez("points.npz", x=np.array([[0.1, 0.2], [-3, 1.5]]))
    for path in ("photos/a.png", "photos/more/b.png"):
        Image.new("RGB", (30, 20), (200, 30, 90)).save(path)
    Path("photos/notes.txt").write_text("no picture, and none that was asked for")
    return folder


def predicted(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    assert main(["predict", *arguments, "--format", "json"]) == code
    return json.loads(capsys.readouterr().out)


class TestTable:
    def test_rows_have_classes_and_probabilities(self, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        first, second = predicted(capsys, str(runs / "moons"), "points.csv")
        assert first.keys() == second.keys() == {"input", "class", "probability", "probabilities"}
        assert first["probability"] == max(first["probabilities"].values())
        assert sum(first["probabilities"].values()) == pytest.approx(1, abs=1e-5)

    def test_csv_and_npz_say_the_same_as_python(self, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        run = str(runs / "moons")
        rows, same = predicted(capsys, run, "points.csv"), predicted(capsys, run, "points.npz")
        known = Predictor.load(Run(run)).arrays(np.array([[0.1, 0.2], [-3, 1.5]], dtype=np.float32))
        for found in (rows, same):
            assert [row["probabilities"] for row in found] == [pytest.approx(row["probabilities"]) for row in known]
        assert [row["input"] for row in same] == ["points.npz#0", "points.npz#1"]

    def test_as_csv(self, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["predict", str(runs / "moons"), "points.csv", "--format", "csv"]) == 0
        rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
        assert len(rows) == 2
        names = [name for name in rows[0] if name.startswith("probability of ")]
        assert sum(float(rows[0][name]) for name in names) == pytest.approx(1, abs=1e-5)
        assert list(rows[0])[:3] == ["input", "class", "probability"]

    def test_numbers(self, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        np.savez("x.npz", x=np.array([[0.5], [-0.5]]))
        assert all(set(row) == {"input", "y"} for row in predicted(capsys, str(runs / "numbers"), "x.npz"))
        assert main(["predict", str(runs / "numbers"), "x.npz"]) == 0
        assert capsys.readouterr().out.split()[:2] == ["input", "y"]

    @pytest.mark.parametrize("name", ["answers.csv", "answers.json"])
    def test_into_a_file(self, name: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["predict", str(runs / "moons"), "points.csv", "--out", name]) == 0
        assert capsys.readouterr().out == ""
        text = Path(name).read_text(encoding="utf-8")
        rows = json.loads(text) if name.endswith("json") else list(csv.DictReader(io.StringIO(text)))
        assert len(rows) == 2


class TestPictures:
    def test_files_and_folders(self, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        rows = predicted(capsys, str(runs / "shapes"), "photos", "photos/a.png")
        assert [row["input"] for row in rows] == ["photos/a.png", "photos/more/b.png", "photos/a.png"]
        assert rows[0]["probabilities"] == rows[2]["probabilities"]

    def test_as_text(self, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["predict", str(runs / "shapes"), "photos/a.png"]) == 0
        head, row = capsys.readouterr().out.splitlines()
        assert head.split() == ["input", "class", "probability", "then"]
        assert row.startswith("photos/a.png ")

    def test_a_picture_that_cannot_be_read_has_its_reason(self, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        Path("photos/broken.png").write_bytes(Path("photos/a.png").read_bytes()[:40])
        rows = predicted(capsys, str(runs / "shapes"), "photos", code=1)
        assert ["error" in row for row in rows] == [False, True, False]
        assert main(["predict", str(runs / "shapes"), "photos"]) == 1
        said = capsys.readouterr()
        assert "cannot be read: " in said.out
        assert said.err == "markone: 1 of 3 inputs could not be read; their rows say why.\n"
        assert main(["predict", str(runs / "shapes"), "photos", "--format", "csv"]) == 1
        assert "error" in capsys.readouterr().out.splitlines()[0]


class TestSealedPart:
    def test_each_opening_is_counted(self, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        documents = []
        for _ in range(2):
            assert main(["test", str(runs / "moons"), "--format", "json"]) == 0
            documents.append(json.loads(capsys.readouterr().out))
        assert [document["openings"] for document in documents] == [1, 2]
        first, second = (document["metrics"]["accuracy"] for document in documents)
        assert first == second
        assert 0 <= first["low"] <= first["value"] <= first["high"] <= 1
        assert (first["level"], documents[0]["samples"]) == (0.95, 10)
        assert json.loads((runs / "moons" / "test.json").read_text(encoding="utf-8")) == documents[1]

    def test_the_text_says_so(self, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["test", str(runs / "numbers")]) == 0
        text = capsys.readouterr().out
        assert "RMSE" in text
        assert "95 % interval" in text
        assert "This was the first opening, so the estimate is unbiased." in text
        assert main(["test", str(runs / "numbers")]) == 0
        assert "It has been opened 2 times" in capsys.readouterr().out
