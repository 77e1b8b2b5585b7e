"""The data of a case: generated as it says, read from $MARKONE_DATA, or a stand-in of the same shape and task, which is said."""

import gzip
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cases.description import Case, NotPortable

Array = NDArray[np.float32]
Source = tuple[
    NDArray[np.generic], NDArray[np.generic], NDArray[np.generic], NDArray[np.generic]
]  # x, y; those of validation

VALIDATION_ROWS = 800
INLINE_SEED = 20180130  # of the descriptions
DUPLICATED = 0.2  # of the validation rows
NOISE = 0.4  # of the labels

ORIGINAL_ROWS = {
    "mnist": 60_000,
    "cifar": 50_000,
    "majority": 4_000,
    "copy": 4_000,
    "x.w": 800,
    "make_classification": 200,
}  # where ours are fewer


@dataclass(frozen=True)
class Parts:
    """x (n, ...), pictures with the channels first; y (n,) classes, or (n, 1) numbers and binary labels.

    stand_in: what was taken instead of the data that the description names. reported_y: the labels that the program itself validates with.
    """

    x: Array
    y: NDArray[np.generic]
    x_validation: Array
    y_validation: NDArray[np.generic]
    reported_y: NDArray[np.generic]
    stand_in: str | None = None


def original_rows(case: Case) -> int | None:
    """How many the program trains on, where a port takes fewer of them; None where it takes all."""
    return next((rows for sign, rows in ORIGINAL_ROWS.items() if sign in case.data.lower()), None)


def load_parts(case: Case, *, rows: int, pool: int = 1, seed: int = 0) -> Parts:
    """The data, preprocessed, with the faults that lie in it. rows: at most so many to train on; pool: pictures of a side divided by it."""
    rng = np.random.default_rng(seed)
    (x, y, x_validation, y_validation), stand_in = _source(case, rows, rng)
    x, x_validation = _preprocess(case, x.astype(np.float64), x_validation.astype(np.float64))
    if len(case.shape) == 3:
        x, x_validation = _pictures(case, x, pool), _pictures(case, x_validation, pool)
    else:
        x, x_validation = x.reshape(len(x), -1), x_validation.reshape(len(x_validation), -1)
    y, y_validation = _targets(case, y, y_validation)
    parts = Parts(x.astype(np.float32), y, x_validation.astype(np.float32), y_validation, y_validation, stand_in)
    return _twisted(case, parts, rng)


def _source(case: Case, rows: int, rng: np.random.Generator) -> tuple[Source, str | None]:
    text = case.data.lower()
    if "mnist" in text:
        found = read_mnist(rows, rng)
        return (found, None) if found else (_digits(case, rows, rng), "the digits of scikit-learn for MNIST")
    if "cifar" in text:
        found = read_cifar(rows, rng)
        return (
            (found, None) if found else (_digits(case, rows, rng), "the digits of scikit-learn, tinted, for CIFAR-10")
        )
    for sign, make, stand_in in (
        ("make_blobs", _blobs, None), ("make_circles", _circles, None), ("8 points", _eight_points, None),
        ("100 rows of n(0,0.1)", _shifted, None), ("t=100", _straight, None), ("x=0,1,2,3", _squares, None),
        ("x.w + noise", _linear, None), ("make_classification", _classification, None), ("majority token", _majority, None),
        ("copy task", _copy, None), ("auto-mpg", _cars, "generated cars for auto-mpg"),
        ("heart_train", _hearts, "generated patients for the heart disease table"),
    ):  # fmt: skip
        if sign in text:
            return make(rows, rng), stand_in
    raise NotPortable(f"no port of the data {case.data!r}")


# --- pictures ------------------------------------------------------------------------------------------------------------------------


def data_folder(name: str) -> Path | None:
    root = os.environ.get("MARKONE_DATA")
    return Path(root) / name if root and (Path(root) / name).is_dir() else None


