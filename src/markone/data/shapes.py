"""Pictures of coloured shapes, with class, mask and caption: a vision task whose truth is known to the pixel."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from markone.data.dataset import Dataset
from markone.data.digest import content_digest
from markone.seeds import numpy_generator

Floats = NDArray[np.float32]

CHUNK = 1024  # pictures drawn at once: 12 MiB of float32 at 32 x 32 x 3
RADIUS = (0.18, 0.34)  # of the picture's side
REACH = 1.13  # the farthest point of any shape from its centre, in radii: the square's corner
JITTER = 18.0  # of 255, on every colour, so that a colour is a neighbourhood and not one value

COLOURS = {
    "red": (215, 45, 45),
    "green": (45, 165, 70),
    "blue": (50, 85, 215),
    "yellow": (235, 205, 55),
    "purple": (150, 65, 190),
    "white": (235, 235, 235),
    "black": (25, 25, 25),
}


def _triangle(x: Floats, y: Floats) -> Floats:
    half = np.float32(np.sqrt(3) / 2)
    distance: Floats = np.maximum(np.maximum(half * x + y / 2, -half * x + y / 2), -y) - np.float32(0.55)
    return distance


def _cross(x: Floats, y: Floats) -> Floats:
    x, y = np.abs(x), np.abs(y)
    distance: Floats = np.minimum(np.maximum(x - 0.3, y - 1), np.maximum(x - 1, y - 0.3))
    return distance


SHAPES: dict[str, Callable[[Floats, Floats], Floats]] = {
    "circle": lambda x, y: np.hypot(x, y) - 1,
    "square": lambda x, y: np.maximum(np.abs(x), np.abs(y)) - np.float32(0.8),
    "triangle": _triangle,
    "cross": _cross,
    "ring": lambda x, y: np.abs(np.hypot(x, y) - np.float32(0.72)) - np.float32(0.28),
}
"""Signed distance to the outline (at least its sign, and its size near the outline), in radii; negative inside."""


def draw_shapes(*, samples: int, size: int, noise: float, seed: int) -> Dataset:
    """Shape i is the class i modulo 5; colour, background, place, radius and angle are uniform.

    inputs uint8 (samples, size, size, 3). extras: ``mask`` uint8 (samples, size, size), 0 the background and k + 1 the class
    k; ``caption`` str (samples,).
    """
    inputs = np.empty((samples, size, size, 3), dtype=np.uint8)
    mask = np.empty((samples, size, size), dtype=np.uint8)
    targets = np.arange(samples, dtype=np.int64) % len(SHAPES)
    colour, background = _colours(samples, seed)
    for start in range(0, samples, CHUNK):
        part = slice(start, start + CHUNK)
        generator = numpy_generator(seed, "shapes", start // CHUNK)
        coverage = _coverage(targets[part], size, generator)
        mask[part] = (coverage >= 0.5) * (targets[part, np.newaxis, np.newaxis] + 1)
        inputs[part] = _paint(coverage, colour[part], background[part], noise, generator)
    return Dataset(
        name="shapes",
        inputs=inputs,
        targets=targets,
        classes=tuple(SHAPES),
        mask_classes=("background", *SHAPES),
        extras={"mask": mask, "caption": _captions(targets, colour, background)},
        mirrored=True,
        digest=content_digest(inputs, targets),
    )


def _colours(samples: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices into COLOURS of shape and background, never equal."""
    generator = numpy_generator(seed, "shapes-colours")
    colour = generator.integers(0, len(COLOURS), samples)
    return colour, (colour + generator.integers(1, len(COLOURS), samples)) % len(COLOURS)


def _coverage(classes: NDArray[np.int64], size: int, generator: np.random.Generator) -> Floats:
    """How much of each pixel the shape covers, 0 to 1, (n, size, size): the outline is smooth over one pixel."""
    n = len(classes)
    radius = generator.uniform(*RADIUS, n)
    centre = REACH * radius + generator.random((2, n)) * (1 - 2 * REACH * radius)
    angle = generator.uniform(0, 2 * np.pi, n)
    grid = (np.arange(size) + 0.5) / size
    x = ((grid - centre[0, :, np.newaxis]) / radius[:, np.newaxis])[:, np.newaxis, :].astype(np.float32)
    y = ((grid - centre[1, :, np.newaxis]) / radius[:, np.newaxis])[:, :, np.newaxis].astype(np.float32)
    cosine, sine = (f(angle).astype(np.float32)[:, np.newaxis, np.newaxis] for f in (np.cos, np.sin))
    u, v = cosine * x + sine * y, cosine * y - sine * x
    coverage = np.empty((n, size, size), dtype=np.float32)
    for k, distance in enumerate(SHAPES.values()):
        own = np.flatnonzero(classes == k)
        pixels = (radius[own] * size).astype(np.float32)[:, np.newaxis, np.newaxis]
        coverage[own] = np.clip(0.5 - pixels * distance(u[own], v[own]), 0, 1)
    return coverage


def _paint(
    coverage: Floats,
    colour: NDArray[np.int64],
    background: NDArray[np.int64],
    noise: float,
    generator: np.random.Generator,
) -> NDArray[np.uint8]:
    """(n, size, size, 3): a blend of the two colours, each jittered, plus pixel noise."""
    palette = np.array(list(COLOURS.values()), dtype=np.float32)
    front, back = (
        (palette[index] + generator.uniform(-JITTER, JITTER, (len(index), 3)).astype(np.float32))[:, None, None]
        for index in (colour, background)
    )
    picture = back + coverage[..., np.newaxis] * (front - back)
    picture += np.float32(noise) * generator.standard_normal(picture.shape, dtype=np.float32)
    painted: NDArray[np.uint8] = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    return painted


def _captions(
    shape: NDArray[np.int64], colour: NDArray[np.int64], background: NDArray[np.int64]
) -> NDArray[np.generic]:
    """``a red circle on a blue background``, looked up in the table of all there can be."""
    table = np.array([[[f"a {c} {s} on a {b} background" for b in COLOURS] for c in COLOURS] for s in SHAPES])
    captions: NDArray[np.generic] = table[shape, colour, background]
    return captions
