"""Draws docs/train-digits.svg: what ``markone train digits`` shows in a terminal, taken from a real run in a pseudo-terminal.

python scripts/capture.py
"""

import io
import os
import pty
import re
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

TARGET = Path(__file__).parents[1] / "docs" / "train-digits.svg"
COLUMNS, ROWS = 100, 40
CONTROL = re.compile(r"\x1b\[(\?25[lh]|\d*[AKGJ])|\r\n|\n|\r")


def run(command: list[str], folder: str) -> str:
    """The bytes that the command writes to a terminal of its own."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        size = {"COLUMNS": str(COLUMNS), "LINES": str(ROWS), "TERM": "xterm-256color"}
        os.execvpe(command[0], command, {**os.environ, **size})
    pieces = []
    try:
        while piece := os.read(terminal, 1 << 16):
            pieces.append(piece)
    except OSError:  # Linux ends a pseudo-terminal with an error
        pass
    os.waitpid(pid, 0)
    return b"".join(pieces).decode(errors="replace")


def last_screen(stream: str) -> list[str]:
    """The lines that stand at the end: a live view goes up and erases, and draws again."""
    lines, at, position = [""], 0, 0
    for control in CONTROL.finditer(stream):
        lines[at] += stream[position : control.start()]
        position = control.end()
        code = control.group()
        if code in ("\r\n", "\n"):
            at += 1
            if at == len(lines):
                lines.append("")
        elif code == "\r":
            continue
        elif code.endswith("A"):
            at = max(0, at - int(code[2:-1] or 1))
        elif code.endswith(("K", "J")):
            lines[at] = ""
    lines[at] += stream[position:]
    return lines


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        lines = last_screen(run([sys.executable, "-m", "markone", "train", "digits"], folder))
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text("$ markone train digits", style="bold"))
    console.print(Text.from_ansi("\n".join(lines).strip("\n")))
    TARGET.write_text(console.export_svg(title="markone"), encoding="utf-8")


if __name__ == "__main__":
    main()
