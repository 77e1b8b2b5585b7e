"""Watching disturbs nothing: trainings end bit for bit alike, nothing of it stays, and its own failures end nothing but itself."""

import contextlib
import copy
import gc
import io
import json
import os
import pickle
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules import module as of_all
from torch.nn.utils import clip_grad
from torch.optim import lr_scheduler
from torch.optim import optimizer as of_optimizers
from torch.utils.data import DataLoader, dataloader

from markone.training import watch as watch_module
from markone.training.record import Recorder
from markone.training.run import Run
from markone.training.script import run_script
from markone.training.watch import Watch, watch
from markone.training.witness import Witness
from tests.trainings.small import COMPILED, TRAININGS, Ending, same, short

SCRIPTS = Path(__file__).parent / "trainings"
EVERY = TRAININGS | COMPILED | {"short": short}
UNWATCHED: dict[str, tuple[Ending, str]] = {}
OF_A_NET = [name for name in vars(nn.Module()) if name.endswith(("_hooks", "_with_kwargs", "_always_called"))]
OF_ALL = [name for name in vars(of_all) if name.startswith("_global") and name.endswith(("_hooks", "_always_called"))]

pytestmark = pytest.mark.filterwarnings(
    "ignore:The PyTorch API of nested tensors", "ignore:Anomaly Detection has been enabled"
)


