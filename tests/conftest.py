"""What many tests share: small recipes, a private cache, and the real data if it is there."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")


@pytest.fixture(autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or leaves anything in the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("MARKONE_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets; the test is skipped where it is not given."""
    folder = os.environ.get("MARKONE_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("MARKONE_DATA names no folder with real data sets")
    return Path(folder)


@pytest.fixture
def small_recipe() -> Callable[..., Any]:
    """A recipe that trains in well under a second: ``small_recipe({"epochs": 3})``."""
    from markone.recipe import Recipe

    def make(edits: dict[str, Any] | None = None) -> Recipe:
        recipe = Recipe.from_dict(
            {
                "data": {"kind": "moons", "samples": 400},
                "net": {"kind": "mlp", "width": 16, "depth": 2},
                "optimizer": {"kind": "adamw", "lr": 0.01},
                "batch_size": 32,
                "epochs": 4,
                "precision": "float32",
            }
        )
        return recipe.edit_all(edits or {})

    return make
