"""The command line as a whole: how fast it answers, how it fails, what it prints where."""

import ast
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from markone.cli import app, main, output
from markone.cli.options import read_edits
from markone.errors import InputError, SpecError, TrainingError

CLI = Path(app.__file__).parent
HEAVY = {"torch", "numpy", "pydantic", "rich", "sklearn", "polars", "PIL"}


def markone(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The program as a user has it."""
    command = [sys.executable, "-m", "markone", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, timeout=120)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], []])
def test_help_and_version_bring_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from markone.cli import main; main(sys.argv[1:]); "
        f"print(*{HEAVY!r} & sys.modules.keys(), file=sys.stderr)"
    )
    answer = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert answer.stderr.strip() == ""
    assert ("markone 0." if arguments == ["--version"] else "Commands:") in answer.stdout


def test_help_costs_less_than_0_3_seconds_of_processor_time() -> None:
    """The least of three: processor time, for the machine may be busy with other work."""

    def cost() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert markone("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(cost() for _ in range(3)) < 0.3


@pytest.mark.parametrize("path", sorted(CLI.glob("*.py")), ids=lambda path: path.stem)
def test_verbs_import_inside_their_functions(path: Path) -> None:
    """Above the functions of a verb there are only typer, the standard library, and cli's own light modules."""
    light = {"markone.errors", "markone.version"}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            root = name.split(".")[0]
            own = name in light or name.startswith("markone.cli")
            assert root in {*sys.stdlib_module_names, "typer"} or own, f"{path.name} imports {name} at its head"


def test_every_verb_has_help_with_a_short_first_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    overview = capsys.readouterr().out
    assert "..." not in overview.partition("Commands:")[2], "a first sentence is too long for the overview"
    for verb in app.VERBS:
        assert main([verb, "--help"]) == 0
        assert f"Usage: markone {verb}" in capsys.readouterr().out


def test_shell_completion_knows_the_verbs(tmp_path: Path) -> None:
    environment = {**os.environ, "_MARKONE_COMPLETE": "complete_bash", "COMP_WORDS": "markone tr", "COMP_CWORD": "1"}
    command = [sys.executable, "-m", "markone"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert answer.stdout.split() == ["train"]


def test_an_unknown_verb_offers_the_near_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("markone: there is no verb 'trian'. Did you mean train? Allowed: train, watch,")


def raise_from_runs(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> Callable[[], int]:
    def verb() -> None:
        raise error

    monkeypatch.setitem(app.VERBS, "runs", verb)
    return lambda: main(["runs"])


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("a-slug", "nothing of\nthe kind."), 2, "markone: nothing of the kind.\n"),
        (TrainingError("a-slug", "it broke."), 1, "markone: it broke.\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_are_one_line(
    error: BaseException, code: int, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert raise_from_runs(monkeypatch, error)() == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == line


def test_a_bug_shows_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        raise_from_runs(monkeypatch, ZeroDivisionError("a bug"))()


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m markone explain --format json | true; exit ${{PIPESTATUS[0]}}"
    answer = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert answer.stderr == ""


def test_json_has_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json({"a": [float("nan"), (1.5, float("inf"))], "b": {"c": -float("inf"), "d": "ä"}})
    assert json.loads(capsys.readouterr().out) == {"a": [None, [1.5, None]], "b": {"c": None, "d": "ä"}}


class TestSet:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("3", 3),
            ("1e-3", 1e-3),
            ("true", True),
            ("mlp", "mlp"),
            ("none", "none"),
            ('"3"', "3"),
            ("[1, 2]", [1, 2]),
            ("{ kind = 'sgd', lr = 0.1 }", {"kind": "sgd", "lr": 0.1}),
            ("1\nother = 2", "1\nother = 2"),
            ("a=b", "a=b"),
            ("", ""),
        ],
    )
    def test_values_are_toml_or_text(self, text: str, value: object) -> None:
        assert read_edits([f" net.depth ={text}"]) == {"net.depth": value}

    def test_the_last_of_two_counts(self) -> None:
        assert read_edits(["epochs=1", "epochs=2"]) == {"epochs": 2}
        assert read_edits(None) == {}

    @pytest.mark.parametrize("text", ["net.depth", "=3", " =3"])
    def test_without_a_field_or_a_value_it_is_refused(self, text: str) -> None:
        with pytest.raises(SpecError, match="write FIELD=VALUE"):
            read_edits([text])
