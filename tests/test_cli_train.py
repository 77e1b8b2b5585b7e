"""train: recipes from data and options, the run that it leaves, the live view, interruption and resuming."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from markone.cli import main
from markone.cli.rounds import Rounds
from markone.recipe import Recipe
from markone.report.live import Lines, Pace, Screen, Trace
from markone.training.run import Run

TINY = ["train", "moons", "--set", "net.width=8", "--set", "batch_size=64"]


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


class TestRecipe:
    def dry(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> Recipe:
        assert main(["train", *arguments, "--dry-run"]) == 0
        said = capsys.readouterr()
        assert said.err == ""
        return Recipe.from_toml(said.out)

    def test_digits_is_the_default(self, capsys: pytest.CaptureFixture[str], workplace: Path) -> None:
        recipe = self.dry(capsys)
        assert recipe.data.kind == "digits"
        assert recipe == self.dry(capsys, "digits")
        assert list(workplace.iterdir()) == []

    def test_options_and_edits_change_it(self, capsys: pytest.CaptureFixture[str]) -> None:
        options = ["--epochs", "7", "--seconds", "2.5", "--seed", "3"]
        edits = ["--set", "net.kind=mlp", "--set", "net.width=9", "--set", "optimizer=sgd", "--set", "epochs=8"]
        recipe = self.dry(capsys, "moons", *options, *edits, "--set", "data.samples=50")
        assert (recipe.epochs, recipe.seconds, recipe.seed) == (8, 2.5, 3)
        assert (recipe.net.kind, recipe.net.to_dict()["width"], recipe.optimizer.kind) == ("mlp", 9, "sgd")
        assert recipe.data.to_dict()["samples"] == 50

    def test_a_recipe_comes_back_from_its_file(self, capsys: pytest.CaptureFixture[str]) -> None:
        recipe = self.dry(capsys, "moons", "--epochs", "3")
        Path("mine.toml").write_text(recipe.to_toml(), encoding="utf-8")
        assert self.dry(capsys, "mine.toml") == recipe
        assert self.dry(capsys, "mine.toml", "--set", "seed=5").seed == 5

    def test_as_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["train", "moons", "--dry-run", "--format", "json"]) == 0
        assert json.loads(capsys.readouterr().out)["data"]["kind"] == "moons"


class TestRun:
    def test_it_ends_with_verdict_findings_and_next_step(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([*TINY, "--epochs", "2", "--folder", "mine"]) == 0
        out = capsys.readouterr().out
        assert out.startswith("mlp on moons, 2 epochs of 12 steps, into mine\n")
        assert re.search(r"^epoch 2/2: loss \S+, validation accuracy \S+ %", out, re.MULTILINE)
        assert "This network" in out
        assert "a blind guess gets" in out
        assert "\ntest     markone test mine\n" in out
        assert (Path("mine") / "report.html").is_file()
        assert Run("mine").status == "finished"

    def test_quiet_is_one_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([*TINY, "--epochs", "1", "--quiet", "--folder", "mine"]) == 0
        said = capsys.readouterr()
        assert re.fullmatch(r"finished: validation accuracy .*; findings: .*; mine\n", said.out)
        assert said.err == ""

    def test_json_is_the_document_of_show(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([*TINY, "--epochs", "1", "--format", "json"]) == 0
        said = capsys.readouterr()
        assert "epoch 1/1" in said.err
        assert main(["show", "last", "--format", "json"]) == 0
        assert json.loads(said.out) == json.loads(capsys.readouterr().out)

    def test_quiet_json_says_nothing_else(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([*TINY, "--epochs", "1", "--format", "json", "--quiet"]) == 0
        said = capsys.readouterr()
        assert json.loads(said.out)["status"] == "finished"
        assert said.err == ""

    def test_a_run_without_a_name_goes_to_runs(self) -> None:
        assert main([*TINY, "--epochs", "1", "--quiet"]) == 0
        (folder,) = Path("runs").iterdir()
        assert re.fullmatch(r"\d{4}-\d\d-\d\d-\d{4}-moons-[0-9a-f]{4}", folder.name)

    def test_a_time_limit_ends_it(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([*TINY, "--epochs", "1000000", "--seconds", "0.5", "--format", "json", "--quiet"]) == 0
        assert json.loads(capsys.readouterr().out)["seconds"] < 30

    def test_a_loss_that_is_no_number_is_no_success(self, capsys: pytest.CaptureFixture[str]) -> None:
        ill = ["--set", "optimizer.kind=sgd", "--set", "optimizer.lr=1e30", "--set", "schedule=constant"]
        assert main([*TINY, *ill, "--epochs", "5", "--folder", "mine"]) == 1
        out = capsys.readouterr().out
        assert "This training broke off: its loss became" in out
        assert "markone diagnose mine" in out

    def test_what_it_found_is_in_its_record(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Nothing can be learned from a rate of 1e-9, and a check says so."""
        assert main([*TINY, "--set", "optimizer.lr=1e-9", "--epochs", "3", "--format", "json", "--quiet"]) == 0
        found = json.loads(capsys.readouterr().out)["findings"]
        assert found
        kept = Run(next(Path("runs").iterdir())).recorded_findings
        assert [finding["slug"] for finding in kept if finding["withdrawn_step"] is None] == [f["slug"] for f in found]
        assert main(["runs"]) == 0
        assert found[0]["slug"] in capsys.readouterr().out


