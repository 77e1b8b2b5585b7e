"""Picture files for tests: textured, all different, and flawed in every way that folders of photos are."""

import io
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def texture(seed: int, *, size: tuple[int, int] = (96, 72)) -> Image.Image:
    """A picture with layout and detail, different for every seed; size is (width, height)."""
    draw = np.random.default_rng(seed)
    width, height = size
    pixels = np.full((height, width, 3), 128.0)
    for blocks, strength in ((3, 45), (12, 30), (48, 12)):
        coarse = draw.normal(0, strength, (blocks, blocks, 3)).astype(np.float32)
        pixels += np.stack(
            [np.asarray(Image.fromarray(coarse[..., c]).resize(size, Image.Resampling.BICUBIC)) for c in range(3)], 2
        )
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def encoded(picture: Image.Image, form: str = "JPEG", **options: object) -> bytes:
    """The bytes of a file in the format ``form``."""
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def put(path: Path, data: bytes) -> Path:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def class_folders(root: Path, counts: dict[str, int], *, seed: int = 0, size: tuple[int, int] = (96, 72)) -> Path:
    """``root/class/000.jpg`` and so on, every picture different."""
    for place, (name, count) in enumerate(counts.items()):
        for i in range(count):
            put(root / name / f"{i:03}.jpg", encoded(texture(seed + 1000 * place + i, size=size), quality=92))
    return root


def idx_bytes(array: NDArray[np.generic]) -> bytes:
    """An array in the IDX format, written plainly from its definition."""
    code = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}[array.dtype.str[1:]]
    header = bytes([0, 0, code, array.ndim]) + b"".join(length.to_bytes(4, "big") for length in array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def touch_back(path: Path, data: bytes) -> None:
    """Replace a file's content, but not its size and time."""
    stat = path.stat()
    assert len(data) == stat.st_size
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