def attached() -> dict[str, Any]:
    """All that a watch may replace or hang something on, as it stands."""
    scaler = vars(torch.amp.grad_scaler.GradScaler)
    schedules = {name: vars(kind).get("step") for name, kind in vars(lr_scheduler).items() if isinstance(kind, type)}
    return {
        "backward": torch.autograd.backward,
        "clip": clip_grad._clip_grads_with_norm_,
        **{name: scaler[name] for name in ("scale", "unscale_", "step")},
        "epoch": vars(DataLoader)["__iter__"],
        "optimizer": vars(torch.optim.Optimizer)["__init__"],
        "compile": torch.compile,
        "load": torch.load,
        "save": torch.save,
        "state of a net": vars(nn.Module)["load_state_dict"],
        "state of an optimizer": vars(torch.optim.Optimizer)["load_state_dict"],
        "states of schedules": [
            vars(kind).get("load_state_dict") for kind in vars(lr_scheduler).values() if isinstance(kind, type)
        ],
        "fetch": vars(dataloader._BaseDataLoaderIter)["__next__"],
        **schedules,
        "before steps": list(of_optimizers._global_optimizer_pre_hooks.values()),
        "after steps": list(of_optimizers._global_optimizer_post_hooks.values()),
        **{name: list(getattr(of_all, name)) for name in OF_ALL},
        "anomaly": (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        "argv": list(sys.argv),
        "main": sys.modules["__main__"],
        "excepthook": sys.excepthook,
    }


def hooks_of(thing: Any) -> list[Any]:
    """Every hook of a net or of an optimizer."""
    if isinstance(thing, nn.Module):
        return [
            (name, list(vars(one)[name].items())) for one in thing.modules() for name in OF_A_NET if name in vars(one)
        ]
    return [list(thing._optimizer_step_pre_hooks.values()), list(thing._optimizer_step_post_hooks.values())]


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    before = attached()
    yield
    after = attached()
    assert {name: value for name, value in after.items() if value != before[name]} == {}


def unwatched(name: str) -> tuple[Ending, str]:
    if name not in UNWATCHED:
        UNWATCHED[name] = heard(EVERY[name], lambda _nets, _optimizers: contextlib.nullcontext())
    return UNWATCHED[name]


def heard(training: Callable[..., Ending], watching: Callable[..., Any]) -> tuple[Ending, str]:
    """What a training ends with, and what it printed."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        return training(watching), said.getvalue()


def watched(name: str, folder: Path, *, every: Any = "auto") -> tuple[Watch, Ending, str]:
    """The same with the API door around it; nothing hangs on its nets and optimizers afterwards that did not before."""
    begun: list[Watch] = []
    things: list[Any] = []
    before: list[Any] = []

    def watching(nets: Any, optimizers: Any) -> Watch:
        things.extend([nets] if isinstance(nets, nn.Module) else nets)
        things.extend([optimizers] if isinstance(optimizers, torch.optim.Optimizer) else optimizers)
        before.extend(map(hooks_of, things))
        begun.append(watch(nets, optimizers, folder=folder, every=every))
        assert begun[0].witness is None or [*map(hooks_of, things)] != before
        return begun[0]

    result, said = heard(EVERY[name], watching)
    assert [*map(hooks_of, things)] == before
    return begun[0], result, said


def assert_alike(name: str, result: Ending, said: str) -> None:
    wanted, wanted_said = unwatched(name)
    assert [key for key in wanted if not same(wanted[key], result[key])] == []
    assert said == wanted_said


def assert_seen(run: Run, name: str, losses: int) -> None:
    """Losses and vitals are in the record, where anything can be seen."""
    assert run.status in ("finished", "non-finite")
    assert len(run.scalars("loss", "batch")) >= losses
    opaque = name in ("raw_tensors", "bare_encoder", *COMPILED)
    assert opaque or any(len(series) >= 3 for series in run.vitals("activation_std").values())
    assert opaque or any(len(series) >= 3 for series in run.vitals("gradient_norm").values())


@pytest.mark.parametrize("every", ["auto", 1])
@pytest.mark.parametrize("name", TRAININGS)
def test_a_block_changes_no_bit(name: str, every: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watching, result, said = watched(name, tmp_path / "run", every=every)
    assert_alike(name, result, said)
    assert watching.failure is None
    assert capsys.readouterr().err == ""
    assert_seen(watching.finished, name, 5)


@pytest.mark.parametrize("name", TRAININGS)
def test_a_watched_script_changes_no_bit(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "ending"
    outcome = run_script(str(SCRIPTS / "train.py"), [name, str(file)], folder=tmp_path / "run")
    out, err = capsys.readouterr()
    assert (outcome.code, err) == (0, "")
    assert out.endswith(f"done {name}\n")
    assert_alike(name, pickle.loads(file.read_bytes()), out.removesuffix(f"done {name}\n"))
    assert_seen(outcome.run, name, 5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # inductor's own
@pytest.mark.parametrize("name", COMPILED)
def test_compiled_nets_stay_as_they_are_compiled(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watching, result, said = watched(name, tmp_path / "block")
    assert_alike(name, result, said)
    assert_seen(watching.finished, name, 0 if name == "compiled_step" else 5)  # a compiled step is not heard
    outcome = run_script(str(SCRIPTS / "train.py"), [name, str(tmp_path / "ending")], folder=tmp_path / "run")
    out, err = capsys.readouterr()
    assert (outcome.code, err) == (0, "")
    assert_alike(name, pickle.loads((tmp_path / "ending").read_bytes()), out.removesuffix(f"done {name}\n"))


@pytest.mark.slow
def test_two_processes_train_as_without(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPTS / "spread.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "markone:" not in done.stderr
    for rank in (0, 1):
        found = json.loads((tmp_path / f"rank{rank}.json").read_text())
        assert len(found) == 4
        assert not any(found.values()), found
    for name in found:  # one record for both processes
        assert_seen(Run(tmp_path / name), name, 16)


@pytest.mark.slow
def test_the_command_prints_what_the_script_prints(tmp_path: Path) -> None:
    def run(*command: str) -> tuple[Ending, bytes]:
        file = tmp_path / "ending"
        done = subprocess.run(
            [*command, str(SCRIPTS / "train.py"), "cnn", str(file)], capture_output=True, check=True, cwd=tmp_path
        )
        return pickle.loads(file.read_bytes()), done.stdout

    wanted, said = run(sys.executable)
    result, watched_said = run(sys.executable, "-m", "markone", "watch", "-q")
    assert watched_said == said
    assert [key for key in wanted if not same(wanted[key], result[key])] == []


# --- a failure inside ------------------------------------------------------------------------------------------------------------------


METHODS = (
    "_enter",
    "before_backward",
    "after_backward",
    "before_step",
    "after_step",
    "clipped",
    "scheduled",
    "meet_optimizer",
)


@pytest.mark.parametrize("at", [1, 3])
@pytest.mark.parametrize("method", METHODS)
def test_a_crash_inside_ends_the_watching_and_nothing_else(
    method: str, at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls, original = [0], getattr(Witness, method)

    def broken(*arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == at:
            raise KeyError("a bug\nof ours")
        return original(*arguments, **options)

    monkeypatch.setattr(Witness, method, broken)
    watching, result, said = watched("short", tmp_path / "run")
    assert_alike("short", result, said)
    if calls[0] >= at:
        assert_one_line(capsys, watching)
        assert watching.finished.status == "unobserved"
    else:
        assert method == "meet_optimizer"


def assert_one_line(capsys: pytest.CaptureFixture[str], watching: Watch) -> None:
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("markone: ")
    assert watching.failure is not None


@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_a_crash_in_concluding_is_one_line(
    seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_witness: Witness) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(watch_module, "conclude", broken)
    monkeypatch.setattr(watch_module, "CONCLUDE_SECONDS", seconds)  # at every step, or at the end
    watching, result, said = watched("short", tmp_path / "run")
    assert_alike("short", result, said)
    assert_one_line(capsys, watching)
    assert watching.finished.status == "unobserved"


@pytest.mark.parametrize("method", ["flush", "scalars", "vitals", "fact", "event", "close"])
def test_a_full_disk_is_one_line(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Recorder, method, full)
    monkeypatch.setattr(Recorder, "flush_is_due", True)
    watching, result, said = watched("short", tmp_path / "run")
    assert_alike("short", result, said)
    if watching.failure is None:
        assert method == "scalars"  # not every record takes this way
    else:
        assert_one_line(capsys, watching)
    gc.collect()  # an unclosed record would warn


def test_a_record_that_disappears_is_one_line_at_most(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with watch(net, optimizer, folder=tmp_path / "run"):
        for number in range(20):
            if number == 8:
                for file in (tmp_path / "run").iterdir():
                    file.unlink()
                (tmp_path / "run").rmdir()
            net(torch.ones(2, 3)).sum().backward()
            optimizer.step()
    assert len(capsys.readouterr().err.splitlines()) <= 1


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    watching, result, said = watched("short", tmp_path / "file" / "run")
    assert_alike("short", result, said)
    assert_one_line(capsys, watching)


@pytest.mark.parametrize("given", [(None, None), ("net", "optimizer"), (nn.Linear(1, 1), 3)])
def test_what_cannot_be_watched_is_one_line(given: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with watch(*given, folder=tmp_path / "run") as watching:
        pass
    assert_one_line(capsys, watching)


def test_a_warning_that_cannot_be_printed_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", closed)
        with watch(None, None, folder=tmp_path / "run") as watching:  # type: ignore[arg-type]
            pass
    assert watching.failure is not None


# --- exceptions, and what is left of a watch -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("where", ["forward", "between", "after"])
def test_nothing_stays_after_an_exception(error: type[BaseException], where: str, tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(net.parameters(), 0.1)

    def stop(*_: Any) -> None:
        raise error("stop")

    def train() -> None:
        loss = net(torch.ones(2, 3)).sum()
        if where == "between":
            stop()
        loss.backward()
        optimizer.step()
        stop()

    if where == "forward":
        net[2].register_forward_pre_hook(stop)
    before = (hooks_of(net), hooks_of(optimizer))
    watching = watch(net, optimizer, folder=tmp_path / "run")
    with pytest.raises(error), watching:
        train()
    assert (hooks_of(net), hooks_of(optimizer)) == before
    ends = {KeyboardInterrupt: "interrupted", ValueError: "failed"}
    assert watching.finished.status == ends.get(error, "finished")


LOOP = """
import torch, keep
net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))
optimizer = torch.optim.Adam(net.parameters())
keep.things = [net, optimizer]
for step in range(30):
    loss = net(torch.ones(8, 3)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step)
    if step == 14:
        END
    out = net(torch.ones(8, 3))
