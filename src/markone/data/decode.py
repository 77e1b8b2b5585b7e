"""One picture file to uint8 pixels of a fixed size, whatever format, mode, depth or orientation it has."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

Fit = Literal["crop", "squash", "pad"]
Size = tuple[int, int]
"""Width and height."""

SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
)
HEAD = 16  # bytes that tell the format
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
EXTENSIONS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png",),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "WEBP": (".webp",),
}
ORIENTATION = 0x0112  # EXIF
GAP = 3.0  # a picture over three times too large is first thinned out by whole numbers; by Pillow's manual it looks the same
DRAFT = 1.5  # JPEG is decoded at an eighth, a quarter or half of its size where that is still 1.5 times what is wanted


class Unusable(Exception):
    """A file that gives no picture; the message is the reason."""


@dataclass(frozen=True)
class Decoded:
    """pixels: uint8 (height, width, 3); grey: whether its three channels are one; oddities: what had to be done to it."""

    pixels: NDArray[np.uint8]
    grey: bool
    oddities: tuple[str, ...]


def sniff(head: bytes) -> str | None:
    """The format that the first bytes announce.

    >>> sniff(b"GIF89a......")
    'GIF'
    """
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    return next((name for signature, name in SIGNATURES if head.startswith(signature)), None)


def decode(data: bytes, *, size: Size, fit: Fit, extension: str) -> Decoded:
    """Raises Unusable with the reason."""
    found = sniff(data[:HEAD])
    if found is None:
        raise Unusable(_what_instead(data))
    oddities = (
        [] if extension.lower() in EXTENSIONS[found] else [f"is {found} in content, not {extension or 'unnamed'}"]
    )
    try:
        return _decode(data, found, size, fit, oddities)
    except Unusable:
        raise
    except Exception as error:  # Pillow's decoders raise a dozen types for damaged files; none may end a training
        raise Unusable(_reason(error)) from None


def picture_size(path: Path) -> Size | None:
    """The size by the header, or None."""
    from PIL import Image

    try:
        with Image.open(path, formats=FORMATS) as image:
            return image.size
    except Exception:  # as above
        return None


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Pillow warns of what is harmless here: odd EXIF blocks, and pictures over 89 million pixels (it refuses twice that).

    The filter is the process's, so it is set once around all threads and not in each.
    """
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def _decode(data: bytes, form: str, size: Size, fit: Fit, oddities: list[str]) -> Decoded:
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=(form,)) as image:
        width, height = image.size
        if min(width, height) < 2:
            raise Unusable(f"has only {width}x{height} pixels")
        if form != "JPEG" and getattr(image, "is_animated", False):
            oddities.append("is animated: its first frame is taken")
        if form == "JPEG":
            wanted = _scaled((width, height), size, fit)
            image.draft(None, (int(DRAFT * wanted[0]), int(DRAFT * wanted[1])))
        image.load()
        plain = _eight_bits(_upright(image, oddities), oddities)
        resized = _resize(plain, size, fit)
    pixels = np.asarray(resized)
    if pixels.ndim == 2:
        return Decoded(np.repeat(pixels[:, :, np.newaxis], 3, axis=2), True, tuple(oddities))
    grey = bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all())
    return Decoded(pixels, grey, tuple(oddities))


def _upright(image: "Image.Image", oddities: list[str]) -> "Image.Image":
    from PIL import Image

    turns = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"}
    turns |= {6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"}
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except Exception:  # a damaged EXIF block is no reason to lose the picture
        return image
    if orientation not in turns:
        return image
    oddities.append("is turned upright by its EXIF orientation")
    return image.transpose(Image.Transpose[turns[orientation]])


def _eight_bits(image: "Image.Image", oddities: list[str]) -> "Image.Image":
    """Mode L or RGB: depth scaled, palette looked up, alpha laid on white."""
    from PIL import Image

    mode = image.mode
    if mode.startswith("I"):
        oddities.append("has 16 bits per pixel, scaled to 8")
        values = np.asarray(image).astype(np.float64)
        return Image.fromarray(np.rint(values / 257).clip(0, 255).astype(np.uint8))
    if "A" in mode or "a" in mode or "transparency" in image.info:
        over = image.convert("RGBA")
        if over.getchannel("A").getextrema()[0] == 255:
            return over.convert("RGB")
        oddities.append("is transparent: laid on white")
        return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert("RGB")
    if mode in ("L", "1"):
        return image.convert("L")
    if mode == "P" and image.format != "GIF":  # every GIF has one
        oddities.append("has a palette, converted to RGB")
    if mode == "CMYK":
        oddities.append("is CMYK, converted to RGB")
    return image.convert("RGB") if mode != "RGB" else image


def _scaled(old: Size, size: Size, fit: Fit) -> Size:
    """The size that the whole picture has when it fits."""
    if fit == "squash":
        return size
    ratios = size[0] / old[0], size[1] / old[1]
    ratio = max(ratios) if fit == "crop" else min(ratios)
    return max(round(old[0] * ratio), 1), max(round(old[1] * ratio), 1)


def _resize(image: "Image.Image", size: Size, fit: Fit) -> "Image.Image":
    """The middle of the picture, all of it squashed, or all of it on black."""
    from PIL import Image

    if image.size == size:
        return image
    width, height = image.size
    if fit == "pad":
        inner = image.resize(_scaled(image.size, size, fit), Image.Resampling.BILINEAR, reducing_gap=GAP)
        canvas = Image.new(image.mode, size)
        canvas.paste(inner, ((size[0] - inner.width) // 2, (size[1] - inner.height) // 2))
        return canvas
    box = (0.0, 0.0, float(width), float(height))
    if fit == "crop":
        ratio = max(size[0] / width, size[1] / height)
        left, top = max((width - size[0] / ratio) / 2, 0), max((height - size[1] / ratio) / 2, 0)  # -1e-15 is refused
        box = (left, top, width - left, height - top)
    return image.resize(size, Image.Resampling.BILINEAR, box=box, reducing_gap=GAP)


def _what_instead(data: bytes) -> str:
    if not data:
        return "is empty (0 bytes)"
    if data[:4] in (b"II*\0", b"MM\0*"):
        return "is TIFF, which is not read: convert it to PNG"
    if data[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypavif"):
        return "is HEIC or AVIF, which is not read: convert it to JPEG"
    text = data[:HEAD].isascii() and data[:HEAD].decode("ascii").replace("\n", " ").isprintable()
    return "is not a picture (it holds text)" if text else "is not a picture"


def _reason(error: Exception) -> str:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, Image.DecompressionBombError):
        return "is too huge to decode (over 178 million pixels)"
    if isinstance(error, UnidentifiedImageError):
        return "is damaged: its header cannot be read"
    message = str(error).strip().splitlines()
    return f"is damaged: {message[0] if message else type(error).__name__}"
