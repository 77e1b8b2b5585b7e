"""Split: training, validation and test; stratified, grouped, with duplicates on one side."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from markone.data.assign import assign, components, units_per_class
from markone.data.dataset import UNASSIGNED, Dataset, Part
from markone.errors import DataError, RunError
from markone.seeds import numpy_generator
from markone.spec import Spec

Ints = NDArray[np.int64]

SMALL = 30_000  # samples up to which 80/10/10 is kept (architecture, section 7)
SHARE = 0.10  # of each of validation and test, then
LEAST_SHARE = 0.005  # training gets up to 99 %
Z, HALF_WIDTH = 1.959964, 0.05  # a 95 % interval, 5 points to either side
PER_CLASS = math.ceil(Z**2 * 0.25 / HALF_WIDTH**2)  # z^2 p (1 - p) / w^2 at p = 1/2, where it is largest: 385
BINS = 10  # quantile bins that stand for classes in regression


def policy_fractions(class_counts: Sequence[int]) -> tuple[float, float]:
    """(validation, test) as fractions of all samples.

    Up to 30,000 samples 10 % each. Beyond, the least that represents every class: 385 samples of the smallest class,
    enough to tell a proportion within 5 points at 95 %; never under 0.5 % and never over 10 %.

    >>> policy_fractions([150] * 10)
    (0.1, 0.1)
    >>> policy_fractions([500_000, 500_000])
    (0.005, 0.005)
    """
    if sum(class_counts) <= SMALL:
        return SHARE, SHARE
    share = min(max(PER_CLASS / min(class_counts), LEAST_SHARE), SHARE)
    return share, share


class Split(Spec):
    """How much goes to validation and test, and which seed draws it."""

    validation: float | None = Field(
        default=None, ge=0, lt=1, description="Fraction for validation; none = by the policy, 0 = no validation part."
    )
    test: float | None = Field(
        default=None, ge=0, lt=1, description="Fraction for test; none = by the policy, 0 = no test part."
    )
    seed: int | None = Field(default=None, ge=0, description="Which split is drawn; none = the recipe's seed.")
    duplicates: bool = Field(default=True, description="Whether duplicates are kept on one side.")

    @model_validator(mode="after")
    def _leaves_training(self) -> Self:
        if (self.validation or 0) + (self.test or 0) >= 1:
            raise ValueError("validation and test together must be under 1, so that training gets some")
        return self


@dataclass(frozen=True, eq=False)
class SplitResult:
    """The part of every sample, int8 (n,) of Part, and what there is to say about it."""

    part: NDArray[np.int8]
    sentences: tuple[str, ...] = ()

    def indices(self, part: Part) -> Ints:
        """The samples of one part, in order."""
        return np.flatnonzero(self.part == part)

    @property
    def counts(self) -> dict[str, int]:
        """Samples by the part's name; ``left out`` only where there are any."""
        counts = {part.label: int((self.part == part).sum()) for part in (Part.TRAINING, Part.VALIDATION, Part.TEST)}
        left_out = int((self.part == Part.LEFT_OUT).sum())
        return {**counts, Part.LEFT_OUT.label: left_out} if left_out else counts

    def save(self, path: Path) -> None:
        """Written aside and renamed, so that a kill leaves no half of it."""
        aside = path.with_name(f"{path.name}.{os.getpid()}.aside")
        with aside.open("wb") as file:
            np.savez_compressed(file, part=self.part, sentences=np.array(self.sentences, dtype=np.str_))
        aside.replace(path)

    @staticmethod
    def load(path: Path) -> "SplitResult":
        """Raises RunError where the file is absent or damaged."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                return SplitResult(stored["part"].astype(np.int8), tuple(map(str, stored["sentences"])))
        except Exception as error:  # zipfile, zlib and numpy each raise their own for a damaged file
            raise RunError(
                "run-split", f"the split {path} cannot be read ({error}); it was stored by `train`."
            ) from None


def split(dataset: Dataset, spec: Split, *, seed: int, clusters: Ints | None = None) -> SplitResult:
    """Every sample in one part.

    clusters: labels (n,), duplicates share one. Parts that the source gives are kept, missing ones are carved out of
    training. Samples of one cluster or one group never sit on two sides; where the source itself puts them on two, test
    wins over validation and validation over training, and the others are left out. Raises DataError where there are
    too few samples.
    """
    clusters = clusters if spec.duplicates else None
    part, sentences = _given(dataset, clusters)
    pool = np.flatnonzero((part == UNASSIGNED) | (part == Part.TRAINING))
    fractions = _fractions(dataset, spec, part, pool, sentences)
    if not any(fractions):
        part[pool] = Part.TRAINING
        return SplitResult(part, tuple(sentences))
    label = np.arange(len(pool)) if clusters is None else clusters[pool]
    units = components(label, None if dataset.groups is None else dataset.groups[pool])
    strata = _strata(dataset, pool)
    _refuse_too_few(dataset, units, fractions)
    generator = numpy_generator(seed if spec.seed is None else spec.seed, "split")
    part[pool] = assign(units, strata, fractions=fractions, generator=generator)
    sentences += _kept_together(label) + _thin_classes(dataset, units, strata, part, pool, fractions)
    return SplitResult(part, tuple(sentences))


def _given(dataset: Dataset, clusters: Ints | None) -> tuple[NDArray[np.int8], list[str]]:
    """The source's own parts, less what it puts on two sides."""
    if dataset.parts is None:
        return np.full(len(dataset), UNASSIGNED, dtype=np.int8), []
    part, sentences = dataset.parts.astype(np.int8), list[str]()
    for labels, what in ((clusters, "they duplicate"), (dataset.groups, "they share a group with")):
        if labels is not None:
            sentences += _leave_out(part, labels, what)
    return part, sentences


