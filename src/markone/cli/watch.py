"""``markone watch``: runs any PyTorch script, unchanged, and says what is wrong with its training."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from markone.training.script import Outcome
    from markone.training.watch import Watch

LIVE_SECONDS = 0.2  # between two states of the bottom line


def watch(
    target: Annotated[
        str | None, typer.Argument(metavar="SCRIPT [ARGS]...", help="A Python script and its own arguments.")
    ] = None,
    arguments: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    *,
    module: Annotated[
        str | None, typer.Option("-m", metavar="MODULE", help="A module, as python -m takes it, instead of a script.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", metavar="DIR", help="Where the run goes; a new one in runs/ by default.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", metavar="N", help="Stop after so many optimizer steps.")
    ] = None,
    probes: Annotated[
        bool, typer.Option("--probes/--no-probes", help="Experiments on a copy of the net after the second step.")
    ] = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No live line, and the verdict in one line.")] = False,
) -> None:
    """Runs any PyTorch script and says what is wrong. Options of markone come before the script."""
    from markone.errors import InputError
    from markone.training.script import run_script

    given = list(arguments or ())
    if module is not None:
        given = [target, *given] if target is not None else given
        target = module
    if target is None:
        raise InputError("script-missing", "watch needs a script, or -m and a module: markone watch train.py.")
    from markone.diagnosis.rounds import documents

    with _live_line(quiet=quiet) as line:

        def looking(watch: "Watch") -> None:
            watch.rounds = documents
            if line is not None:
                line(watch)

        outcome = run_script(
            target, given, module=module is not None, folder=folder, steps=steps, probes=probes, looking=looking
        )
    _report(outcome, quiet=quiet)
    raise typer.Exit(outcome.code)


def _report(outcome: "Outcome", *, quiet: bool) -> None:
    """The verdict, on standard error: standard output is the script's."""
    from markone.cli.output import open_console
    from markone.diagnosis.diagnose import diagnose
    from markone.report.watched import watched_line, watched_text

    console = open_console(stderr=True)
    run = outcome.run
    findings = diagnose(run)
    if quiet:
        console.print(watched_line(run, findings), soft_wrap=True)
        return
    console.print(watched_text(run, findings, stopped=outcome.stopped))


@contextmanager
def _live_line(*, quiet: bool) -> "Iterator[Callable[[Watch], None] | None]":
    """A line at the bottom of the terminal, below which nothing scrolls; none where standard error is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from markone.cli.bottom import BottomLine

    with BottomLine(sys.stderr, every=LIVE_SECONDS) as line:
        yield line.follow