def read_mnist(rows: int, rng: np.random.Generator) -> Source | None:
    """A random part of the first 8,000 training pictures, and of the first test pictures."""
    folder = data_folder("mnist")
    if folder is None:
        return None
    x, y = (
        _idx(folder / "train-images-idx3-ubyte.gz", 16, 8000 * 784),
        _idx(folder / "train-labels-idx1-ubyte.gz", 8, 8000),
    )
    chosen = rng.permutation(8000)[:rows]
    count = VALIDATION_ROWS
    held_x = _idx(folder / "t10k-images-idx3-ubyte.gz", 16, count * 784)
    held_y = _idx(folder / "t10k-labels-idx1-ubyte.gz", 8, count)
    return x.reshape(-1, 28, 28, 1)[chosen], y[chosen], held_x.reshape(-1, 28, 28, 1), held_y


def _idx(path: Path, head: int, count: int) -> NDArray[np.uint8]:
    with gzip.open(path) as file:
        return np.frombuffer(file.read(head + count), np.uint8, offset=head)


def read_cifar(rows: int, rng: np.random.Generator) -> Source | None:
    """The 4,000 lossless pictures: 3,200 to train on, the others for validation."""
    from PIL import Image

    folder = data_folder("cifar10")
    if folder is None:
        return None
    files = [np.asarray(Image.open(folder / f"cifar10_batch_{part}.png")) for part in range(4)]
    x = np.concatenate([file.reshape(1000, 32, 32, 3) for file in files])
    y = np.load(folder / "cifar10_batch_labels.npy")
    chosen = rng.permutation(3200)[:rows]
    return x[chosen], y[chosen], x[3200:], y[3200:]


def _digits(case: Case, rows: int, rng: np.random.Generator) -> Source:
    from sklearn.datasets import load_digits

    side, channels = (case.shape[0], case.shape[2]) if len(case.shape) == 3 else (28, 1)
    digits = load_digits()
    order = rng.permutation(len(digits.target))
    x, y = digits.images[order] * 15.9, digits.target[order]
    places = np.arange(side) * 8 // side
    x = np.repeat(x[:, places][:, :, places, None], channels, axis=3) * rng.uniform(0.5, 1.0, (len(x), 1, 1, channels))
    x = np.clip(x + rng.normal(0, 5, x.shape), 0, 255)
    return x[:-400][:rows], y[:-400][:rows], x[-400:], y[-400:]


