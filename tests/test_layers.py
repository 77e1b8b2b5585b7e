"""Imports go down the layer table only, never sideways into a cycle, and nobody inside imports the facade."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "markone"

LAYERS = (
    ("spec", "errors", "seeds", "device", "version"),
    (
        "data",
        "nets",
        "tasks",
        "losses",
        "metrics",
        "muon",
        "fine_tuning",
        "optimizers",
        "schedules",
        "regularizers",
        "rules",
    ),
    ("recipe",),
    ("training",),
    ("diagnosis",),
    ("search", "see", "pictures", "report", "adapters"),
    ("cli", "studio", "lessons"),
)
RANK = {room: rank for rank, rooms in enumerate(LAYERS) for room in rooms}
FACADE = {"__init__", "__main__"}


def room_of(module: str) -> str:
    return module.split(".")[1]


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield node.lineno, name.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            yield node.lineno, str(node.module)


INSIDE = [(module, path) for module, path in modules() if module not in {"markone", "markone.__main__"}]


@pytest.mark.parametrize(("module", "path"), INSIDE, ids=[module for module, _ in INSIDE])
def test_imports_go_down_only(module: str, path: Path) -> None:
    here = room_of(module)
    assert here in RANK, f"{module} is in no layer: add it to the table"
    for line, target in imports(path):
        if target.split(".")[0] != "markone":
            continue
        assert target != "markone", f"{path}:{line} imports the facade; import the module"
        there = room_of(target)
        assert there == here or RANK[there] <= RANK[here], f"{path}:{line}: {here} must not import {there}"


def test_rooms_form_no_cycle() -> None:
    """Rooms of one layer may use each other, but not in a circle."""
    uses: dict[str, set[str]] = {}
    for module, path in INSIDE:
        here = room_of(module)
        for _, target in imports(path):
            if target.startswith("markone.") and room_of(target) != here:
                uses.setdefault(here, set()).add(room_of(target))

    def reach(room: str, seen: tuple[str, ...]) -> None:
        assert room not in seen, f"a circle: {' -> '.join((*seen, room))}"
        for other in uses.get(room, ()):
            reach(other, (*seen, room))

    for room in uses:
        reach(room, ())
