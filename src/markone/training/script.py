"""Runs any Python script or module under watch: in this interpreter, as ``__main__``, with its own arguments."""

import importlib.util
import runpy
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from markone.errors import InputError
from markone.training.places import OURS
from markone.training.run import Run
from markone.training.watch import StopWatching, Watch, open_record


@dataclass(frozen=True)
class Outcome:
    """How a watched script ended. code: its exit code. run: its record. stopped: after the number of steps that was asked for."""

    code: int
    run: Run
    stopped: bool = False


def run_script(
    target: str,
    arguments: Sequence[str] = (),
    *,
    module: bool = False,
    folder: Path | None = None,
    steps: int | None = None,
    probes: bool = True,
    looking: Callable[[Watch], None] | None = None,
) -> Outcome:
    """Runs it to its end, or for a number of optimizer steps. Raises InputError if there is no such script or module.

    looking: called with the Watch before the script begins, to show it while it goes on. An exception of the script is printed as Python
    prints it, and gives the code 1.
    """
    name = target.rpartition(".")[2] if module else Path(target).stem
    _require(target, module=module)
    if steps is not None and steps < 1:
        raise InputError(
            "steps-too-few", f"--steps {steps} is not allowed; give a number of optimizer steps from 1 on."
        )
    recorder = open_record(folder, name)
    watch = Watch(folder=None, name=name, door="script", most_steps=steps, probes=probes, recorder=recorder)
    recorder.meta("script", {"target": target, "module": module, "arguments": list(arguments)})
    watch.begin(None)
    if looking is not None:
        looking(watch)
    code, status, usual = 0, "finished", sys.excepthook
    try:
        with _as_main(target, arguments, module=module), watch_exceptions(watch):
            if module:
                runpy.run_module(target, run_name="__main__", alter_sys=True)
            else:
                _run_path(target)
    except StopWatching:
        return _end(watch, recorder.folder, code, status, stopped=True)
    except SystemExit as request:
        code = _exit_code(request)
    except KeyboardInterrupt:
        code, status = 130, "interrupted"
    except BaseException as error:
        _print_exception(error, usual)
        code, status = 1, "failed"
    finally:
        sys.excepthook = usual
    return _end(watch, recorder.folder, code, status)


def _end(watch: Watch, folder: Path, code: int, status: str, *, stopped: bool = False) -> Outcome:
    watch.close(status)
    return Outcome(code, Run(folder), stopped)


@contextmanager
def watch_exceptions(watch: Watch) -> Iterator[None]:
    """Lets the watch see what ends the script, while its frames still hold their values."""
    try:
        yield
    except Exception as error:
        watch.saw_exception(error)
        raise


def _require(target: str, *, module: bool) -> None:
    if module:
        sys.path.insert(0, "")
        try:
            found = importlib.util.find_spec(target) is not None
        except (ImportError, ValueError):
            found = False
        finally:
            sys.path.remove("")
        if not found:
            raise InputError(
                "module-absent", f"there is no module {target!r} to run; write it as python -m would take it."
            )
        return
    path = Path(target)
    if path.is_dir():
        raise InputError("script-absent", f"{target} is a folder; give a Python script, or a module with -m.")
    if not path.is_file():
        near = sorted(str(one) for one in Path().glob("*.py"))
        raise InputError(
            "script-absent",
            f"there is no script {target}.{f' Here are: {chr(44).join(near[:5])}.' if near else ''}"
            " Give a Python script, or a module with -m.",
        )


@contextmanager
def _as_main(target: str, arguments: Sequence[str], *, module: bool) -> Iterator[None]:
    """sys.argv, sys.path and ``__main__`` as Python would set them for the script."""
    kept = (sys.argv, list(sys.path), sys.modules.get("__main__"))
    sys.argv = [target, *arguments]
    sys.path.insert(0, str(Path.cwd() if module else Path(target).resolve().parent))
    try:
        yield
    finally:
        sys.argv = kept[0]
        sys.path[:] = kept[1]
        if kept[2] is not None:
            sys.modules["__main__"] = kept[2]


def _run_path(target: str) -> None:
    """As ``python target``: its names live in ``__main__``, so that what it pickles or spawns finds them there."""
    path = str(Path(target).absolute())
    code = compile(Path(target).read_bytes(), path, "exec", dont_inherit=True)
    main = types.ModuleType("__main__")
    main.__file__ = path
    main.__builtins__ = __builtins__  # type: ignore[attr-defined]
    sys.modules["__main__"] = main
    exec(code, main.__dict__)


def _exit_code(request: SystemExit) -> int:
    if request.code is None or isinstance(request.code, int):
        return request.code or 0
    print(request.code, file=sys.stderr)
    return 1


def _without_head(frames: TracebackType | None) -> TracebackType | None:
    """A traceback from the script's first frame on."""
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith((OURS, "<frozen")):
        frames = frames.tb_next
    return frames


def _print_exception(error: BaseException, usual: Any) -> None:
    """The traceback from the script's first frame on, as if nobody had run it but Python; by the script's own hook if it has set one."""
    import traceback

    if sys.excepthook is not usual:
        sys.excepthook(type(error), error, _without_head(error.__traceback__))
        return
    report = traceback.TracebackException.from_exception(error)
    frames = [
        frame for frame in report.stack if not frame.filename.startswith(OURS) and "<frozen" not in frame.filename
    ]
    report.stack = traceback.StackSummary.from_list(frames)
    print("".join(report.format()), end="", file=sys.stderr)
