"""One seed, many named streams of random numbers.

Every draw in markone is a function of (seed, name, place), never of what was drawn before. So a resumed training needs no
generator states: batch 7 of epoch 3 is augmented in the same way whether or not the first two epochs ran in this process.
"""

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch


def derive(seed: int, name: str, *place: int) -> int:
    """A 63-bit seed for the stream ``name`` at ``place``; different names and places are independent.

    >>> derive(0, "order", 3) == derive(0, "order", 3), derive(0, "order", 3) == derive(0, "order", 4)
    (True, False)
    """
    text = ":".join((str(seed), name, *map(str, place)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def torch_generator(seed: int, name: str, *place: int, device: str = "cpu") -> "torch.Generator":
    """A fresh torch generator for the stream ``name`` at ``place``.

    torch's CPU generator uses the low 32 bits of its seed alone, so two of n streams are equal with probability n^2 / 2^33.
    """
    import torch

    return torch.Generator(device).manual_seed(derive(seed, name, *place))


def numpy_generator(seed: int, name: str, *place: int) -> "np.random.Generator":
    """A fresh NumPy generator for the stream ``name`` at ``place``."""
    import numpy as np

    return np.random.default_rng(derive(seed, name, *place))
