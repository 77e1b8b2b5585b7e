"""A line at the bottom of the terminal while something else writes above it: the terminal scrolls all rows but the last."""

import os
import shutil
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from markone.training.watch import Watch

SAVE, RESTORE, CLEAR, DIM, PLAIN = "\x1b7", "\x1b8", "\x1b[2K", "\x1b[2m", "\x1b[0m"


class BottomLine:
    """Reserves the last row. It is written in one piece, and the cursor goes back to where the script had it."""

    def __init__(self, stream: TextIO, *, every: float) -> None:
        self._stream, self._every = stream, every
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._rows = 0
        self._began = time.monotonic()

    def __enter__(self) -> "BottomLine":
        return self

    def __exit__(self, *_: "type[BaseException] | BaseException | TracebackType | None") -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._write(f"{SAVE}\x1b[r\x1b[{self._rows};1H{CLEAR}{RESTORE}")

    def follow(self, watch: "Watch") -> None:
        """Draws the state of a watch from now on, on a thread that only reads."""
        self._thread = threading.Thread(target=self._draw, args=(watch,), daemon=True)
        self._thread.start()

    def _draw(self, watch: "Watch") -> None:
        while not self._over.wait(self._every):
            columns, rows = shutil.get_terminal_size()
            if rows != self._rows:
                self._rows = rows
                self._write(f"\n{SAVE}\x1b[1;{rows - 1}r{RESTORE}\x1b[1A")
            text = self._state(watch)[: columns - 1]
            self._write(f"{SAVE}\x1b[{rows};1H{CLEAR}{DIM}{text}{PLAIN}{RESTORE}")

    def _state(self, watch: "Watch") -> str:
        witness = watch.witness
        seconds = time.monotonic() - self._began
        if witness is None:
            return f"markone: {seconds:.0f} s" + (", no longer watching" if watch.failure else "")
        loss = f", loss {witness.last_loss:.4g}" if witness.last_loss is not None else ""
        bugs = sorted({one.kind for one in witness.sightings.hits()})
        found = f"; seen: {', '.join(bugs)}" if bugs else ""
        return f"markone: step {witness.step:,}{loss}, {seconds:.0f} s{found}"

    def _write(self, text: str) -> None:
        os.write(self._stream.fileno(), text.encode())
