"""Augmentation: of whole batches, on the device, every draw a function of (seed, epoch, place in the epoch)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from markone.spec import Spec

if TYPE_CHECKING:
    import torch


class Augmentation(Spec):
    """What is varied at random in the training part; everything is off unless set.

    Mirror and crop move pixels, so they act on the stored bytes; the rest acts on standardized values.
    """

    flip: bool = Field(False, description="mirror left-right with probability 1/2; off where it changes the label")
    crop: int | None = Field(
        None, ge=1, le=1024, description="pixels of reflected border from which a crop of full size is cut"
    )
    cutout: int | None = Field(
        None, ge=1, le=1024, description="side of a square of pixels set to 0, the standardized mean (DeVries 2017)"
    )
    brightness: float | None = Field(None, gt=0, le=2, description="largest shift, in standard deviations")
    contrast: float | None = Field(None, gt=0, lt=1, description="largest relative change about the picture's mean")
    colour: float | None = Field(None, gt=0, le=1, description="largest relative change of saturation")
    mixup: float | None = Field(None, gt=0, description="alpha of Beta(alpha, alpha): mixes pairs (Zhang 2018)")

    @property
    def moves_pixels(self) -> bool:
        return self.flip or self.crop is not None

    @property
    def varies_values(self) -> bool:
        return any((self.brightness, self.contrast, self.colour, self.cutout))

    @property
    def needs_images(self) -> bool:
        return self.moves_pixels or self.varies_values


@dataclass(frozen=True)
class Mix:
    """The partner of each row and the share that the row itself keeps (Zhang et al., "mixup", 2018)."""

    partner: "torch.Tensor"
    share: float

    def blend(self, inputs: "torch.Tensor") -> "torch.Tensor":
        """share x + (1 - share) x[partner], in the memory format of x (n, channels, ...)."""
        others = inputs.movedim(1, -1).index_select(0, self.partner).movedim(-1, 1)
        return others.lerp_(inputs, self.share)


def move(pictures: "torch.Tensor", spec: Augmentation, generator: "torch.Generator") -> "torch.Tensor":
    """Pictures (n, height, width, channels), mirrored and cropped.

    Behind a border of reflection a line of w pixels goes on as a ring of 2 (w - 1), and its mirror image is the same ring,
    half a turn on. So the mirrored and shifted lines are windows of rings, and the batch is one gather of whole windows.
    """
    import torch

    count, height, width, channels = pictures.shape
    half = max(1, width - 1)
    mirrored = pictures.flip(2)
    sides = [side.reshape(count * height, -1)[:, : half * channels] for side in (mirrored, pictures, mirrored)]
    rings = torch.cat(sides, dim=1)
    windows = rings.as_strided((rings.numel() // channels - width + 1, width * channels), (channels, 1))
    lines, starts = _draw_moves(count, height, half, spec, generator)
    picture = torch.arange(0, count * height, height, device=pictures.device)
    first = (picture[:, None] + lines) * (3 * half) + starts[:, None]
    return windows.index_select(0, first.flatten()).view(pictures.shape)


def move_both(
    pictures: "torch.Tensor", targets: "torch.Tensor", spec: Augmentation, generator: "torch.Generator"
) -> "tuple[torch.Tensor, torch.Tensor]":
    """Pictures moved, and with them their masks (n, height, width) where targets are such, as one channel more."""
    import torch

    if targets.ndim < 3:
        return move(pictures, spec, generator), targets
    moved = move(torch.cat((pictures, targets.unsqueeze(3)), dim=3), spec, generator)
    return moved[..., :-1], moved[..., -1]


def _draw_moves(
    count: int, height: int, half: int, spec: Augmentation, generator: "torch.Generator"
) -> "tuple[torch.Tensor, torch.Tensor]":
    """Of each picture the lines (n, height) that it shows, and where its window in their rings starts (n,)."""
    import torch

    device, border = generator.device, spec.crop or 0
    down, right = torch.randint(-border, border + 1, (2, count), generator=generator, device=device)
    starts = right + half
    if spec.flip:
        starts += half * (torch.rand(count, generator=generator, device=device) < 0.5)
    lines = reflect(torch.arange(-border, height + border, device=device), height).unfold(0, height, 1)
    return lines.index_select(0, down + border), starts.remainder(2 * half)


def reflect(index: "torch.Tensor", size: int) -> "torch.Tensor":
    """-1 -> 1, size -> size - 2: reflection without repeating the edge; a border wider than the picture reflects again."""
    period = max(1, 2 * (size - 1))
    index = index.remainder(period)
    return index.minimum(period - index) if size > 1 else index


def vary(inputs: "torch.Tensor", spec: Augmentation, generator: "torch.Generator") -> "torch.Tensor":
    """Brightness, contrast, colour and cutout of standardized pictures (n, channels, height, width); channels last in memory."""
    import torch

    count, channels, height, width = inputs.shape
    flat = inputs.permute(0, 2, 3, 1).reshape(count, -1)  # one long line a picture: broadcasting a few channels is slow
    if spec.brightness:
        flat = flat + _uniform(count, spec.brightness, generator)
    if spec.contrast:
        mean = flat.mean(1, keepdim=True)
        flat = torch.lerp(mean, flat, 1 + _uniform(count, spec.contrast, generator))
    if spec.colour and channels == 3:
        red, green, blue = flat.view(count, -1, 3).unbind(2)
        grey = ((red + green + blue) / 3).repeat_interleave(3, dim=1)
        flat = torch.lerp(grey, flat, 1 + _uniform(count, spec.colour, generator))
    if spec.cutout:
        rows, columns = _squares(count, height, width, spec.cutout, generator)
        flat = flat.view(count, height, -1) * (
            1 - rows[:, :, None] * columns.repeat_interleave(channels, dim=1)[:, None]
        )
    return flat.view(count, height, width, channels).permute(0, 3, 1, 2)


def _uniform(count: int, largest: float, generator: "torch.Generator") -> "torch.Tensor":
    """One number of U(-largest, largest) a picture, (n, 1)."""
    import torch

    return (2 * torch.rand(count, 1, generator=generator, device=generator.device) - 1) * largest


def _squares(
    count: int, height: int, width: int, side: int, generator: "torch.Generator"
) -> "tuple[torch.Tensor, torch.Tensor]":
    """A square a picture: 1 in its rows (n, height) and its columns (n, width), 0 elsewhere.

    Its centre lies anywhere in the picture, so it may reach over the edge.
    """
    import torch

    centre = torch.rand(2, count, 1, generator=generator, device=generator.device)

    def inside(where: "torch.Tensor", size: int) -> "torch.Tensor":
        first = (where * size).floor() - side // 2
        place = torch.arange(size, device=generator.device)
        return ((place >= first) & (place < first + side)).float()

    return inside(centre[0], height), inside(centre[1], width)


def mix(count: int, alpha: float, generator: "torch.Generator") -> Mix:
    """A random pairing and a share from Beta(alpha, alpha).

    The share is a number on the host, so it is drawn there from the generator's seed: no waiting for the device.
    """
    import numpy as np
    import torch

    partner = torch.randperm(count, generator=generator, device=generator.device)
    return Mix(partner, float(np.random.default_rng(generator.initial_seed()).beta(alpha, alpha)))
