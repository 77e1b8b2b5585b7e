"""Letters on a retina: what the Mark I Perceptron was shown, black and white and a little out of place."""

import numpy as np

from markone.data.dataset import Dataset
from markone.data.digest import content_digest
from markone.seeds import numpy_generator

SIDE = 20  # photosensors of the Mark I Perceptron, to either side
DOT = (2, 3)  # pixels of one dot below, high and wide: letters of 14 x 15 can move by 2 pixels each way

LETTERS = {
    "A": ".###. #...# #...# ##### #...# #...# #...#",
    "B": "####. #...# #...# ####. #...# #...# ####.",
    "C": ".###. #...# #.... #.... #.... #...# .###.",
    "D": "####. #...# #...# #...# #...# #...# ####.",
    "E": "##### #.... #.... ####. #.... #.... #####",
    "F": "##### #.... #.... ####. #.... #.... #....",
    "G": ".###. #...# #.... #.### #...# #...# .###.",
    "H": "#...# #...# #...# ##### #...# #...# #...#",
}
"""The first eight capitals, in dots of 5 x 7."""


def draw_letters(*, samples: int, shift: int, noise: float, seed: int) -> Dataset:
    """Letter i is the class i modulo 8, moved by up to ``shift`` pixels each way; each pixel flips with probability ``noise``.

    inputs uint8 (samples, 20, 20, 1): 255 where there is light, the letter's strokes, else 0.
    """
    generator = numpy_generator(seed, "letters")
    targets = np.arange(samples, dtype=np.int64) % len(LETTERS)
    down, right = generator.integers(-shift, shift + 1, (2, samples, 1))
    rows, columns = (np.arange(SIDE) - down) % SIDE, (np.arange(SIDE) - right) % SIDE
    letters = np.stack([_picture(dots) for dots in LETTERS.values()])
    lit = letters[targets[:, None, None], rows[:, :, None], columns[:, None, :]]
    lit = lit != (generator.random(lit.shape) < noise)
    inputs = (255 * lit.astype(np.uint8))[..., np.newaxis]
    return Dataset(
        name="letters",
        inputs=inputs,
        targets=targets,
        classes=tuple(LETTERS),
        digest=content_digest(inputs, targets),
    )


def _picture(dots: str) -> "np.ndarray[tuple[int, int], np.dtype[np.bool_]]":
    """(20, 20), the letter in the middle."""
    lit = np.array([[dot == "#" for dot in row] for row in dots.split()]).repeat(DOT[0], 0).repeat(DOT[1], 1)
    picture = np.zeros((SIDE, SIDE), dtype=np.bool_)
    top, left = ((SIDE - size) // 2 for size in lit.shape)
    picture[top : top + lit.shape[0], left : left + lit.shape[1]] = lit
    return picture
