"""Augmentation: of whole batches, on the device, every draw a function of (seed, epoch, place in the epoch)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from markone.spec import Spec

if TYPE_CHECKING:
    import torch


class Augmentation(Spec):
    """What is varied at random in the training part; everything is off unless set.

    Mirror and crop move pixels, so they act on the stored bytes while the batch is gathered; the rest acts on standardized values.
    """

    flip: bool = Field(False, description="mirror left-right with probability 1/2; off where it changes the label")
    crop: int | None = Field(None, ge=1, description="pixels of reflected border from which a crop of full size is cut")
    cutout: int | None = Field(None, ge=1, description="side in pixels of a square set to the mean (DeVries 2017)")
    brightness: float | None = Field(None, gt=0, le=2, description="largest shift, in standard deviations")
    contrast: float | None = Field(None, gt=0, lt=1, description="largest relative change about the picture's mean")
    colour: float | None = Field(None, gt=0, le=1, description="largest relative change of saturation")
    mixup: float | None = Field(None, gt=0, description="alpha of Beta(alpha, alpha): mixes pairs (Zhang 2018)")

    @property
    def moves_pixels(self) -> bool:
        return self.flip or self.crop is not None

    @property
    def needs_images(self) -> bool:
        return any((self.moves_pixels, self.cutout, self.brightness, self.contrast, self.colour))


@dataclass(frozen=True)
class Mix:
    """The partner of each row and the share that the row itself keeps (Zhang et al., "mixup", 2018)."""

    partner: "torch.Tensor"
    share: float


def gather(
    images: "torch.Tensor", rows: "torch.Tensor", spec: Augmentation, generator: "torch.Generator"
) -> "torch.Tensor":
    """Pictures ``rows`` of a store (n, height, width, channels), mirrored and cropped on the way.

    The crop's border is reflected by index arithmetic, so no padded copy is ever made.
    """
    import torch

    count, height, width = len(rows), images.shape[1], images.shape[2]
    device = images.device
    ys = torch.arange(height, device=device).expand(count, -1)
    xs = torch.arange(width, device=device).expand(count, -1)
    if spec.crop:
        shift = torch.randint(-spec.crop, spec.crop + 1, (2, count, 1), generator=generator, device=device)
        ys, xs = _reflect(ys + shift[0], height), _reflect(xs + shift[1], width)
    if spec.flip:
        mirrored = torch.rand(count, 1, generator=generator, device=device) < 0.5
        xs = torch.where(mirrored, width - 1 - xs, xs)
    return images[rows[:, None, None], ys[:, :, None], xs[:, None, :]]


def _reflect(index: "torch.Tensor", size: int) -> "torch.Tensor":
    """-1 -> 1, size -> size - 2: reflection without repeating the edge; a border wider than the picture reflects again."""
    if size == 1:
        return index.new_zeros(index.shape)
    period = 2 * (size - 1)
    index = index.remainder(period)
    return index.minimum(period - index)


def vary(inputs: "torch.Tensor", spec: Augmentation, generator: "torch.Generator") -> "torch.Tensor":
    """Brightness, contrast, colour and cutout of standardized pictures (n, channels, height, width)."""
    if spec.brightness:
        inputs = inputs + _uniform(inputs, spec.brightness, generator)
    if spec.contrast:
        mean = inputs.mean((1, 2, 3), keepdim=True)
        inputs = (inputs - mean) * (1 + _uniform(inputs, spec.contrast, generator)) + mean
    if spec.colour and inputs.shape[1] == 3:
        grey = inputs.mean(1, keepdim=True)
        inputs = (inputs - grey) * (1 + _uniform(inputs, spec.colour, generator)) + grey
    if spec.cutout:
        inputs = inputs.masked_fill(_squares(inputs, spec.cutout, generator), 0.0)
    return inputs


def mix(count: int, alpha: float, generator: "torch.Generator") -> Mix:
    """A random pairing and a share from Beta(alpha, alpha), drawn as X / (X + Y) with X, Y ~ Gamma(alpha)."""
    import numpy as np
    import torch

    partner = torch.randperm(count, generator=generator, device=generator.device)
    entropy = int(torch.randint(2**62, (1,), generator=torch.Generator().manual_seed(generator.initial_seed())))
    return Mix(partner=partner, share=float(np.random.default_rng(entropy).beta(alpha, alpha)))


def _uniform(inputs: "torch.Tensor", largest: float, generator: "torch.Generator") -> "torch.Tensor":
    import torch

    draw = torch.rand(len(inputs), 1, 1, 1, generator=generator, device=inputs.device)
    return (2 * draw - 1) * largest


def _squares(inputs: "torch.Tensor", side: int, generator: "torch.Generator") -> "torch.Tensor":
    """One square mask a picture (n, 1, height, width); its centre lies anywhere, so it may reach over the edge."""
    import torch

    count, _, height, width = inputs.shape
    centre = torch.rand(2, count, 1, generator=generator, device=inputs.device)
    y0, x0 = (centre[0] * height).floor() - side // 2, (centre[1] * width).floor() - side // 2
    ys = torch.arange(height, device=inputs.device)
    xs = torch.arange(width, device=inputs.device)
    inside_y = (ys >= y0) & (ys < y0 + side)
    inside_x = (xs >= x0) & (xs < x0 + side)
    return (inside_y[:, :, None] & inside_x[:, None, :])[:, None]
