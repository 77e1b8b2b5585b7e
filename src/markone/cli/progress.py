"""A progress bar for work that is not training: reading data, predicting. It is drawn on standard error."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from markone.data.progress import Progress as Callback

PATIENCE = 0.5  # seconds: what is done by then needs no bar
PLAIN_EVERY = 2.0  # seconds between lines where no terminal shows a bar


@contextmanager
def progress_bar(*, quiet: bool = False) -> "Iterator[Callback | None]":
    """A ``progress(done, total, what)`` callback that draws while the context lasts; None where nothing is to be shown."""
    from markone.cli.output import open_console

    console = open_console(stderr=True)
    if quiet:
        yield None
    elif not console.is_terminal:
        yield _lines()
    else:
        bar = _Bar(console)
        try:
            yield bar.draw
        finally:
            bar.close()


class _Bar:
    """A rich progress bar that appears when the work has outlasted ``PATIENCE``, and goes away with it."""

    def __init__(self, console: "Console") -> None:
        self._console, self._began = console, time.monotonic()
        self._bar: Progress | None = None

    def draw(self, done: int, total: int, what: str) -> None:
        if self._bar is None:
            if time.monotonic() - self._began < PATIENCE:
                return
            self._bar = self._start()
        self._bar.update(self._bar.task_ids[0], completed=done, total=total, description=what)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _start(self) -> "Progress":
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        percent = TextColumn("{task.percentage:>3.0f} %")
        columns = (TextColumn("{task.description}"), BarColumn(), percent, TimeRemainingColumn())
        bar = Progress(*columns, console=self._console, transient=True)
        bar.add_task("", total=None)
        bar.start()
        return bar


def _lines() -> "Callback":
    """Plain lines, seldom, only for work that takes long."""
    import sys

    said = time.monotonic()

    def say(done: int, total: int, what: str) -> None:
        nonlocal said
        if time.monotonic() - said >= PLAIN_EVERY:
            said = time.monotonic()
            print(f"{what}: {done:,} of {total:,}", file=sys.stderr)

    return say