def _pictures(case: Case, x: NDArray[np.float64], pool: int) -> NDArray[np.float64]:
    """Channels first: (n, h, w, c) to (n, c, h, w), averaged over squares of ``pool``; scrambled where the case only reshapes them."""
    n, h, w, c = len(x), *case.shape
    x = x.reshape(n, h // pool, pool, w // pool, pool, c).mean((2, 4))
    if "layout_scrambled" in case.twists:
        return x.reshape(n, c, h // pool, w // pool)
    return x.transpose(0, 3, 1, 2)


# --- tables and sequences ------------------------------------------------------------------------------------------------------------


def _blobs(_rows: int, _rng: np.random.Generator) -> Source:
    from sklearn.datasets import make_blobs

    x, y = make_blobs(n_samples=1000, centers=3, n_features=2, cluster_std=2, random_state=2)
    return x[:700], y[:700], x[700:], y[700:]


def _circles(_rows: int, _rng: np.random.Generator) -> Source:
    from sklearn.datasets import make_circles

    x, y = make_circles(n_samples=1000, noise=0.1, random_state=1)
    return x[:700], y[:700], x[700:], y[700:]


def _eight_points(_rows: int, _rng: np.random.Generator) -> Source:
    rng = np.random.default_rng(INLINE_SEED)
    slope, shift = rng.uniform(-8, 8, 2)
    x = rng.uniform(-8, 8, (72, 1))
    y = slope * x[:, 0] + shift + rng.uniform(-1, 1, 72)
    return x[:8], y[:8], x[8:], y[8:]


def _shifted(_rows: int, _rng: np.random.Generator) -> Source:
    """Rows of label 0 are shifted by -1 or 0."""
    rng = np.random.default_rng(INLINE_SEED)
    x, y = rng.normal(0, 0.1, (300, 14)), (rng.random(300) >= 2 / 3).astype(np.int64)
    x += np.where(y == 0, rng.integers(-1, 1, 300), 0)[:, None]
    return x[:100], y[:100], x[100:], y[100:]


def _straight(_rows: int, rng: np.random.Generator) -> Source:
    t = np.arange(100.0)
    y = 2 * t + 4 + 10 * rng.random(100)
    x = np.stack([t, np.ones(100)], axis=1)
    between = x + np.array([0.5, 0.0])
    return x, y, between, 2 * between[:, 0] + 4 + 10 * rng.random(100)


def _squares(_rows: int, _rng: np.random.Generator) -> Source:
    x, between = np.arange(4.0)[:, None], np.array([[0.5], [1.5], [2.5]])
    return x, x[:, 0] ** 2, between, between[:, 0] ** 2


def _linear(_rows: int, _rng: np.random.Generator) -> Source:
    rng = np.random.default_rng(INLINE_SEED)
    x = rng.normal(0, 1, (1000, 9))
    y = x @ rng.normal(0, 1, 9) + rng.normal(0, 0.1, 1000)
    return x[:800], y[:800], x[800:], y[800:]


def _classification(_rows: int, _rng: np.random.Generator) -> Source:
    from sklearn.datasets import make_classification

    x, y = make_classification(n_samples=300, n_features=20, random_state=0)
    return x[:200], y[:200], x[200:], y[200:]


def _majority(rows: int, rng: np.random.Generator) -> Source:
    """32 tokens of a vocabulary of 16, a third of them the one that is asked for."""
    count = min(rows, 4000) + VALIDATION_ROWS
    x, y = rng.integers(0, 16, (count, 32)), rng.integers(0, 16, count)
    x = np.where(rng.random(x.shape) < 1 / 3, y[:, None], x)
    return x[:-VALIDATION_ROWS], y[:-VALIDATION_ROWS], x[-VALIDATION_ROWS:], y[-VALIDATION_ROWS:]


def _copy(rows: int, rng: np.random.Generator) -> Source:
    x = rng.integers(0, 16, (min(rows, 4000) + VALIDATION_ROWS, 16))
    return x[:-VALIDATION_ROWS], x[:-VALIDATION_ROWS], x[-VALIDATION_ROWS:], x[-VALIDATION_ROWS:]


def _cars(_rows: int, _rng: np.random.Generator) -> Source:
    """392 cars: cylinders, displacement, horsepower, weight, acceleration, year, three origins; miles per gallon."""
    rng = np.random.default_rng(INLINE_SEED)
    size = rng.beta(1.2, 1.8, 392)  # of a car, on which nearly all of it depends
    cylinders = np.select([size < 0.45, size < 0.65], [4, 6], 8)
    displacement = 70 + 380 * size**1.3 + rng.normal(0, 15, 392)
    horsepower = 50 + 160 * size + rng.normal(0, 12, 392)
    weight = 1700 + 3000 * size + rng.normal(0, 200, 392)
    acceleration = 19 - 6 * size + rng.normal(0, 2, 392)
    year = rng.integers(70, 83, 392)
    origin = np.where(size > 0.5, 0, rng.integers(0, 3, 392))
    mpg = 46 - 33 * size**0.7 + 0.7 * (year - 76) + rng.normal(0, 2, 392)
    columns = (cylinders, displacement, horsepower, weight, acceleration, year)
    x = np.column_stack([*columns, np.eye(3)[origin]])
    return x[:314], mpg[:314], x[314:], mpg[314:]


def _hearts(_rows: int, _rng: np.random.Generator) -> Source:
    """464 patients with the nine columns of the heart disease table, in their units."""
    rng = np.random.default_rng(INLINE_SEED)
    mean = np.array([138, 3.6, 4.7, 25, 0.4, 53, 26, 17, 43])
    std = np.array([20, 4.6, 2.1, 7.8, 0.5, 10, 4.2, 24, 14.6])
    z = rng.normal(0, 1, (464, 9))
    x = np.maximum(mean + std * z, 0)
    x[:, 4] = z[:, 4] > 0.2
    risk = 0.1 * z[:, 0] + 0.4 * z[:, 1] + 0.4 * z[:, 2] + 0.9 * x[:, 4] + 0.4 * z[:, 5] + 0.7 * z[:, 8] - 1.2
    y = (rng.random(464) < 1 / (1 + np.exp(-risk))).astype(np.int64)
    return x[:414], y[:414], x[414:], y[414:]


# --- what is done with them ----------------------------------------------------------------------------------------------------------


def _preprocess(
    case: Case, x: NDArray[np.float64], held: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    text, pictures = case.preprocessing.lower(), x.ndim == 4
    if "token" in case.data:
        return x, held
    if text.startswith(("none", "inputs raw")):
        return x, held
    if text.startswith("normalize"):
        return (x / 255 - 0.1307) / 0.3081, (held / 255 - 0.1307) / 0.3081
    if text.startswith("/255") or (pictures and "min-max" in text):
        return x / 255, held / 255
    if "range twice" in text:
        least, span = (x.min(), np.array(255.0)) if pictures else (x.min(0), np.ptp(x, axis=0))
        return (x - least) / span / span, (held - least) / span / span
    if "min-max" in text:
        least, span = x.min(0), np.ptp(x, axis=0)
        span = np.where(span > 0, span, 1.0)
        return (x - least) / span, (held - least) / span
    if "standard" in text:
        seen = np.concatenate([x, held]) if "data_leakage_preprocessing" in case.twists else x
        return (x - seen.mean(0)) / seen.std(0), (held - seen.mean(0)) / seen.std(0)
    raise NotPortable(f"no port of the preprocessing {case.preprocessing!r}")


def _targets(
    case: Case, y: NDArray[np.generic], held: NDArray[np.generic]
) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    if case.task == "classes":
        return y.astype(np.int64), held.astype(np.int64)
    text, given, kept = case.preprocessing.lower(), y.astype(np.float64), held.astype(np.float64)
    least, span = given.min(), np.ptp(given)
    if "by 10" in text:
        given, kept = 10 * given, 10 * kept
    elif "[-1,1]" in text:
        given, kept = 2 * (given - least) / span - 1, 2 * (kept - least) / span - 1
    elif case.task == "numbers" and ("target min-max" in text or "range twice" in text):
        given, kept = (given - least) / span, (kept - least) / span
    return given.astype(np.float32)[:, None], kept.astype(np.float32)[:, None]


def _twisted(case: Case, parts: Parts, rng: np.random.Generator) -> Parts:
    """With the fault that lies in the data."""
    x, y = parts.x, parts.y
    if "class_imbalance" in case.twists:  # class k of 0 to 5 keeps max(k, 1) percent of its rows
        keep = np.concatenate(
            [np.flatnonzero(y == k)[: None if k > 5 else max(1, (y == k).sum() * max(k, 1) // 100)] for k in range(10)]
        )
        return replace(parts, x=x[keep], y=y[keep])
    if "label_noise" in case.twists:
        y = np.where(rng.random(len(y)) < NOISE, rng.integers(0, case.outputs, len(y)), y)
        return replace(parts, y=y)
    if "duplicate_rows_across_split" in case.twists:
        count = round(DUPLICATED * len(parts.x_validation))
        x, y = (
            np.concatenate([x[count:], parts.x_validation[:count]]),
            np.concatenate([y[count:], parts.y_validation[:count]]),
        )
        return replace(parts, x=x, y=y)
    if "data_leakage_target_in_features" in case.twists:
        columns = [one + rng.normal(0, 0.01, one.shape) for one in (parts.y, parts.y_validation)]
        both = [
            np.concatenate([table, column], 1).astype(np.float32)
            for table, column in zip((x, parts.x_validation), columns, strict=True)
        ]
        return replace(parts, x=both[0], x_validation=both[1])
    if "data_not_shuffled" in case.twists:
        order = np.argsort(y, kind="stable")
        return replace(parts, x=x[order], y=y[order])
    if "label_preprocessing_wrong" in case.twists:
        return replace(parts, reported_y=(parts.y_validation.astype(np.int64) + 1) % case.outputs)
    return parts
