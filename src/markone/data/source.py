"""DataSource: every place that data can come from, and ``resolve``, which makes one of a name or a path."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from markone.data.progress import Progress
from markone.data.synthetic import Gate, Letters, Moons, Polynomial, Shapes, Spirals
from markone.errors import DataError, did_you_mean
from markone.spec import KIND, Spec

if TYPE_CHECKING:
    from markone.data.dataset import Dataset


class Builtin(Spec):
    """A dataset that comes with scikit-learn, so that it needs no network."""

    kind: Literal["digits", "breast-cancer", "iris", "wine", "diabetes", "linnerud"]

    def build(self, *, progress: Progress | None = None) -> "Dataset":
        """digits: uint8 pictures (1797, 8, 8, 1); the others: float32 tables."""
        from markone.data.builtin import read_builtin

        return read_builtin(self.kind)


class Published(Spec):
    """A well-known picture set, from files on this machine."""

    kind: Literal["mnist", "fashion-mnist", "cifar10"]
    folder: str | None = Field(
        default=None, description="Where its files are; none = $MARKONE_DATA/NAME, ./NAME or ./data/NAME."
    )

    def build(self, *, progress: Progress | None = None) -> "Dataset":
        """uint8 pictures; the official test file is the test part."""
        from markone.data.published import read_published

        return read_published(self.kind, folder=self.folder, progress=progress)


class Folder(Spec):
    """A folder with one folder of pictures per class, or with train, validation and test folders of these."""

    kind: Literal["folder"] = "folder"
    path: str = Field(description="The folder.")
    size: int | None = Field(
        default=None, ge=4, le=1024, description="Height and width in pixels; none = by the pictures' own sizes."
    )
    fit: Literal["crop", "squash", "pad"] = Field(
        default="crop",
        description="How a picture becomes square: its middle, all of it squashed, or all of it on black.",
    )
    group: Literal["folder"] | None = Field(
        default=None, description="folder = the folders inside a class are groups that stay on one side of the split."
    )

    def build(self, *, progress: Progress | None = None) -> "Dataset":
        """uint8 pictures (n, size, size, 1 or 3), decoded once and then memory-mapped."""
        from markone.data.folder import read_folder

        root = existing(self.path)
        return read_folder(root, size=self.size, fit=self.fit, group=self.group, progress=progress)


class Table(Spec):
    """A CSV, TSV or Parquet file: one sample per row."""

    kind: Literal["table"] = "table"
    path: str = Field(description="The file.")
    target: str | None = Field(
        default=None, description="The column to predict; none = the one named target, label, class or y."
    )
    group: str | None = Field(default=None, description="The column whose equal values stay on one side of the split.")
    ignore: tuple[str, ...] = Field(default=(), description="Columns to leave out.")
    task: Literal["auto", "classification", "regression"] = Field(
        default="auto", description="What the target is for; auto decides by its values."
    )

    def build(self, *, progress: Progress | None = None) -> "Dataset":
        """float32 (n, columns): numbers, missing-value indicators and one column per category."""
        from markone.data.table import read_table

        return read_table(existing(self.path), target=self.target, group=self.group, ignore=self.ignore, task=self.task)


class Arrays(Spec):
    """An NPZ file of NumPy arrays."""

    kind: Literal["arrays"] = "arrays"
    path: str = Field(description="The file.")
    inputs: str | None = Field(default=None, description="The array of inputs; none = x, images, inputs, data, ...")
    targets: str | None = Field(default=None, description="The array of targets; none = y, labels, targets, ...")
    task: Literal["auto", "classification", "regression"] = Field(
        default="auto", description="What the target is for; auto decides by its values."
    )

    def build(self, *, progress: Progress | None = None) -> "Dataset":
        """Arrays of 3 or 4 axes as uint8 pictures, others as float32 tables; masks of pictures as extras ``mask``."""
        from markone.data.arrays import read_arrays

        return read_arrays(existing(self.path), inputs=self.inputs, targets=self.targets, task=self.task)


class Idx(Spec):
    """MNIST-format files: a folder of them, or one images file with its labels beside it."""

    kind: Literal["idx"] = "idx"
    path: str = Field(description="The folder or file.")

    def build(self, *, progress: Progress | None = None) -> "Dataset":
        """uint8 pictures (n, height, width, 1); files named test or t10k are the test part."""
        from markone.data.idx import read_idx_dataset

        return read_idx_dataset(existing(self.path))


DataSource = Annotated[
    Builtin | Published | Gate | Spirals | Moons | Polynomial | Shapes | Letters | Folder | Table | Arrays | Idx, KIND
]

NAMES: dict[str, type[Spec]] = {
    **dict.fromkeys(("digits", "breast-cancer", "iris", "wine", "diabetes", "linnerud"), Builtin),
    **dict.fromkeys(("mnist", "fashion-mnist", "cifar10"), Published),
    **dict.fromkeys(("and", "or", "xor"), Gate),
    "spirals": Spirals,
    "moons": Moons,
    "polynomial": Polynomial,
    "shapes": Shapes,
    "letters": Letters,
}
TABLES = (".csv", ".tsv", ".txt", ".data", ".parquet", ".pq", ".csv.gz", ".tsv.gz", ".txt.gz", ".data.gz")
PACKED = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2", ".7z", ".rar")
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib")


def resolve(text: str, *, target: str | None = None, group: str | None = None) -> Any:
    """The source spec that a name or a path stands for; ``target`` and ``group`` go to a table, ``group`` to a folder.

    Raises DataError for what is neither a name nor there, and for files of other kinds.
    """
    if text in NAMES and not (target or group):
        return NAMES[text](kind=text)
    path = Path(text).expanduser()
    if text in NAMES and not path.exists():
        raise DataError("data-target", f"{text} has its target built in: target and group are for tables.")
    if not path.exists():
        raise _absent(text)
    return _by_path(path.absolute(), target=target, group=group)


def existing(text: str) -> Path:
    """The path, if there is something. Raises DataError."""
    path = Path(text).expanduser()
    if not path.exists():
        raise DataError("data-path-absent", f"there is no {path}: give the path of a file or folder that exists.")
    return path


def _by_path(path: Path, *, target: str | None, group: str | None) -> Any:
    from markone.data.idx import is_idx

    name = path.name.lower()
    if name.endswith(TABLES) and path.is_file():
        return Table(path=str(path), target=target, group=group)
    if target:
        raise DataError("data-target", f"{path} is no table, so it has no target column {target!r}.")
    if path.is_dir():
        if is_idx(path):
            return Idx(path=str(path))
        if group not in (None, "folder"):
            raise DataError("data-group", f"group = {group!r} is not allowed for class folders. Allowed: folder.")
        return Folder(path=str(path), group="folder" if group else None)
    if group:
        raise DataError("data-group", f"{path} is no table and no folder, so it has no groups.")
    if name.endswith(".npz"):
        return Arrays(path=str(path))
    if is_idx(path):
        return Idx(path=str(path))
    raise _unsupported(path)


def _absent(text: str) -> DataError:
    if "/" in text or "." in text:
        return DataError("data-path-absent", f"there is no {text}: give the path of a file or folder that exists.")
    return DataError(
        "data-unknown",
        f"there is no dataset and no path {text!r}.{did_you_mean(text, NAMES)} Allowed: a path, or {', '.join(NAMES)}.",
    )


def _unsupported(path: Path) -> DataError:
    name = path.name.lower()
    if name.endswith(PACKED):
        return DataError("data-packed", f"{path} is an archive: unpack it first and give the folder.")
    if name.endswith(PICTURES):
        return DataError("data-one-picture", f"{path} is one picture: give the folder that holds one folder per class.")
    if name.endswith(PICKLES):
        return DataError("data-pickle", f"{path} may be a pickle, which is never opened: store the arrays as .npz.")
    if name.endswith(".npy"):
        return DataError(
            "data-npy", f"{path} is one array: store inputs and targets together, np.savez(file, x=..., y=...)."
        )
    return DataError(
        "data-unsupported",
        f"{path} is of no kind that can be read. Allowed: a folder, .csv, .tsv, .parquet, .npz, IDX files, or a name "
        f"such as digits.",
    )
