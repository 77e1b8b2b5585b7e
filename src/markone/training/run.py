"""Run: the record of one training, read from its folder. Reading never changes it."""

import json
import sqlite3
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from markone.errors import RunError, did_you_mean
from markone.training.record import finite, is_alive

if TYPE_CHECKING:
    from markone.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Series:
    """One recorded number over the training: optimizer steps completed when it was taken, epochs completed, values."""

    steps: NDArray[np.int64]
    epochs: NDArray[np.float64]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.values)

    def __bool__(self) -> bool:
        return len(self.values) > 0

    @property
    def last(self) -> float:
        return float(self.values[-1])


@dataclass(frozen=True)
class Layer:
    """One module of the net that has vitals.

    role: "weights" (linear, convolution), "activation" or "normalization"; ``order`` is its place in the forward pass.
    """

    name: str
    kind: str
    role: str
    order: int
    parameters: int


@dataclass(frozen=True)
class Event:
    """Something that happened once: started, resumed, checkpoint, non-finite, interrupted, finished."""

    time: float
    step: int
    kind: str
    value: dict[str, Any]


class Run:
    """A run folder. Everything is read at first use and then kept; open the folder again to see what came later.

    Raises RunError if the folder is no run.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        if not (self.folder / "record.db").is_file():
            raise RunError(
                "run-absent", f"{self.folder} is no run folder: it has no record.db.{_near_run(self.folder)}"
            )

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @property
    def id(self) -> str:
        return self.folder.resolve().name

    @cached_property
    def recipe(self) -> "Recipe | None":
        """The recipe, or None for a training that was only watched."""
        from markone.recipe import Recipe

        path = self.folder / "recipe.toml"
        return Recipe.load(path) if path.exists() else None

    @cached_property
    def environment(self) -> dict[str, Any]:
        path = self.folder / "environment.json"
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}

    @cached_property
    def meta(self) -> dict[str, Any]:
        """Status, process, and what prediction needs of the data (``meta["data"]``)."""
        return {key: json.loads(value) for key, value in self._query("select key, value from meta")}

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What was established once: ``layers``, ``input``, ``blind_guess``, ``samples`` and more."""
        return {name: json.loads(value) for name, value in self._query("select name, value from facts")}

    @property
    def data_digest(self) -> str | None:
        """The digest of the data that was trained on; None where the run ended before it was known."""
        digest = self.meta.get("data", {}).get("digest")
        return str(digest) if digest else None

    @property
    def status(self) -> str:
        """running, finished, interrupted, non-finite or killed."""
        status = str(self.meta.get("status", "running"))
        owner = self.meta.get("process")
        return "killed" if status == "running" and owner and not is_alive(owner) else status

    @cached_property
    def layers(self) -> list[Layer]:
        """The layers with vitals, in forward order."""
        return [Layer(**layer) for layer in self.facts.get("layers", [])]

    def scalars(self, name: str, part: str) -> Series:
        """A recorded number: part "batch" (every step), "training" or "validation" (every epoch), "net" (complexity, and the
        cumulative ``mistakes`` of a rule that counts them)."""
        return self._scalars.get((part, name), _empty())

    def vitals(self, name: str) -> dict[str, Series]:
        """One vital by layer, in forward order: ``run.vitals("gradient_norm")["head"].values``."""
        order = {layer.name: layer.order for layer in self.layers}
        found = {layer: series for (vital, layer), series in self._vitals.items() if vital == name}
        return dict(sorted(found.items(), key=lambda item: order.get(item[0], -1)))

    @cached_property
    def events(self) -> list[Event]:
        rows = self._query("select time, step, kind, value from events order by rowid")
        return [Event(time, step, kind, json.loads(value)) for time, step, kind, value in rows]

    @cached_property
    def recorded_findings(self) -> list[dict[str, Any]]:
        """The findings that were shown while it trained, withdrawn ones included (``withdrawn_step``)."""
        rows = self._query("select value, withdrawn_step from findings order by since_step")
        return [{**json.loads(value), "withdrawn_step": withdrawn} for value, withdrawn in rows]

    @property
    def steps(self) -> int:
        """Completed optimizer steps."""
        losses = self.scalars("loss", "batch")
        return int(losses.steps[-1]) if losses else 0

    @property
    def epochs(self) -> float:
        losses = self.scalars("loss", "batch")
        return float(losses.epochs[-1]) if losses else 0.0

    @property
    def seconds(self) -> float:
        """Training time, all sittings together."""
        series = self.scalars("seconds", "net")
        return series.last if series else 0.0

    @cached_property
    def best_step(self) -> int | None:
        """The step after which the kept weights were taken."""
        best = [event.step for event in self.events if event.kind == "best"]
        series = self.scalars("best_step", "net")
        return int(series.last) if series else (best[-1] if best else None)

    def metrics(self) -> dict[str, dict[str, float]]:
        """By part, the metrics of the kept weights (of the last ones where none were kept)."""
        found: dict[str, dict[str, float]] = {}
        for (part, name), series in self._scalars.items():
            if part in ("training", "validation"):
                found.setdefault(part, {})[name] = self._at_best(series)
        return found

    def _at_best(self, series: Series) -> float:
        if self.best_step is not None and (hits := np.flatnonzero(series.steps == self.best_step)).size:
            return float(series.values[hits[-1]])
        return series.last

    def complexity(self) -> dict[str, float]:
        """l0, l1, l2 and the number of parameters of the kept weights."""
        names = ("parameters", "l0", "l1", "l2")
        return {name: self._at_best(series) for name in names if (series := self.scalars(name, "net"))}

    @cached_property
    def _scalars(self) -> dict[tuple[str, str], Series]:
        rows = self._query("select part, name, step, epoch, value from scalars order by rowid")
        grouped = defaultdict(list)
        for part, name, step, epoch, value in rows:
            grouped[part, name].append((step, epoch, finite(value)))
        return {key: _series(rows) for key, rows in grouped.items()}

    @cached_property
    def _vitals(self) -> dict[tuple[str, str], Series]:
        rows = self._query("select name, layer, step, value from vitals order by rowid")
        grouped = defaultdict(list)
        for name, layer, step, value in rows:
            grouped[name, layer].append((step, 0.0, finite(value)))
        return {key: _series(rows) for key, rows in grouped.items()}

    def _query(self, statement: str) -> list[tuple[Any, ...]]:
        # A live record has its WAL beside it. One without is whole, and opened as immutable, so that reading leaves no WAL behind.
        path = (self.folder / "record.db").resolve()
        live = path.with_name("record.db-wal").exists()
        for mode in ("mode=ro", "mode=ro&immutable=1") if live else ("mode=ro&immutable=1",):
            try:
                database = sqlite3.connect(f"file:{path}?{mode}", uri=True, timeout=30)
                try:
                    return database.execute(statement).fetchall()
                finally:
                    database.close()
            except sqlite3.OperationalError:
                continue
            except sqlite3.DatabaseError as error:
                raise RunError("run-damaged", f"{path} is not a readable record: {error}.") from None
        raise RunError("run-damaged", f"{path} is not a readable record of a run.")


