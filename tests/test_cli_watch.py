"""``markone watch`` as a user runs it: what reaches standard output, what the exit code is, what is said of bad input."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import markone
from markone.cli import main
from markone.diagnosis.finding import Finding, Severity
from markone.training.run import Run

LOOPS = Path(__file__).parent / "loops"
SCRIPT = """
import sys
import torch

torch.manual_seed(0)
net = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for step in range(int(sys.argv[1])):
    x = torch.randn(8, 4)
    loss = ((net(x) - x.sum(1, keepdim=True)) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"{step} {loss.item():.6f}")
sys.exit(int(sys.argv[2]))
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "fit.py"
    path.write_text(SCRIPT)
    return path


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


def test_output_and_exit_code_are_the_scripts(script: Path) -> None:
    alone = run(str(script), "30", "7")
    watched = run("-m", "markone", "watch", "--folder", "run", str(script), "30", "7")
    assert (watched.stdout, watched.returncode) == (alone.stdout, alone.returncode)
    assert watched.returncode == 7
    assert "markone diagnose" in watched.stderr
    assert "Nothing is wrong with this training" in watched.stderr
    record = Run("run")
    assert record.steps == 30
    assert record.recipe is None
    assert [f"{value:.6f}" for value in record.scalars("loss", "batch").values] == [
        line.split()[1] for line in alone.stdout.splitlines()
    ]


def test_the_run_is_diagnosed_like_any_other(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ill = LOOPS / "zero-grad-missing" / "ill.py"
    assert main(["watch", "--quiet", "--folder", "run", str(ill), "--seed", "1"]) == 0
    streams = capsys.readouterr()
    assert "zero-grad-missing" in streams.err
    assert len(streams.err.strip().splitlines()) == 1
    assert main(["diagnose", "run", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found[0]["slug"] == "zero-grad-missing"
    assert found[0]["place"].rpartition(":")[0].endswith("ill.py")
    for verb in (["show", "run"], ["runs"], ["compare", "run", "run"]):
        assert main(verb) == 0, verb
    capsys.readouterr()


def test_steps_end_it_early(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "--steps", "5", "--folder", "run", str(script), "30", "7"]) == 0
    streams = capsys.readouterr()
    assert "Stopped as asked" in streams.err
    assert len(streams.out.splitlines()) == 4, "the fifth step is the last, and nothing is run after it"
    assert Run("run").steps == 5


def test_a_module_runs_as_python_would_run_it(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    package = script.parent / "pack"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "fit.py").write_text("from pack import names\n" + SCRIPT)
    (package / "names.py").touch()
    assert main(["watch", "-m", "pack.fit", "12", "0"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 12
    assert len(list(Path("runs").iterdir())) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "watch needs a script, or -m and a module: markone watch train.py."),
        (["nothing.py"], "there is no script nothing.py. Here are: fit.py. Give a Python script, or a module with -m."),
        (["."], ". is a folder; give a Python script, or a module with -m."),
        (["-m", "no.such"], "there is no module 'no.such' to run; write it as python -m would take it."),
        (["--steps", "0", "fit.py"], "--steps 0 is not allowed; give a number of optimizer steps from 1 on."),
    ],
)
def test_bad_input_is_one_sentence(
    script: Path, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["watch", *arguments]) == 2
    streams = capsys.readouterr()
    assert streams.err.strip() == f"markone: {sentence}"
    assert streams.out == ""
    assert not Path("runs").exists()


def test_a_folder_that_is_taken_is_refused_before_the_script_runs(
    script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("run").mkdir()
    (Path("run") / "mine").touch()
    assert main(["watch", "--folder", "run", str(script), "3", "0"]) == 2
    streams = capsys.readouterr()
    assert "exists and is not empty" in streams.err
    assert streams.out == ""


def test_the_scripts_exception_is_its_own(script: Path) -> None:
    script.write_text("import torch\n\ndef work():\n    raise KeyError('lost')\n\nwork()\n")
    alone, watched = run(str(script)), run("-m", "markone", "watch", "--quiet", "--folder", "run", str(script))
    assert watched.returncode == alone.returncode == 1
    assert watched.stderr.startswith(alone.stderr.rstrip())
    assert Run("run").status == "failed"


def test_the_last_row_of_a_terminal_is_ours_and_the_rest_the_scripts(script: Path) -> None:
    process, terminal = pty.fork()
    if process == 0:  # pragma: no cover
        os.environ["TERM"] = "xterm"
        os.execv(sys.executable, [sys.executable, "-m", "markone", "watch", "--folder", "run", str(script), "400", "0"])
    seen = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:
            break
        if not piece:
            break
        seen += piece
    os.waitpid(process, 0)
    text = seen.decode()
    assert "\x1b[24;1H" in text, "the line is drawn in the last row"
    assert "markone: step" in text
    assert "\x1b[r" in text, "in the end the whole screen scrolls again"
    assert "399 " in text


def test_a_watched_training_records_findings_and_withdraws_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr("markone.training.watch.CONCLUDE_SECONDS", 0.0)
    net = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    told: list[int] = []

    def rounds(run: Run) -> list[dict[str, Any]]:
        told.append(run.steps)
        found = Finding("lr-too-high", Severity.NOTE, "for a while", 1.0, 0.5, 0.6, since_step=1)
        return [found.to_dict()] if len(told) == 1 else []

    watching = markone.watch(net, optimizer, folder=tmp_path / "run")
    assert watching.rounds is not None
    watching.rounds = rounds
    with watching:
        for _ in range(5):
            net(torch.ones(4, 2)).square().mean().backward()
            optimizer.step()
    assert len(told) >= 2
    (only,) = watching.finished.recorded_findings
    assert only["slug"] == "lr-too-high"
    assert only["withdrawn_step"] > 1


@pytest.mark.parametrize(
    ("lr", "slug", "line"),
    [("10.0", "lr-too-high", "optimizer = "), ("1e-4", "lr-too-low", "optimizer = ")],
)
def test_every_finding_names_a_line(lr: str, slug: str, line: str, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT.replace("lr=0.1", f"lr={lr}"), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "markone",
        "watch",
        "--folder",
        str(tmp_path / "run"),
        "--quiet",
        str(script),
        "60",
    ]
    subprocess.run(command, capture_output=True, check=False)
    found = [one for top in markone.diagnose(Run(tmp_path / "run")) for one in (top, *top.folded)]
    assert slug in {one.slug for one in found}
    for one in found:
        file, _, number = str(one.place).rpartition(":")
        text = script.read_text(encoding="utf-8").splitlines()[int(number) - 1]
        assert Path(file).name == "train.py"
        assert one.slug != slug or line in text
