"""A progress bar for work that is not training: reading data, predicting. It is drawn on standard error."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markone.data.progress import Progress

PATIENCE = 0.5  # seconds: what is done by then needs no bar
PLAIN_EVERY = 2.0  # seconds between lines where no terminal shows a bar


@contextmanager
def progress_bar(*, quiet: bool = False) -> "Iterator[Progress | None]":
    """A ``progress(done, total, what)`` callback that draws while the context lasts; None where nothing is to be shown."""
    from markone.cli.output import open_console

    console = open_console(stderr=True)
    if quiet:
        yield None
    elif not console.is_terminal:
        yield _lines()
    else:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("", total=None, visible=False)
            began = time.monotonic()

            def draw(done: int, total: int, what: str) -> None:
                bar.update(task, completed=done, total=total, description=what, visible=time.monotonic() - began > PATIENCE)

            yield draw


def _lines() -> "Progress":
    """Plain lines, seldom, only for work that takes long."""
    import sys

    said = time.monotonic()

    def say(done: int, total: int, what: str) -> None:
        nonlocal said
        if time.monotonic() - said >= PLAIN_EVERY:
            said = time.monotonic()
            print(f"{what}: {done:,} of {total:,}", file=sys.stderr)

    return say
