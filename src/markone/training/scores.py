"""Scores: how a script makes decisions of what its net gives, as the lines read that call it."""

import ast
import linecache
import sys
from collections.abc import Iterator

from markone.training.places import place, users_frames

MOST_LOOKS = 40  # calls whose lines are noted; a loop calls its net at one or two
KEEPS_VALUES = frozenset(
    {
        "squeeze",
        "unsqueeze",
        "view",
        "reshape",
        "flatten",
        "ravel",
        "cpu",
        "detach",
        "float",
        "to",
        "clone",
        "numpy",
        "double",
    }
)
"""Methods that change no value."""
BEYOND = frozenset({"gt", "ge", "greater", "greater_equal"})
HALF = 0.5


class Scores:
    """Where nets are called, and which of them give logits: the two together prove a threshold to be that of a probability."""

    def __init__(self) -> None:
        self._lines: dict[str, dict[tuple[str, int], bool]] = {}  # by net: whether it is still to be read
        self._looks: dict[str, int] = {}
        self._logits: set[str] = set()
        self._wrong: dict[str, tuple[str, str]] = {}

    def called(self, net: str) -> None:
        """A net is called: notes the line."""
        looks = self._looks.get(net, 0)
        if looks >= MOST_LOOKS:
            return
        self._looks[net] = looks + 1
        frame = next(users_frames(sys._getframe(1)), None)
        if frame is not None:
            self._lines.setdefault(net, {}).setdefault((frame.f_code.co_filename, frame.f_lineno), True)

    def gives_logits(self, net: str) -> None:
        """Its output goes into a binary cross-entropy of logits as it is."""
        self._logits.add(net)

    def wrong(self) -> Iterator[tuple[str, str, str]]:
        """Each net whose logits are compared with 1/2: its name, the place, and the code there."""
        for net in self._logits:
            for where, unread in self._lines.get(net, {}).items():
                if unread and net not in self._wrong:
                    self._lines[net][where] = False
                    found = next(_halved(*where), None)
                    if found is not None:
                        self._wrong[net] = (place(where[0], found[0]), found[1])
        yield from ((net, *found) for net, found in self._wrong.items())


def _halved(filename: str, line: int) -> Iterator[tuple[int, str]]:
    """Comparisons with 1/2, and roundings, of the result of the call at a line: where it is plain, and in the same function."""
    try:
        tree = ast.parse("".join(linecache.getlines(filename)))
    except (SyntaxError, ValueError):
        return
    scope = _scope(tree, line)
    held = _named(scope, line)
    for node in ast.walk(scope):
        made = _decided(node)
        if made is None:
            continue
        value = _bare(made)
        direct = isinstance(value, ast.Call) and value.lineno <= line <= (value.end_lineno or 0) and _is_a_net(value)
        if direct or (isinstance(value, ast.Name) and value.id in held):
            yield node.lineno, ast.unparse(node)  # type: ignore[attr-defined]


def _scope(tree: ast.Module, line: int) -> ast.AST:
    """The innermost function around a line, or the whole file."""
    functions = [
        one
        for one in ast.walk(tree)
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one.lineno <= line <= (one.end_lineno or 0)
    ]
    return max(functions, key=lambda one: one.lineno, default=tree)


def _named(scope: ast.AST, line: int) -> set[str]:
    """Names that hold what the net gives, and nothing else anywhere in the function."""
    values: dict[str, list[ast.expr | None]] = {}
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            values.setdefault(node.targets[0].id, []).append(node.value)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            values.setdefault(node.id, []).append(None)
    # each plain assignment is met twice: as itself, and as its target
    plain = {name: [one for one in given if one is not None] for name, given in values.items() if
             2 * sum(one is not None for one in given) == len(given)}  # fmt: skip
    held: set[str] = set()
    while True:
        more = {name for name, given in plain.items() if all(_is_of(one, line, held) for one in given)} - held
        if not more:
            return held
        held |= more


def _is_of(value: ast.expr, line: int, held: set[str]) -> bool:
    inner = _bare(value)
    if isinstance(inner, ast.Name):
        return inner.id in held
    return isinstance(inner, ast.Call) and inner.lineno <= line <= (inner.end_lineno or 0) and _is_a_net(inner)


def _is_a_net(call: ast.Call) -> bool:
    """Whether a call on the line of the net's can be that of the net itself, and not of a function around it."""
    return not any(isinstance(one, ast.Call) for given in call.args for one in ast.walk(given) if _may_be_the_net(one))


def _may_be_the_net(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and not (isinstance(node.func, ast.Attribute) and node.func.attr in KEEPS_VALUES)


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
