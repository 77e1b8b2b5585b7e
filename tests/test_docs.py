"""The pages in docs/ say what the program does."""

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from markone.cli import app, main
from markone.data.synthetic import Moons
from markone.diagnosis.finding import Finding, Severity
from markone.recipe import Recipe
from markone.training.loop import fit

ROOT = Path(__file__).parents[1]
JSON = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", JSON, re.MULTILINE | re.DOTALL))
FINDING = Finding("dead-relu", Severity.WARNING, "half are dead.", 0.5, 0.0, 0.7)


def test_the_page_of_the_command_line_is_fresh() -> None:
    manual = runpy.run_path(str(ROOT / "scripts" / "docs.py"))["manual"]()
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == manual, "write it anew: python scripts/docs.py"


def test_every_verb_has_a_section() -> None:
    assert set(SECTIONS) == set(app.VERBS)


def tree(section: str) -> dict[str, Any]:
    """The documented paths as nested names: ``{"findings": {"[]": {"slug": {}}}}``."""
    root: dict[str, Any] = {}
    for path in re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE):
        node = root
        for name in re.findall(r"\[\]|[^.\[\]]+", path):
            node = node.setdefault(name, {})
    return root


def differences(value: Any, documented: dict[str, Any], path: str = "") -> list[str]:
    """Where a document and its page do not have the same names; below a path without inner paths anything may be."""
    if not documented or value is None:
        return []
    if isinstance(value, list):
        return [text for inner in value for text in differences(inner, documented["[]"], f"{path}[]")]
    free = [name for name in documented if name.isupper()]
    if free:
        (name,) = free
        return [text for key, inner in value.items() for text in differences(inner, documented[name], f"{path}.{key}")]
    wrong = [f"{path}.{name}" for name in set(value) ^ set(documented)]
    return wrong + [
        text for n in set(value) & set(documented) for text in differences(value[n], documented[n], f"{path}.{n}")
    ]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs and a table."""
    folder = tmp_path_factory.mktemp("place")
    recipe = Recipe(data=Moons(samples=100)).edit_all({"net": "mlp", "net.width": 8, "epochs": 1})
    fit(recipe, folder=folder / "runs" / "one")
    fit(recipe.edit("seed", 1), folder=folder / "runs" / "two")
    (folder / "points.csv").write_text("x,y\n0.1,0.2\n", encoding="utf-8")
    return folder


COMMANDS = {
    "show": "show one",
    "runs": "runs",
    "compare": "compare one two",
    "diagnose": "diagnose one",
    "explain": "explain dead-relu",
    "test": "test one",
    "predict": "predict one points.csv",
    "data": "data iris",
    "net": "net mlp",
}


@pytest.mark.parametrize("verb", COMMANDS)
def test_documents_are_as_described(
    verb: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr("markone.diagnosis.diagnose.diagnose", lambda run: [FINDING])
    assert main([*COMMANDS[verb].split(), "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document
    assert differences(document, tree(SECTIONS[verb])) == []


def test_training_prints_the_document_of_show(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "moons", "--epochs", "1", "--format", "json", "--quiet"]) == 0
    assert differences(json.loads(capsys.readouterr().out), tree(SECTIONS["show"])) == []


def test_lists_without_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    for verb, names in (
        ("explain", {"slug", "title"}),
        ("net", {"name", "year", "paper", "parameters", "flops", "layers", "input_shape", "outputs"}),
    ):
        assert main([verb, "--format", "json"]) == 0
        assert all(set(row) == names for row in json.loads(capsys.readouterr().out))
        assert all(f"`{name}`" in SECTIONS[verb].partition("|")[0] for name in names)


def test_the_comparison_sees_differences() -> None:
    """A page that lacks a name, or has one too many, is noticed."""
    page = tree("| `a` | | |\n| `b[].c` | | |\n| `d.KEY.e` | | |\n")
    assert differences({"a": 1, "b": [{"c": 1}], "d": {"x": {"e": 1}}}, page) == []
    assert differences({"a": 1, "b": [{"c": 1, "f": 2}], "d": {"x": {"g": 1}}}, page) != []
    assert differences({"a": 1, "b": []}, page) == [".d"]
