"""Points for the classics: gates, spirals, moons, polynomials. Every function is one formula and a seed."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from markone.data.dataset import Column, Dataset
from markone.data.digest import content_digest
from markone.seeds import numpy_generator

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]

GATES: dict[str, Callable[[Ints, Ints], Ints]] = {"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}


def gate(kind: str, *, samples: int, noise: float, seed: int) -> Dataset:
    """``a kind b`` at the four corners of the unit square, taken in turn, plus Gaussian noise.

    Minsky, Papert: Perceptrons, 1969: no single perceptron computes XOR.
    """
    generator = numpy_generator(seed, "gate")
    corner = np.arange(samples, dtype=np.int64) % 4
    a, b = corner >> 1, corner & 1
    points = np.stack([a, b], axis=1) + noise * generator.standard_normal((samples, 2))
    return _points(kind, points, GATES[kind](a, b), ("0", "1"))


def spirals(*, samples: int, arms: int, turns: float, noise: float, seed: int) -> Dataset:
    """Arm k at radius r, uniform in (0, 1], has the angle 2 pi (turns r + k / arms).

    Lang, Witbrock: Learning to Tell Two Spirals Apart, 1988.
    """
    generator = numpy_generator(seed, "spirals")
    arm = np.arange(samples, dtype=np.int64) % arms
    radius = 1 - generator.random(samples)
    angle = 2 * np.pi * (turns * radius + arm / arms)
    points = radius[:, np.newaxis] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points += noise * generator.standard_normal(points.shape)
    return _points("spirals", points, arm, tuple(f"arm {k + 1}" for k in range(arms)))


def moons(*, samples: int, noise: float, seed: int, wrong: float = 0.0) -> Dataset:
    """Upper moon (cos t, sin t), lower moon (1 - cos t, 1/2 - sin t), t uniform in [0, pi], Gaussian noise; a share of wrong labels."""
    generator = numpy_generator(seed, "moons")
    lower = np.arange(samples, dtype=np.int64) % 2
    t = np.pi * generator.random(samples)
    x = np.where(lower, 1 - np.cos(t), np.cos(t))
    y = np.where(lower, 0.5 - np.sin(t), np.sin(t))
    points = np.stack([x, y], axis=1) + noise * generator.standard_normal((samples, 2))
    flipped = numpy_generator(seed, "wrong").random(samples) < wrong
    return _points("moons", points, np.where(flipped, 1 - lower, lower), ("upper", "lower"))


def polynomial(*, samples: int, degree: int, noise: float, seed: int) -> Dataset:
    """y = sum_k c_k T_k(x) + noise std(y) e, with x uniform in [-1, 1] and c_k, e standard normal.

    T_k are Chebyshev's polynomials: any polynomial of that degree is such a sum, and a random one is not as flat as it
    would be with random coefficients of the powers of x.
    """
    generator = numpy_generator(seed, "polynomial")
    x = generator.uniform(-1, 1, samples)
    y = np.polynomial.chebyshev.chebval(x, generator.standard_normal(degree + 1))
    y = y + noise * y.std() * generator.standard_normal(samples)
    inputs, targets = x[:, np.newaxis].astype(np.float32), y[:, np.newaxis].astype(np.float32)
    return Dataset(
        name="polynomial",
        inputs=inputs,
        targets=targets,
        target_names=("y",),
        columns=(Column("x", "number"),),
        digest=content_digest(inputs, targets),
    )


def _points(name: str, points: Floats, targets: Ints, classes: tuple[str, ...]) -> Dataset:
    inputs = points.astype(np.float32)
    columns = (Column("x", "number"), Column("y", "number"))
    digest = content_digest(inputs, targets)
    return Dataset(name=name, inputs=inputs, targets=targets, classes=classes, columns=columns, digest=digest)
