"""Following: what the callbacks of all frameworks share, a watching that lasts as long as one fit."""

import functools
import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakSet

from markone.errors import InputError

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    from markone.training.watch import Watch

PARTS = ("validation", "valid", "val", "eval")  # how frameworks begin the name of a validation metric


class Following:
    """What every WatchCallback is beside its framework's own callback: ``run`` is the Watch of the present fit, or of the last.

    folder: where the Run goes, by default a new one in runs/; a further fit with the same callback goes to FOLDER-2, and so on.
    every, probes: as of ``markone.watch``.
    """

    def __init__(
        self, folder: Path | str | None = None, every: "int | Literal['auto']" = "auto", *, probes: bool = True
    ) -> None:
        super().__init__()
        self.run: Watch | None = None
        self._folder, self._every, self._probes = folder, every, probes
        self._fits = 0

    def _begin(self, model: "nn.Module", optimizers: "Iterable[Optimizer]") -> None:
        from markone.diagnosis.rounds import watch

        self._end()
        self._fits += 1
        folder = f"{self._folder}-{self._fits}" if self._folder is not None and self._fits > 1 else self._folder
        self.run = watch(model, optimizers, folder=folder, every=self._every, probes=self._probes)
        open_ones.add(self)

    def _evaluated(self, metrics: Mapping[str, Any]) -> None:
        """Records validation metrics; what is no number is left out."""
        if self.run is not None:
            self.run.validation(**{plain(name): float(value) for name, value in metrics.items() if is_number(value)})

    def _end(self, error: BaseException | None = None) -> None:
        """Closes the watching, with what ended the fit if it was not its end."""
        if self in open_ones and self.run is not None:
            open_ones.discard(self)
            self.run.__exit__(type(error) if error is not None else None, error, None)


open_ones: WeakSet[Following] = WeakSet()
"""What has begun and has not ended."""


def hear_exceptions(owner: type, name: str) -> None:
    """Lets a method that fits, and tells callbacks of no exception, end what was begun in it; otherwise it is what it was."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def fit(*arguments: Any, **options: Any) -> Any:
        before = set(open_ones)
        try:
            return original(*arguments, **options)
        except BaseException as error:
            for one in set(open_ones) - before:
                one._end(error)
            raise

    setattr(owner, name, fit)


def plain(name: str) -> str:
    """The name of a metric without the part of the data that it is of.

    >>> plain("val_loss"), plain("eval/accuracy"), plain("value")
    ('loss', 'accuracy', 'value')
    """
    for part in PARTS:
        if name.startswith((f"{part}_", f"{part}/")):
            return name[len(part) + 1 :]
    return name


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) or getattr(value, "numel", lambda: 0)() == 1


def framework(*modules: str, extra: str, name: str) -> Any:
    """The first of these modules that is installed, one that is imported already before all. Raises InputError if there is none."""
    for module in sorted(modules, key=lambda one: one not in sys.modules):
        try:
            return import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise
    raise InputError(
        "extra-missing", f"the callback for {name} needs {name}; install it with: pip install 'markone[{extra}]'."
    )