def start(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "markone", *arguments], **options)


def wait_for_epoch(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    while line := process.stdout.readline():
        if line.startswith(b"epoch"):
            return
    raise AssertionError("the training ended before its first epoch")


LONG = [
    *TINY,
    "--epochs",
    "100000",
    "--folder",
    "mine",
    "--set",
    "schedule=constant",
    "--set",
    "regularization.early_stopping=none",
]


class TestInterruption:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_it_saves_says_how_to_resume_and_resumes(
        self, number: int, workplace: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        process = start(*LONG, cwd=workplace, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_for_epoch(process)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert err.decode() == "markone: interrupted; go on with: markone train --resume mine\n"
        run = Run("mine")
        assert run.status == "interrupted"
        before = run.steps
        recipe = Path("mine/recipe.toml")  # the rest of a hundred thousand epochs would take too long here
        recipe.write_text(
            recipe.read_text("utf-8").replace("epochs = 100000", f"epochs = {int(run.epochs) + 2}"), "utf-8"
        )
        assert main(["train", "--resume", "mine", "--quiet"]) == 0
        run = Run("mine")
        assert run.status == "finished"
        assert run.steps > before
        assert np.array_equal(run.scalars("loss", "batch").steps, np.arange(1, run.steps + 1))

    def test_a_second_one_ends_it_at_once(self, workplace: Path) -> None:
        process = start(*LONG, cwd=workplace, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_for_epoch(process)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert b"Traceback" not in err
        assert Run("mine").status == "interrupted"


def read_terminal(process: subprocess.Popen[bytes], master: int, *, seconds: float = 90) -> str:
    """All that a program writes to a terminal until it ends."""
    written, deadline = b"", time.monotonic() + seconds
    while time.monotonic() < deadline:
        if select.select([master], [], [], 0.2)[0]:
            try:
                written += os.read(master, 65536)
            except OSError:  # the other side is closed
                break
        elif process.poll() is not None:
            break
    return written.decode()


class TestTerminal:
    def test_a_terminal_sees_it_live(self, workplace: Path) -> None:
        master, slave = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
        options = {"stdin": slave, "stdout": slave, "stderr": slave, "env": environment, "cwd": workplace}
        process = start(*TINY, "--epochs", "1000000", "--seconds", "3", "--folder", "mine", **options)
        os.close(slave)
        seen = read_terminal(process, master)
        os.close(master)
        assert process.wait(timeout=30) == 0
        frames = re.findall(r"epoch \d+/1000000[^\n]*", seen)
        assert len(set(frames)) >= 3, "the view moves"
        assert len(frames) <= 3 * 8 + 3, "at most eight frames a second"
        assert "━" in seen
        assert "samples/s" in seen
        assert "▁" in seen
        assert "\x1b[?25h" in seen, "the cursor is given back"
        assert "This network" in seen.rpartition("\x1b[?25h")[2]

    def test_json_on_a_terminal_leaves_standard_output_alone(self, workplace: Path) -> None:
        master, slave = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color"}
        arguments = [*TINY, "--epochs", "2", "--format", "json"]
        with start(*arguments, cwd=workplace, env=environment, stdout=subprocess.PIPE, stderr=slave) as process:
            os.close(slave)
            seen = read_terminal(process, master)
            assert process.stdout is not None
            assert json.loads(process.stdout.read())["status"] == "finished"
            assert process.wait(timeout=30) == 0
        os.close(master)
        assert "epoch" in seen


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    thread_time = monotonic


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("markone.report.live.time", clock)
    monkeypatch.setattr("markone.cli.rounds.time", clock)
    return clock


class TestCost:
    """What looking costs, on a clock of our own."""

    def test_diagnoses_take_one_percent_at_most(self, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        spent = []

        def diagnose(run: object) -> list[object]:
            spent.append(3.0)
            clock.now += 3.0
            return []

        monkeypatch.setattr("markone.diagnosis.diagnose.diagnose", diagnose)
        training: Any = type("Training", (), {"run": None, "recorder": _Recorder(), "status": None})()
        rounds = Rounds(training)
        for _ in range(10_000):
            clock.now += 0.2
            rounds.after_epoch(type("Step", (), {"index": 1})())
        assert len(spent) >= 5
        assert sum(spent[1:]) / (10_000 * 0.2) <= 0.0101

    def test_frames_take_one_percent_at_most(self, clock: Clock) -> None:
        live: Any = _Live(clock)
        screen = Screen(live, Pace(_training()))
        for index in range(1, 10_000):
            clock.now += 0.01
            screen.step(_step(index))
        assert 0.005 <= live.frames * live.cost / (clock.now - 1000) <= 0.0101

    def test_lines_come_once_a_second_and_the_last_always(
        self, clock: Clock, capsys: pytest.CaptureFixture[str]
    ) -> None:
        from markone.cli.output import open_console

        lines = Lines(open_console(), Pace(_training()))
        for index in range(1, 1001):
            clock.now += 0.01
            lines.step(_step(index, ends_epoch=index % 10 == 0))
        lines.close()
        said = capsys.readouterr().out.splitlines()
        assert 10 <= len(said) <= 12
        assert said[-1].startswith("epoch 100/100: ")


class _Recorder:
    def flush(self) -> None:
        pass

    def findings(self, found: object, *, step: int) -> None:
        pass


class _Live:
    def __init__(self, clock: Clock) -> None:
        self.clock, self.frames, self.cost = clock, 0, 0.004

    def update(self, frame: object, *, refresh: bool) -> None:
        self.frames += 1
        self.clock.now += self.cost


def _training() -> Any:
    recipe = Recipe.from_dict({"data": {"kind": "moons"}, "net": {"kind": "mlp"}, "epochs": 100})
    return type("Training", (), {"recipe": recipe})()


def _step(index: int, *, ends_epoch: bool = False) -> Any:
    from markone.training.loop import Step

    metrics = {"validation": {"accuracy": 0.5, "loss": 1.0}} if ends_epoch else None
    done = index - 1
    return Step(index, done // 10, done % 10, 10, 1000, 64, 1 / index, metrics, index * 0.01)


class TestPace:
    def test_time_left_is_by_the_steps_of_this_sitting(self) -> None:
        pace = Pace(_training())
        for index in range(501, 601):
            pace.step(_step(index))
        assert pace.seconds_left() == pytest.approx(4.0)

    def test_a_time_limit_may_end_it_sooner(self) -> None:
        training = _training()
        training.recipe = training.recipe.edit("seconds", 7.0)
        pace = Pace(training)
        pace.step(_step(1))
        pace.step(_step(600))
        assert pace.seconds_left() == pytest.approx(1.0)

    def test_throughput_is_that_of_the_last_marks(self, clock: Clock) -> None:
        pace = Pace(_training())
        for index in range(1, 101):
            clock.now += 0.1
            pace.step(_step(index))
            assert pace.throughput() == pytest.approx(640)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 100, 1000, 4097])
def test_a_trace_keeps_the_whole_curve_in_a_fixed_size(length: int) -> None:
    trace = Trace(8)
    for value in range(length):
        trace.add(value)
    assert len(trace.values) == length if length <= 8 else 4 <= len(trace.values) <= 8
    steps = np.diff(trace.values)
    assert np.all(steps == steps[:1]), "evenly spaced"
    if length:
        stride = 1 if len(trace.values) < 2 else steps[0]
        assert trace.values[0] == (stride - 1) / 2
        assert trace.values[-1] > length - 1 - 2 * stride