def _leave_out(part: NDArray[np.int8], labels: Ints, what: str) -> list[str]:
    sentences = []
    labels = np.unique(labels, return_inverse=True)[1]
    drawn = (int(Part.TRAINING), int(UNASSIGNED))
    for keeper, others in ((Part.TEST, (int(Part.VALIDATION), *drawn)), (Part.VALIDATION, drawn)):
        kept = np.zeros(labels.max(initial=-1) + 1, dtype=bool)
        kept[labels[part == keeper]] = True
        out = kept[labels] & np.isin(part, others)
        for name, these in (("validation", [int(Part.VALIDATION)]), ("training", drawn)):
            if count := int((out & np.isin(part, these)).sum()):
                sentences.append(f"Left out, because {what} a {keeper.label} sample: {count:,} of {name}.")
        part[out] = Part.LEFT_OUT
    return sentences


def _fractions(
    dataset: Dataset, spec: Split, part: NDArray[np.int8], pool: Ints, sentences: list[str]
) -> tuple[float, float]:
    """(validation, test) to carve from the pool; 0 for a part that the source gives."""
    counts = np.bincount(dataset.targets[pool]) if dataset.is_classification else np.array([len(pool)])
    policy = policy_fractions([int(count) for count in counts if count] or [0])
    asked = (spec.validation, spec.test)
    carved = [usual if ask is None else ask for ask, usual in zip(asked, policy, strict=True)]
    for place, kind in enumerate((Part.VALIDATION, Part.TEST)):
        if (count := int((part == kind).sum())) > 0:
            ignored = f", so split.{kind.label} = {asked[place]:g} is not used" if asked[place] is not None else ""
            sentences.append(f"The {kind.label} part is given by the source ({count:,} samples){ignored}.")
            carved[place] = 0.0
    return carved[0], carved[1]


def _strata(dataset: Dataset, pool: Ints) -> Ints:
    """The class, or for regression the quantile bin of the mean standardized target."""
    if dataset.is_classification:
        return np.unique(dataset.targets[pool].astype(np.int64), return_inverse=True)[1]
    targets = dataset.targets[pool].astype(np.float64)
    score = ((targets - targets.mean(0)) / np.maximum(targets.std(0), 1e-12)).mean(1)
    bins = int(np.clip(len(pool) // BINS, 1, BINS))
    edges = np.quantile(score, np.arange(1, bins) / bins)
    return np.unique(np.searchsorted(edges, score, side="right"), return_inverse=True)[1]


def _refuse_too_few(dataset: Dataset, units: Ints, fractions: tuple[float, float]) -> None:
    wanted, have = 1 + sum(fraction > 0 for fraction in fractions), int(units.max(initial=-1)) + 1
    if have < wanted:
        what = "groups" if dataset.groups is not None else "different samples"
        duplicates = ", or split.duplicates = false" if have < len(units) else ""
        raise DataError(
            "data-too-few",
            f"{dataset.name} has {have} {what} to split ({len(units):,} samples), too few for {wanted} parts: "
            f"give more data, or set split.test = 0{duplicates}.",
        )


def _kept_together(clusters: Ints) -> list[str]:
    sizes = np.bincount(np.unique(clusters, return_inverse=True)[1])
    many = sizes[sizes > 1]
    if not len(many):
        return []
    return [f"Clusters of duplicates, each kept on one side: {len(many):,}, with {many.sum():,} samples."]


def _thin_classes(
    dataset: Dataset, units: Ints, strata: Ints, part: NDArray[np.int8], pool: Ints, fractions: tuple[float, float]
) -> list[str]:
    """Which classes are absent from a part that was drawn."""
    if dataset.classes is None:
        return []
    held = units_per_class(units, strata)
    present = np.unique(dataset.targets[pool].astype(np.int64))
    sentences = []
    for kind, fraction in ((Part.VALIDATION, fractions[0]), (Part.TEST, fractions[1]), (Part.TRAINING, 1.0)):
        if fraction == 0:
            continue
        there = np.isin(present, dataset.targets[part == kind])
        for index in np.flatnonzero(~there):
            name, count = dataset.classes[present[index]], held[index]
            sentences.append(f"The class {name} is absent from {kind.label} (samples that may be parted: {count}).")
    return sentences
