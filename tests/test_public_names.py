"""The public names are one list, and it is what ``markone`` exports."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import markone

ROOT = Path(__file__).parents[1]


def test_the_list_is_sorted_and_complete() -> None:
    assert sorted(markone.HOMES) == sorted(name for name in markone.__all__ if name != "__version__")
    assert list(markone.__all__) == sorted(markone.__all__)


@pytest.mark.parametrize("name", markone.__all__)
def test_every_public_name_is_there(name: str) -> None:
    value = getattr(markone, name)
    assert name in dir(markone)
    if name != "__version__":
        assert value.__module__ == markone.HOMES[name], "HOMES names the module that defines it"


def test_every_error_is_public() -> None:
    from markone import errors

    tree = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert tree <= set(markone.__all__)


def test_type_checkers_see_the_same_names() -> None:
    """What stands under TYPE_CHECKING is the list."""
    import ast

    tree = ast.parse((ROOT / "src" / "markone" / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    homes = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert homes == markone.HOMES


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Reciep'"):
        markone.Reciep  # noqa: B018


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == markone.__version__


def test_importing_markone_brings_nothing_heavy() -> None:
    code = (
        "import sys, markone; print(*{'torch', 'numpy', 'pydantic', 'rich', 'sklearn', 'polars'} & sys.modules.keys())"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == ""