def find_run(text: str, *, parent: Path = Path("runs")) -> Run:
    """A run by its folder, by its name under runs/, or the newest one for "last". Raises RunError with the near name."""
    path = Path(text)
    if text == "last":
        found = list_runs(parent)
        if not found:
            raise RunError("run-absent", f"there is no run in {parent}/ yet; start one with: markone train digits.")
        return found[-1]
    if not path.exists() and (parent / text).exists():
        path = parent / text
    if not path.exists():
        names = [run.id for run in list_runs(parent)]
        raise RunError(
            "run-absent", f"there is no run {text!r}.{did_you_mean(text, names)} List the runs with: markone runs."
        )
    return Run(path)


def list_runs(parent: Path = Path("runs")) -> list[Run]:
    """All runs in a folder, oldest first."""
    if not parent.is_dir():
        return []
    folders = [path for path in parent.iterdir() if (path / "record.db").is_file() and not path.name.startswith(".")]
    return [
        Run(path)
        for path in sorted(
            folders,
            key=lambda path: (path / "recipe.toml").stat().st_mtime_ns if (path / "recipe.toml").exists() else 0,
        )
    ]


def _near_run(folder: Path) -> str:
    inside = list_runs(folder) if folder.is_dir() else []
    return f" It holds runs, such as {inside[-1].folder}." if inside else " List the runs with: markone runs."


def _series(rows: list[tuple[int, float, float]]) -> Series:
    steps, epochs, values = zip(*rows, strict=True)
    return Series(np.array(steps, np.int64), np.array(epochs, np.float64), np.array(values, np.float64))


def _empty() -> Series:
    return Series(np.empty(0, np.int64), np.empty(0), np.empty(0))
