"""runs, show and compare, on records written by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from markone.cli import main
from tests.synthetic_run import write_run

FINDING = {"slug": "dead-relu", "where": "hidden.0", "since_step": 3, "severity": "severe", "message": "dead."}


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """The one JSON document of a verb."""
    assert main([*arguments, "--format", "json"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    return json.loads(said.out)


class TestRuns:
    def test_without_runs_it_says_how_to_start_one(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["runs"]) == 0
        assert "start one with: markone train digits" in capsys.readouterr().out
        assert document(capsys, "runs") == []

    def test_a_row_for_each_run(self, capsys: pytest.CaptureFixture[str]) -> None:
        write_run(Path("runs/one"), findings=[FINDING])
        write_run(Path("runs/two"), status="interrupted")
        assert main(["runs"]) == 0
        head, one, two = capsys.readouterr().out.splitlines()
        assert head.split() == ["name", "data", "status", "epochs", "validation", "findings", "age"]
        assert one.split()[:8] == ["one", "digits", "finished", "2", "90.0", "%", "accuracy", "dead-relu"]
        assert two.split()[2] == "interrupted"

    def test_a_damaged_run_is_a_row_like_any_other(self, capsys: pytest.CaptureFixture[str]) -> None:
        write_run(Path("runs/one"))
        broken = write_run(Path("runs/two")).folder
        (broken / "record.db").write_bytes(b"no database, but long enough to be looked at as one" * 100)
        for beside in broken.glob("record.db-*"):
            beside.unlink()
        rows = document(capsys, "runs")
        assert [row["status"] for row in rows] == ["finished", "damaged"]
        assert rows[0].keys() == rows[1].keys()
        assert main(["runs"]) == 0

    def test_another_folder(self, capsys: pytest.CaptureFixture[str]) -> None:
        write_run(Path("elsewhere/one"))
        assert [row["id"] for row in document(capsys, "runs", "elsewhere")] == ["one"]


class TestShow:
    def test_the_document(self, capsys: pytest.CaptureFixture[str], workplace: Path) -> None:
        write_run(Path("runs/one"))
        shown = document(capsys, "show", "one")
        assert shown["id"] == "one"
        assert shown["folder"] == str(workplace / "runs" / "one")
        assert (shown["status"], shown["steps"], shown["epochs"], shown["seconds"]) == ("finished", 20, 2.0, 3.0)
        assert shown["metrics"]["validation"]["accuracy"] == 0.9
        assert shown["complexity"] == {"parameters": 1000, "l0": 1000, "l1": 50, "l2": 5}
        assert shown["recipe"]["data"] == {"kind": "digits"}

    @pytest.mark.parametrize("name", ["one", "runs/one", "last"])
    def test_a_run_is_named_in_three_ways(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        write_run(Path("runs/one"))
        assert document(capsys, "show", name)["id"] == "one"

    def test_the_text(self, capsys: pytest.CaptureFixture[str]) -> None:
        write_run(Path("runs/one"))
        assert main(["show", "one"]) == 0
        text = capsys.readouterr().out
        for part in ("one  finished", "This network has learned.", "90.0 %", "█", "20 steps", "adamw, lr"):
            assert part in text

    def test_a_run_without_a_step(self, capsys: pytest.CaptureFixture[str]) -> None:
        write_run(Path("runs/one"), accuracies=(), steps=0, status="interrupted")
        assert main(["show", "one"]) == 0
        assert "Nothing has been evaluated yet." in capsys.readouterr().out
        shown = document(capsys, "show", "one")
        assert (shown["metric"], shown["metrics"], shown["steps"]) == (None, {}, 0)

    def test_there_is_no_last_run_before_the_first(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["show", "last"]) == 2
        said = capsys.readouterr()
        assert said.err == "markone: there is no run in runs/ yet; start one with: markone train digits.\n"

    def test_names_with_brackets_are_text(self, capsys: pytest.CaptureFixture[str]) -> None:
        """rich takes [bold] for markup unless told otherwise."""
        write_run(Path("runs/[bold]one"), data="[red]:smile:")
        assert main(["show", "[bold]one"]) == 0
        text = capsys.readouterr().out
        assert "[bold]one" in text
        assert "[red]:smile:" in text

    def test_reading_changes_nothing(self, capsys: pytest.CaptureFixture[str]) -> None:
        folder = write_run(Path("runs/one")).folder
        kept = {
            path: path.read_bytes() for path in folder.iterdir() if path.is_file() and "record.db-" not in path.name
        }
        for arguments in (["show", "one"], ["runs"], ["compare", "one", "one"], ["diagnose", "one"]):
            assert main(arguments) == 0
        assert {p: p.read_bytes() for p in folder.iterdir() if p.is_file() and "record.db-" not in p.name} == kept


class TestCompare:
    def test_the_document(self, capsys: pytest.CaptureFixture[str]) -> None:
        write_run(Path("runs/one"), accuracies=(0.1, 0.6))
        write_run(Path("runs/two"), accuracies=(0.1, 0.9), edits={"epochs": 7})
        found = document(capsys, "compare", "one", "two")
        assert found["recipe"] == {"epochs": {"a": 20, "b": 7}}
        assert (found["metric"], found["verdict"], found["preferred"]) == ("accuracy", "b-better", "b")
        assert found["difference"]["low"] < 0.3 < found["difference"]["high"]
        assert found["runs"]["b"]["curves"]["validation"]["accuracy"] == [[0.0, 0.1], [1.0, 0.9]]

    def test_the_text(self, capsys: pytest.CaptureFixture[str]) -> None:
        write_run(Path("runs/one"), complexity=(5000, 90, 9))
        write_run(Path("runs/two"), edits={"optimizer": "sgd"})
        assert main(["compare", "one", "two"]) == 0
        text = capsys.readouterr().out
        for part in (
            "optimizer.kind",
            "validation accuracy, a",
            "95 % interval",
            "The",
            "simpler one, b, is preferred",
        ):
            assert part in text

    def test_a_run_and_itself(self, capsys: pytest.CaptureFixture[str]) -> None:
        write_run(Path("runs/one"))
        assert main(["compare", "one", "one"]) == 0
        text = capsys.readouterr().out
        assert "The recipes are equal." in text
        assert "equally complex" in text
