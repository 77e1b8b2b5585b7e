"""Picture probes: whether neighbouring pixels go together as laid out, and how far augmentation takes a picture away."""

from typing import TYPE_CHECKING

from markone.training.label_probes import embedded, neighbours

if TYPE_CHECKING:
    import torch

LEAST_SIDE = 8
MOST_ROWS = 256  # of which pixels are correlated
MOST_PIXELS = 1024  # all pairs of which are correlated
MOST_LAST = 4  # channels: a last axis so short is no width


def layout_fact(inputs: "torch.Tensor") -> dict[str, float | None] | None:
    """1 - the correlation of pixels beside each other: as given (n, channels, height, width), ``roughness``; of the same numbers in
    memory read as (height, width, channels), ``as_channels_last``; of permuted pixels, ``permuted``.

    ``nearest``: the median over pixels of the largest correlation with any other pixel, which no permutation changes.
    None for what are no pictures.
    """
    import torch

    if inputs.ndim != 4 or min(inputs.shape[1:]) < 1 or len(inputs) < 2:
        return None
    pictures = inputs[:MOST_ROWS].float().contiguous()
    count, channels, height, width = pictures.shape
    if width <= MOST_LAST < LEAST_SIDE <= min(channels, height):
        return {"channels_last": _roughness(pictures.permute(0, 3, 1, 2))}
    if min(height, width) < LEAST_SIDE:
        return None
    flat = pictures.reshape(count, channels, -1)
    draw = torch.randperm(flat.shape[2], generator=torch.Generator().manual_seed(0))
    read = pictures.view(count, height, width, channels).permute(0, 3, 1, 2) if channels > 1 else None
    return {
        "roughness": _roughness(pictures),
        "as_channels_last": None if read is None else _roughness(read),
        "permuted": _roughness(flat[:, :, draw].view(pictures.shape)),
        "nearest": _nearest(flat[:, 0]) if height * width <= MOST_PIXELS else None,
    }


def _roughness(pictures: "torch.Tensor") -> float | None:
    """Mean squared difference of neighbours over twice the variance: 0 where all is flat, 1 where neighbours know nothing of each other."""
    centred = pictures - pictures.mean((0, 2, 3), keepdim=True)
    variance = float(centred.square().mean())
    if variance == 0:
        return None
    steps = [float(centred.diff(dim=axis).square().mean()) for axis in (2, 3)]
    return sum(steps) / (4 * variance)


def _nearest(pixels: "torch.Tensor") -> float | None:
    """Of pixels (n, places): the median over the places that vary of the largest correlation with another place."""
    centred = pixels - pixels.mean(0)
    spread = centred.square().mean(0).sqrt()
    varies = spread > 0.05 * spread.max()
    if int(varies.sum()) < LEAST_SIDE**2 or len(pixels) < 2 * LEAST_SIDE:
        return None
    unit = centred[:, varies] / spread[varies]
    together = unit.T @ unit / len(unit)
    return float(together.fill_diagonal_(-1).amax(1).median())


def augmentation_fact(
    inputs: "torch.Tensor", augmented: "torch.Tensor", targets: "torch.Tensor | None"
) -> dict[str, float | None] | None:
    """How far augmentation takes a row, over the distance to another row, in the median; the classes of the nearest neighbours.

    ``agreement``: of the nearest rows as they are with a row's class; ``augmented``: with that of the row after augmentation.
    """
    import torch

    both = embedded(torch.cat((inputs, augmented)))
    if both is None or len(inputs) < 2:
        return None
    before, after = both.split(len(inputs))
    moved = (after - before).norm(dim=1)
    apart = (before - before.roll(1, 0)).norm(dim=1)
    found: dict[str, float | None] = {
        "distance": float(moved.median() / apart.median().clamp_min(1e-12)),
        "agreement": None,
        "augmented": None,
        "chance": None,
    }
    if targets is not None and not targets.is_floating_point() and targets.ndim == 1:
        own = targets.unique(return_inverse=True)[1]
        found["chance"] = float(own.bincount().max() / len(own))
        for name, given in (("agreement", before), ("augmented", after)):
            near = own[neighbours(given, before)]
            found[name] = float((near.mode(1).values == own).double().mean())
    return found
