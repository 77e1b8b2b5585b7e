"""Where in the user's code something happens: files and lines, and the names that objects go by there."""

import ast
import functools
import linecache
import os
import re
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

OURS = str(Path(__file__).parents[1])
LIBRARIES = tuple(
    {*(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")), OURS, "<frozen"}
)


@functools.cache
def is_users(filename: str) -> bool:
    """Whether a file is neither the standard library's, nor an installed package's, nor ours."""
    return not filename.startswith(LIBRARIES) and (not filename.startswith("<") or filename.startswith("<ipython"))


def users_frames(frame: FrameType | None = None) -> Iterator[FrameType]:
    """The frames of the user's code on the stack, innermost first."""
    frame = frame or sys._getframe(1)
    while frame is not None:
        if is_users(frame.f_code.co_filename):
            yield frame
        frame = frame.f_back


def users_line() -> str | None:
    """FILE:LINE of the innermost call in the user's code; None where only libraries are on the stack."""
    for frame in users_frames(sys._getframe(1)):
        return place(frame.f_code.co_filename, frame.f_lineno)
    return None


def place(filename: str, line: int) -> str:
    """FILE:LINE, the file as short as it can be named from the working folder."""
    inside = filename.startswith(f"{Path.cwd()}{os.sep}")
    return f"{os.path.relpath(filename) if inside else filename}:{line}"


def users_line_of(node: Any) -> str | None:
    """The line that made a node of the autograd graph; known while anomaly mode was on."""
    traceback = node.metadata.get("traceback_") if node is not None else None
    for entry in reversed(traceback or []):
        found = re.match(r'\s*File "(.*)", line (\d+)', entry)
        if found and is_users(found[1]):
            return place(found[1], int(found[2]))
    return None


def name_of(thing: Any) -> str | None:
    """What the user's code calls an object: a local or global name, or ``self.name``, of the frames on the stack."""
    main = getattr(sys.modules.get("__main__"), "__dict__", {})
    for scope in (*(frame.f_locals for frame in users_frames(sys._getframe(1))), main):
        for name, value in list(scope.items()):
            if value is thing and not name.startswith("_"):
                return str(name)
        inner = getattr(scope.get("self"), "__dict__", {})
        for name, value in list(inner.items()):
            if value is thing:
                return str(name)
    return None


def line_of_binding(thing: Any) -> str | None:
    """FILE:LINE of the last assignment of a call to the name of an object, as the source on the stack reads."""
    for frame in users_frames(sys._getframe(1)):
        names = {name for name, value in frame.f_locals.items() if value is thing}
        if names:
            code = frame.f_code
            lines = [
                line
                for line in _assignments(code.co_filename, frozenset(names))
                if code.co_firstlineno <= line < frame.f_lineno
            ]
            if lines:
                return place(code.co_filename, max(lines))
    return None


def _assignments(filename: str, names: frozenset[str]) -> Iterator[int]:
    try:
        tree = ast.parse("".join(linecache.getlines(filename)))
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id in names for target in _flat(node.targets)
        ):
            yield node.lineno


def _flat(targets: list[ast.expr]) -> Iterator[ast.expr]:
    for target in targets:
        if isinstance(target, ast.Tuple | ast.List):
            yield from _flat(target.elts)
        else:
            yield target
