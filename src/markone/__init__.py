"""markone trains neural networks for vision, and every training explains itself.

The public names load on first use: ``import markone`` costs a few milliseconds, torch comes with the first training.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from markone.version import VERSION

if TYPE_CHECKING:
    from markone.diagnosis.diagnose import diagnose
    from markone.diagnosis.finding import Finding, Severity
    from markone.diagnosis.rounds import watch
    from markone.errors import DataError, InputError, MarkoneError, RunError, SpecError, TrainingError
    from markone.recipe import Recipe
    from markone.training.choose import choose_recipe
    from markone.training.evaluate import Predictor, open_test
    from markone.training.loop import Training, fit
    from markone.training.run import Run, find_run
    from markone.training.watch import Watch

__version__ = VERSION

HOMES = {
    "DataError": "markone.errors",
    "Finding": "markone.diagnosis.finding",
    "InputError": "markone.errors",
    "MarkoneError": "markone.errors",
    "Predictor": "markone.training.evaluate",
    "Recipe": "markone.recipe",
    "Run": "markone.training.run",
    "RunError": "markone.errors",
    "Severity": "markone.diagnosis.finding",
    "SpecError": "markone.errors",
    "Training": "markone.training.loop",
    "TrainingError": "markone.errors",
    "Watch": "markone.training.watch",
    "choose_recipe": "markone.training.choose",
    "diagnose": "markone.diagnosis.diagnose",
    "find_run": "markone.training.run",
    "fit": "markone.training.loop",
    "open_test": "markone.training.evaluate",
    "watch": "markone.diagnosis.rounds",
}

__all__ = [
    "DataError",
    "Finding",
    "InputError",
    "MarkoneError",
    "Predictor",
    "Recipe",
    "Run",
    "RunError",
    "Severity",
    "SpecError",
    "Training",
    "TrainingError",
    "Watch",
    "__version__",
    "choose_recipe",
    "diagnose",
    "find_run",
    "fit",
    "open_test",
    "watch",
]


def __getattr__(name: str) -> Any:
    """The public name, from its home. Raises AttributeError for any other."""
    if name not in HOMES:
        raise AttributeError(f"module 'markone' has no attribute {name!r}")
    value = getattr(import_module(HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
