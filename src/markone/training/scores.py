"""Scores: how a script makes decisions of what its net gives, as the lines read that call it."""

import ast
import linecache
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from markone.training.places import place, users_frames

MOST_LOOKS = 40  # calls whose lines are noted; a loop calls its net at one or two
SHAPES = frozenset({"squeeze", "unsqueeze", "view", "reshape", "flatten", "ravel"})
COPIES = frozenset({"cpu", "detach", "float", "double", "to", "clone", "numpy"})
KEEPS_VALUES = SHAPES | COPIES  # methods that change no value
BEYOND = frozenset({"gt", "ge", "greater", "greater_equal"})
HALF = 0.5
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


class Scores:
    """Where nets are called, and which of them give logits: the two together prove a threshold to be that of a probability."""

    def __init__(self) -> None:
        self._calls: dict[str, dict[tuple[str, int], set[str]]] = {}  # by net and line: what the net is called there
        self._looks: dict[str, int] = {}
        self._logits: set[str] = set()
        self._read: set[tuple[str, int]] = set()
        self._wrong: dict[str, tuple[str, str]] = {}

    def called(self, name: str, net: Any) -> None:
        """A net is called: notes the line."""
        looks = self._looks.get(name, 0)
        if looks >= MOST_LOOKS:
            return
        self._looks[name] = looks + 1
        frame = next(users_frames(sys._getframe(1)), None)
        if frame is not None:
            where, known = (frame.f_code.co_filename, frame.f_lineno), self._calls.setdefault(name, {})
            if where not in known:
                known[where] = _names(net, frame)

    def gives_logits(self, name: str) -> None:
        """Its output goes into a binary cross-entropy of logits as it is."""
        self._logits.add(name)

    def wrong(self) -> Iterator[tuple[str, str, str]]:
        """Each net whose logits are compared with 1/2: its name, the place, and the code there."""
        for name in self._logits:
            for where, names in self._calls.get(name, {}).items():
                if where not in self._read and name not in self._wrong:
                    self._read.add(where)
                    found = next(_halved(*where, names), None)
                    if found is not None:
                        self._wrong[name] = (place(where[0], found[0]), found[1])
        yield from ((name, *found) for name, found in self._wrong.items())


def _names(net: Any, frame: FrameType) -> set[str]:
    """What a frame calls a net: a name, or ``self.name``."""
    plain = {name for scope in (frame.f_locals, frame.f_globals) for name, one in list(scope.items()) if one is net}
    own = getattr(frame.f_locals.get("self"), "__dict__", {})
    parts = {**own, **(own.get("_modules") or {})}
    return plain | {f"self.{name}" for name, one in parts.items() if one is net}


def _halved(filename: str, line: int, names: set[str]) -> Iterator[tuple[int, str]]:
    """Comparisons with 1/2, and roundings, of the result of the call at a line: where it is plain, and in the same function."""
    try:
        tree = ast.parse("".join(linecache.getlines(filename)))
    except (SyntaxError, ValueError):
        return
    nodes = list(_within(_scope(tree, line)))

    def is_the_call(value: ast.expr) -> bool:
        return (
            isinstance(value, ast.Call)
            and value.lineno <= line <= (value.end_lineno or 0)
            and ast.unparse(value.func) in names
        )

    held = _held(nodes, is_the_call)
    for node in nodes:
        made = _decided(node)
        value = _bare(made) if made is not None else None
        if value is not None and (is_the_call(value) or (isinstance(value, ast.Name) and value.id in held)):
            yield node.lineno, ast.unparse(node)  # type: ignore[attr-defined]


def _scope(tree: ast.Module, line: int) -> ast.AST:
    """The innermost function around a line, or the whole file."""
    functions = [
        one
        for one in ast.walk(tree)
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one.lineno <= line <= (one.end_lineno or 0)
    ]
    return max(functions, key=lambda one: one.lineno, default=tree)


def _within(scope: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a function but those of functions inside it, where names mean other things."""
    for child in ast.iter_child_nodes(scope):
        if not isinstance(child, FUNCTIONS):
            yield child
            yield from _within(child)


def _held(nodes: list[ast.AST], is_the_call: Callable[[ast.expr], bool]) -> set[str]:
    """Names that hold what the net gives, and nothing else anywhere in the function; nor is it changed in place."""
    given: dict[str, list[ast.expr]] = {}
    stores: Counter[str] = Counter()
    for node in nodes:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            given.setdefault(node.targets[0].id, []).append(node.value)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            stores[node.id] += 1
        elif _changes(node):
            stores[node.value.id] += MOST_LOOKS  # type: ignore[attr-defined]
    held: set[str] = set()

    def is_it(value: ast.expr) -> bool:
        inner = _bare(value)
        return is_the_call(inner) or (isinstance(inner, ast.Name) and inner.id in held)

    while True:
        more = {
            name for name, values in given.items() if stores[name] == len(values) and all(map(is_it, values))
        } - held
        if not more:
            return held
        held |= more


def _changes(node: ast.AST) -> bool:
    """Whether something of a name is written to: by a method in place, or at an index."""
    if isinstance(node, ast.Attribute):
        return node.attr.endswith("_") and isinstance(node.value, ast.Name)
    return isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name)


def _bare(value: ast.expr) -> ast.expr:
    """What an expression takes its values of: below methods and indices that change none."""
    while True:
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr in KEEPS_VALUES:
            value = value.func.value
        elif isinstance(value, ast.Subscript):
            value = value.value
        else:
            return value


def _decided(node: ast.AST) -> ast.expr | None:
    """What is compared with 1/2 or rounded to 0 and 1; None for anything else."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.Gt | ast.GtE):
        return node.left if _is_half(node.comparators[0]) else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if node.func.attr in BEYOND and len(node.args) == 1 and _is_half(node.args[0]):
            return node.func.value
        if node.func.attr == "round" and not node.keywords:
            if isinstance(node.func.value, ast.Name) and node.func.value.id == "torch":
                return node.args[0] if len(node.args) == 1 else None
            return node.func.value if not node.args else None
    return None


def _is_half(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == HALF
