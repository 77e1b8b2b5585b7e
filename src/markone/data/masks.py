"""Masks as pictures: PNG files whose values are the classes, with a colour for each."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def write_mask(path: Path, mask: NDArray[np.uint8]) -> None:
    """Writes a mask uint8 (height, width) as a PNG that keeps its values and shows them in the colours of ``palette``."""
    from PIL import Image

    picture = Image.fromarray(mask)
    picture.putpalette(palette().tobytes())  # makes it a picture of indices
    picture.save(path, format="PNG")


def palette() -> NDArray[np.uint8]:
    """A colour for each class, uint8 (256, 3): 0 is black, and neighbours are far apart.

    Bit b of the class's three lowest bits, then of the next three, goes to the b-th colour, the highest bit first: the colours
    of PASCAL VOC's masks (Everingham et al. 2010).

    >>> palette()[:4].tolist(), palette()[255].tolist()
    ([[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]], [224, 224, 192])
    """
    colours = np.zeros((256, 3), dtype=np.uint8)
    classes = np.arange(256)
    for place in range(3):
        for colour in range(3):
            colours[:, colour] |= ((classes >> (3 * place + colour) & 1) << (7 - place)).astype(np.uint8)
    return colours