"""


@pytest.mark.parametrize(
    ("end", "code", "status"),
    [
        ("pass", 0, "finished"),
        ("raise ValueError('so')", 1, "failed"),
        ("raise KeyboardInterrupt", 130, "interrupted"),
        ("raise SystemExit(4)", 4, "finished"),
        ("net(torch.ones(8, 7))", 1, "failed"),
    ],
)
def test_nothing_stays_after_a_script(
    end: str, code: int, status: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome, things = run_loop(end, tmp_path, steps=None)
    assert (outcome.code, outcome.run.status, outcome.stopped) == (code, status, False)
    assert capsys.readouterr().out == "".join(f"{step}\n" for step in range(30 if end == "pass" else 15))
    assert all(
        not any(map(list, vars(one)[name])) for one in things[0].modules() for name in OF_A_NET if name in vars(one)
    )
    assert hooks_of(things[1]) == [[], []]


@pytest.mark.parametrize("steps", [1, 6])
def test_nothing_stays_after_some_steps(steps: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome, things = run_loop("pass", tmp_path, steps=steps)
    assert (outcome.code, outcome.stopped, outcome.run.status) == (0, True, "finished")
    assert capsys.readouterr().out == "".join(f"{step}\n" for step in range(steps - 1))
    assert len(outcome.run.scalars("loss", "batch")) == steps
    assert all(not vars(one)[name] for one in things[0].modules() for name in OF_A_NET if name in vars(one))


def run_loop(end: str, folder: Path, *, steps: int | None) -> Any:
    (folder / "keep.py").write_text("things = []\n")
    (folder / "loop.py").write_text(LOOP.replace("END", end))
    try:
        outcome = run_script(str(folder / "loop.py"), folder=folder / "run", steps=steps)
        return outcome, sys.modules["keep"].things
    finally:
        sys.modules.pop("keep", None)


@pytest.mark.parametrize("first", [0, 1])
def test_two_watches_at_once(first: int, tmp_path: Path) -> None:
    """Each sees its own net only, and whichever ends first, nothing stays."""
    nets = [nn.Linear(3, 1), nn.Linear(3, 1)]
    optimizers = [torch.optim.SGD(net.parameters(), 0.1) for net in nets]
    watches = [
        watch(net, one, folder=tmp_path / str(number))
        for number, (net, one) in enumerate(zip(nets, optimizers, strict=True))
    ]

    def train(number: int, steps: int) -> None:
        for _ in range(steps):
            optimizers[number].zero_grad()
            nets[number](torch.ones(4, 3)).square().mean().backward()
            optimizers[number].step()

    train(0, 5)
    train(1, 5)
    watches[first].close()
    train(1 - first, 4)
    watches[1 - first].close()
    assert [one.failure for one in watches] == [None, None]
    steps = [len(one.finished.scalars("loss", "batch")) for one in watches]
    assert steps[first] == 5
    assert steps[1 - first] == 9


def test_two_watches_after_one_another(tmp_path: Path) -> None:
    for number in range(2):
        watching, result, said = watched("mlp", tmp_path / str(number))
        assert_alike("mlp", result, said)
        assert_seen(watching.finished, "mlp", 30)


# --- copies ----------------------------------------------------------------------------------------------------------------------------


def test_copies_are_deaf(tmp_path: Path) -> None:
    """Nets, optimizers and outputs are copied and saved in the midst of a step that is looked at."""
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    optimizer = torch.optim.Adam(net.parameters())
    with watch(net, optimizer, folder=tmp_path / "run", every=1) as watching:
        assert watching.witness is not None
        for _ in range(4):
            optimizer.zero_grad()
            out = net(torch.ones(2, 3))
            copied, twin = copy.deepcopy((net, optimizer))
            shallow = copy.copy(net)
            file = io.BytesIO()
            torch.save({"net": net, "optimizer": optimizer, "out": out}, file)
            assert b"markone" not in file.getvalue()
            loaded = torch.load(io.BytesIO(file.getvalue()), weights_only=False)["net"]
            before = (watching.witness.window.backwards, [entry.forwards for entry in watching.witness.entries])
            for other in (copied, loaded):
                assert torch.equal(other(torch.ones(2, 3)), out)
            assert (watching.witness.window.backwards, [entry.forwards for entry in watching.witness.entries]) == before
            copied(torch.ones(2, 3)).sum().backward(inputs=list(copied.parameters()))
            twin.step()
            assert shallow[0] is net[0]
            out.sum().backward()
            optimizer.step()
        assert len({id(one.optimizer) for one in watching.witness.descents}) == 1
        assert watching.witness.step == 4
    assert watching.failure is None


def test_a_forked_process_writes_nothing_into_the_record(tmp_path: Path) -> None:
    net = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)

    def step() -> None:
        optimizer.zero_grad()
        net(torch.ones(4, 3)).square().mean().backward()
        optimizer.step()

    with watch(net, optimizer, folder=tmp_path / "run") as watching:
        step()
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                step()
                watching.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        step()
    assert len(watching.finished.scalars("loss", "batch")) == 2
    assert watching.finished.status == "finished"


# --- scripts ---------------------------------------------------------------------------------------------------------------------------


ORDINARY = {
    "exit": "import sys\nprint('a')\nsys.exit(3)",
    "exit-text": "import sys\nprint('a', flush=True)\nsys.exit('no data')",
    "exit-none": "raise SystemExit",
    "exit-true": "raise SystemExit(True)",
    "exit-negative": "raise SystemExit(-1)",
    "error": "def inner(x):\n    return 1 / x\n\ndef outer():\n    inner(0)\n\nouter()",
    "chained": "try:\n    {}['a']\nexcept KeyError as error:\n    raise ValueError('b') from error",
    "syntax": "print('a'\nfor",
    "own-hook": "import sys\nsys.excepthook = lambda kind, error, frames: print('mine', kind.__name__, error)\nraise ValueError('x')",
    "main": "if __name__ == '__main__':\n    import sys\n    print(sys.argv[1:], __file__, __doc__, __spec__, sys.path[0])",
    "doc": "'''What it is.'''\nx: int = 3\nprint(__doc__, __annotations__, sorted(k for k in globals() if k[0] != '_'))",
    "neighbour": "import neighbour\nfrom neighbour import value\nprint(value, neighbour.__name__)",
    "folder": "import os\nfrom pathlib import Path\nprint(os.getcwd(), Path(__file__).parent.name)\nos.chdir('..')\n"
    "print(Path(__file__).exists())\nos.chdir(os.path.dirname(__file__))",
    "pickle": "import pickle\nclass A:\n    pass\nprint(type(pickle.loads(pickle.dumps(A()))) is A, A.__module__, len(pickle.dumps(A())))",
    "cells": "#!/usr/bin/env python\n# coding: utf-8\n\n# In[1]:\n\n\nx = 3\n\n# In[2]:\n\nprint(x + 1)\n",
    "future": "print(f.__annotations__ if (f := (lambda: 0)) else 0)\ndef g(x: int) -> int: ...\nprint(g.__annotations__)",
    "frame": "import sys, inspect\nimport __main__\nprint(inspect.getsource(sys._getframe())[:10], __main__.inspect is inspect)",
    "assertion": "x = 3\nassert x == 4, 'four'",
}  # fmt: skip


FAILING = ("error", "chained", "syntax", "own-hook", "assertion")


@pytest.mark.parametrize("name", ORDINARY)
def test_a_script_runs_as_python_runs_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Exit code, standard output and standard error, to the byte."""
    place = tmp_path / "place"
    place.mkdir()
    (place / "script.py").write_text(ORDINARY[name])
    (place / "neighbour.py").write_text("value = 5\n")
    monkeypatch.chdir(place)
    given = ["script.py", "--lr", "0.1", "--folder=x"]
    done = subprocess.run([sys.executable, *given], capture_output=True, text=True, check=False)
    path = list(sys.path)
    try:
        outcome = run_script(given[0], given[1:], folder=tmp_path / "run")
    finally:
        sys.modules.pop("neighbour", None)
    out, err = capfd.readouterr()
    assert (outcome.code & 255, out, err) == (done.returncode, done.stdout, done.stderr)
    assert sys.path == path
    assert outcome.run.status == ("failed" if name in FAILING else "finished")


def test_a_module_runs_as_python_runs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "place" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "beside.py").write_text("value = 7\n")
    (package / "module.py").write_text(
        "import os, sys, pickle\nfrom .beside import value\nclass A: pass\n"
        "print(value, __name__, __package__, __spec__.name, sys.argv, sys.path[0], os.getcwd(), A.__module__)\n"
        "print(type(pickle.loads(pickle.dumps(A()))) is A)\nsys.exit(9)\n"
    )
    monkeypatch.chdir(package.parent)
    done = subprocess.run(
        [sys.executable, "-m", "package.module", "a", "-b"], capture_output=True, text=True, check=False
    )
    try:
        outcome = run_script("package.module", ["a", "-b"], module=True, folder=tmp_path / "run")
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "package"]:
            del sys.modules[name]
    out, err = capfd.readouterr()
    assert (outcome.code, out, err) == (done.returncode, done.stdout, done.stderr)
