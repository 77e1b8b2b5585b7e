"""The record of a training: its SQLite tables, and the Recorder that alone writes them.

WAL mode: the terminal and the studio read while the training writes, and a kill at any moment leaves every committed row whole.
"""

import contextlib
import json
import math
import os
import platform
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markone.device import Environment
from markone.errors import RunError

if TYPE_CHECKING:
    from markone.data.split import SplitResult
    from markone.recipe import Recipe

TABLES = """
create table meta (key text primary key, value text not null) without rowid;
create table scalars (step integer not null, epoch real not null, part text not null, name text not null, value real);
create table vitals (step integer not null, layer text not null, name text not null, value real);
create table facts (name text primary key, step integer not null, value text not null) without rowid;
create table probes (step integer not null, name text not null, value text not null);
create table findings (slug text not null, place text not null, since_step integer not null, seen_step integer not null,
                       withdrawn_step integer, value text not null, primary key (slug, place)) without rowid;
create table verdicts (time real not null, value text not null);
create table events (time real not null, step integer not null, kind text not null, value text not null);
"""

FLUSH_SECONDS = 0.25  # a commit costs about a millisecond: four a second stay far under one percent

Scalar = tuple[int, float, str, str, float]  # step, epoch, part, name, value
Vital = tuple[int, str, str, float]  # step, layer, name, value


class Recorder:
    """The one writer of a run folder's record. Rows wait in memory until ``flush`` commits them together."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._database = connect(folder / "record.db")
        self._scalars: list[Scalar] = []
        self.scalar = self._scalars.append  # one of them: at every step of a watched training, so without a detour
        self._vitals: list[Vital] = []
        self._flushed = 0.0
        self.known_facts: set[str] = set()

    def scalars(self, rows: Iterable[Scalar]) -> None:
        self._scalars.extend(rows)

    def vitals(self, rows: Iterable[Vital]) -> None:
        self._vitals.extend(rows)

    def fact(self, name: str, value: Any, *, step: int = 0) -> None:
        """One thing that was established once: the layers, the input's statistics, the loss of a blind guess."""
        self.known_facts.add(name)
        self._database.execute("replace into facts values (?, ?, ?)", (name, step, json.dumps(value)))

    def event(self, kind: str, value: Mapping[str, Any] | None = None, *, step: int) -> None:
        row = (time.time(), step, kind, json.dumps(value or {}))
        self._database.execute("insert into events values (?, ?, ?, ?)", row)

    def meta(self, key: str, value: Any) -> None:
        self._database.execute("replace into meta values (?, ?)", (key, json.dumps(value)))

    def findings(self, found: Iterable[Mapping[str, Any]], *, step: int) -> None:
        """The findings as of ``step``: new ones are added, those no longer found are marked withdrawn."""
        seen = set()
        for finding in found:
            key = (finding["slug"], json.dumps(finding["where"]))
            seen.add(key)
            self._database.execute(
                "insert into findings values (?, ?, ?, ?, null, ?) on conflict (slug, place) do update set"
                " seen_step = excluded.seen_step, withdrawn_step = null, value = excluded.value",
                (*key, finding["since_step"], step, json.dumps(finding)),
            )
        for slug, place in self._database.execute(
            "select slug, place from findings where withdrawn_step is null"
        ).fetchall():
            if (slug, place) not in seen:
                self._database.execute(
                    "update findings set withdrawn_step = ? where slug = ? and place = ?", (step, slug, place)
                )

    @property
    def flush_is_due(self) -> bool:
        return time.monotonic() - self._flushed >= FLUSH_SECONDS

    def flush(self) -> None:
        """Commits everything that waits."""
        self._database.executemany("insert into scalars values (?, ?, ?, ?, ?)", self._scalars)
        self._database.executemany("insert into vitals values (?, ?, ?, ?)", self._vitals)
        self._database.commit()
        self._scalars.clear()
        self._vitals.clear()
        self._flushed = time.monotonic()

    def rewind(self, step: int) -> None:
        """Forgets what was recorded after ``step`` steps: a resumed training records it again."""
        for table in ("scalars", "vitals", "probes"):
            self._database.execute(f"delete from {table} where step > ?", (step,))
        self._database.execute("delete from findings where since_step > ?", (step,))
        self._database.commit()

    def claim(self) -> None:
        """Marks the run as being trained by this process. Raises RunError if another live process trains it."""
        row = self._database.execute("select value from meta where key = 'process'").fetchone()
        if row and is_alive(owner := json.loads(row[0])) and owner["pid"] != os.getpid():
            raise RunError("run-busy", f"{self.folder} is being trained by process {owner['pid']}; wait or stop it.")
        self.meta("process", this_process())
        self.meta("status", "running")
        self._database.commit()

    def release(self) -> None:
        """Closes the record without a word on the training."""
        self._database.close()

    def close(self, status: str) -> None:
        self.meta("status", status)
        self.flush()
        self._database.close()


def connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=30)
    database.execute("pragma journal_mode = wal")
    database.execute("pragma synchronous = normal")
    return database


def add_event(folder: Path, kind: str, value: Mapping[str, Any], *, step: int) -> None:
    """One event in the record of a run that nobody trains at present."""
    recorder = Recorder(folder)
    recorder.event(kind, value, step=step)
    recorder.flush()
    recorder.release()


def this_process() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": platform.node(), "start": _start_time(os.getpid())}


def is_alive(process: Mapping[str, Any]) -> bool:
    """Whether the process that claimed a run still lives; of another machine nothing is known, so it counts as alive."""
    if process["host"] != platform.node():
        return True
    try:
        os.kill(process["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return process["start"] is None or process["start"] == _start_time(process["pid"])


def _start_time(pid: int) -> str | None:
    """When a process began, so that a number that the system gave to another process is not taken for the first."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return None


def create_folder(
    folder: Path | None,
    *,
    recipe: "Recipe | None",
    name: str,
    environment: Environment,
    split: "SplitResult | None",
    parent: Path = Path("runs"),
) -> Path:
    """A new run folder with recipe and split (a training that is only watched has neither), environment and an empty record.

    It is written aside and renamed.
    """
    final = folder or _fresh_name(parent, recipe, name)
    if final.exists() and (not final.is_dir() or any(final.iterdir())):
        raise RunError("run-folder-taken", f"{final} exists and is not empty; choose another --folder or --resume it.")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=final.parent))
    except OSError as error:
        raise RunError("run-folder-unwritable", f"cannot write a run into {final.parent}: {error.strerror}.") from None
    try:
        if recipe is not None:
            (aside / "recipe.toml").write_text(recipe.to_toml(), encoding="utf-8")
        (aside / "environment.json").write_text(json.dumps(environment.to_dict(), indent=2) + "\n", encoding="utf-8")
        if split is not None:
            split.save(aside / "split.npz")
        database = connect(aside / "record.db")
        database.executescript(TABLES)
        database.execute("insert into meta values ('status', '\"running\"')")
        database.commit()
        database.close()
        aside.chmod(0o755)
        if final.exists():
            final.rmdir()
        aside.rename(final)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return final


def _fresh_name(parent: Path, recipe: "Recipe | None", name: str) -> Path:
    digest = recipe.digest[:4] if recipe is not None else "watched"
    stem = f"{datetime.now():%Y-%m-%d-%H%M}-{name}-{digest}"
    taken = (parent / stem, *(parent / f"{stem}-{number}" for number in range(2, 10_000)))
    return next(path for path in taken if not path.exists())


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """A JSON file, written aside and renamed."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with aside.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    with contextlib.suppress(FileNotFoundError):
        aside.replace(path)


def finite(value: float | None) -> float:
    """SQLite stores NaN as NULL; read back, it is NaN again."""
    return math.nan if value is None else value
