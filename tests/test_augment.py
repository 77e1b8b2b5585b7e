"""Augmentation: what each kind may change and what it must not, against slow references."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from markone.data.augment import Augmentation, mix, move, reflect, vary
from markone.seeds import torch_generator

sizes = st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9), st.sampled_from((1, 3, 4)))


def numbered(count: int, height: int, width: int, channels: int) -> torch.Tensor:
    """Pictures in which every number tells its place: picture x 10^6 + line x 10^4 + column x 100 + channel."""
    axes = (torch.arange(size) for size in (count, height, width, channels))
    picture, line, column, channel = torch.meshgrid(*axes, indexing="ij")
    return picture * 10**6 + line * 10**4 + column * 100 + channel


def standardized(count: int = 6, channels: int = 3, height: int = 8, width: int = 10, seed: int = 0) -> torch.Tensor:
    """Pictures as a Normalizer gives them: (n, channels, height, width), channels last in memory."""
    shape = (count, height, width, channels)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).permute(0, 3, 1, 2)


def generator(seed: int = 0) -> torch.Generator:
    return torch_generator(seed, "augment")


def slowly_moved(pictures: torch.Tensor, crop: int, mirrored: bool, down: int, right: int) -> torch.Tensor:
    """One picture (height, width, channels), mirrored or not, then moved inside NumPy's own reflected border."""
    picture = pictures.flip(1) if mirrored else pictures
    padded = np.pad(picture.numpy(), ((crop, crop), (crop, crop), (0, 0)), mode="reflect")
    height, width, _ = picture.shape
    return torch.from_numpy(padded[crop + down : crop + down + height, crop + right : crop + right + width])


def moves_of(moved: torch.Tensor, spec: Augmentation) -> list[set[tuple[bool, int, int]]]:
    """For each of the moved numbered pictures every (mirrored, down, right) that explains it by the slow reference."""
    border, (count, *size) = spec.crop or 0, moved.shape
    shifts = range(-border, border + 1)
    tried = [(m, d, r) for m in ((False, True) if spec.flip else (False,)) for d in shifts for r in shifts]
    first = numbered(1, *size)[0]
    references = torch.stack([slowly_moved(first, border, *each) for each in tried])
    in_first = moved - torch.arange(count)[:, None, None, None] * 10**6
    explained = (in_first[:, None] == references).flatten(2).all(2)
    return [{each for each, fits in zip(tried, row, strict=True) if fits} for row in explained.tolist()]


@given(sizes, st.booleans(), st.none() | st.integers(1, 12), st.integers(0, 10**6))
@settings(deadline=None, max_examples=50)
def test_a_moved_picture_is_a_crop_of_its_mirror_image(
    size: tuple[int, int, int, int], flip: bool, crop: int | None, seed: int
) -> None:
    """Every pixel comes from its own picture, and all of them by one move: any size, any border, wider than the picture too."""
    pictures, spec = numbered(*size), Augmentation(flip=flip, crop=crop)
    before = pictures.clone()
    moved = move(pictures, spec, generator(seed))
    assert torch.equal(pictures, before), "the input is left as it was"
    assert moved.shape == pictures.shape
    assert moved.dtype == pictures.dtype
    assert moved.is_contiguous()
    assert all(moves_of(moved, spec))


def test_moves_are_drawn_evenly() -> None:
    """Each of the 2 x 3 x 3 moves as often as the others: chi-square over 18 cells below its 99.99 % point."""
    pictures, spec = numbered(3600, 4, 5, 1), Augmentation(flip=True, crop=1)
    found = [only for (only,) in moves_of(move(pictures, spec, generator()), spec)]
    counts = np.array([found.count(each) for each in sorted(set(found))])
    assert len(counts) == 18
    assert ((counts - 200) ** 2 / 200).sum() < 49.6


def test_a_crop_with_zero_shift_is_the_picture() -> None:
    pictures = numbered(200, 4, 5, 3)
    moved = move(pictures, Augmentation(crop=1), generator())
    for explanations, before, after in zip(moves_of(moved, Augmentation(crop=1)), pictures, moved, strict=True):
        assert torch.equal(before, after) == ((False, 0, 0) in explanations)
    assert torch.equal(move(pictures, Augmentation(), generator()), pictures)


def test_two_flips_are_none_or_one() -> None:
    """A mirror image mirrored is the picture: twice flipped pictures are again mirrored half of the time."""
    pictures, spec = numbered(2000, 3, 4, 1), Augmentation(flip=True)
    once = move(pictures, spec, generator(1))
    twice = move(once, spec, generator(2))
    mirrored = (twice == pictures.flip(2)).all((1, 2, 3))
    assert ((twice == pictures).all((1, 2, 3)) ^ mirrored).all()
    for share in (mirrored.float().mean(), (once != pictures).any(3).any(2).any(1).float().mean()):
        assert abs(float(share) - 0.5) < 4 * 0.5 / 2000**0.5
    same = move(move(pictures, spec, generator(1)), spec, generator(1))
    assert torch.equal(same, pictures)


@given(st.integers(-50, 50), st.integers(1, 9))
def test_reflect_is_numpys(index: int, size: int) -> None:
    expected = np.pad(np.arange(size), 50, mode="reflect")[50 + index] if -50 <= index < size + 50 else None
    if expected is not None:
        assert int(reflect(torch.tensor([index]), size)) == expected


EVERYTHING = Augmentation(brightness=0.3, contrast=0.4, colour=0.5, cutout=3)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(
    "spec",
    [
        EVERYTHING,
        Augmentation(brightness=0.3),
        Augmentation(contrast=0.4),
        Augmentation(colour=0.5),
        Augmentation(cutout=3),
        Augmentation(),
    ],
    ids=lambda spec: "+".join(name for name, value in spec if value) or "off",
)
def test_vary_is_a_function_of_input_and_generator(channels: int, spec: Augmentation) -> None:
    inputs = standardized(channels=channels)
    before = inputs.clone()
    first, second, other = (vary(inputs, spec, generator(seed)) for seed in (5, 5, 6))
    assert torch.equal(first, second)
    assert torch.equal(inputs, before), "the input is left as it was"
    assert first.shape == inputs.shape
    assert first.dtype == torch.float32
    assert first.is_contiguous(memory_format=torch.channels_last)
    active = spec.brightness or spec.contrast or spec.cutout or (spec.colour and channels == 3)
    assert torch.equal(first, other) == (not active)
    planar = vary(inputs.contiguous(), spec, generator(5))
    torch.testing.assert_close(planar, first, rtol=1e-6, atol=1e-6)


def test_brightness_adds_one_number_a_picture() -> None:
    inputs = standardized(count=500)
    shift = vary(inputs, Augmentation(brightness=0.3), generator()) - inputs
    per_picture = shift.flatten(1).mean(1)
    torch.testing.assert_close(shift, per_picture[:, None, None, None].expand_as(shift), atol=2e-6, rtol=0)
    assert_uniform(per_picture, 0.3)


def test_contrast_stretches_about_the_mean_of_the_picture() -> None:
    inputs = standardized(count=500)
    outputs = vary(inputs, Augmentation(contrast=0.4), generator())
    means = [x.flatten(1).mean(1) for x in (inputs, outputs)]
    torch.testing.assert_close(*means, atol=2e-6, rtol=0)
    factor = outputs.flatten(1).std(1) / inputs.flatten(1).std(1)
    expected = means[0][:, None] + factor[:, None] * (inputs.flatten(1) - means[0][:, None])
    torch.testing.assert_close(outputs.flatten(1), expected, atol=5e-6, rtol=0)
    assert_uniform(factor - 1, 0.4)


def test_colour_keeps_the_grey_and_scales_the_rest() -> None:
    inputs = standardized(count=500)
    outputs = vary(inputs, Augmentation(colour=0.5), generator())
    grey = inputs.mean(1, keepdim=True)
    torch.testing.assert_close(outputs.mean(1, keepdim=True), grey, atol=2e-6, rtol=0)
    factor = (outputs - grey).flatten(1).norm(dim=1) / (inputs - grey).flatten(1).norm(dim=1)
    torch.testing.assert_close(outputs, grey + factor[:, None, None, None] * (inputs - grey), atol=5e-6, rtol=0)
    assert_uniform(factor - 1, 0.5)
    flat = inputs.mean(1, keepdim=True).expand_as(inputs)
    torch.testing.assert_close(vary(flat, Augmentation(colour=1.0), generator()), flat, atol=1e-6, rtol=0)


def assert_uniform(draws: torch.Tensor, largest: float) -> None:
    """Within +-largest, to the edges of it, and with the mean and the deviation of U(-largest, largest)."""
    scaled = draws / largest
    assert float(scaled.abs().max()) < 1 + 1e-4
    assert float(scaled.max()) > 0.97
    assert float(scaled.min()) < -0.97
    assert abs(float(scaled.mean())) < 4 * 3**-0.5 / len(draws) ** 0.5
    assert abs(float(scaled.std()) - 3**-0.5) < 0.05


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 15), st.integers(0, 10**6))
@settings(deadline=None)
def test_cutout_is_one_square_of_zeros(height: int, width: int, side: int, seed: int) -> None:
    """A rectangle of its full size, or less at the edges, in all channels; everything else as it was."""
    inputs = standardized(count=4, height=height, width=width).abs() + 1
    outputs = vary(inputs, Augmentation(cutout=side), generator(seed))
    cut = (outputs == 0).all(1)
    assert torch.equal(cut, (outputs == 0).any(1)), "all channels alike"
    assert torch.equal(torch.where(cut[:, None], inputs, outputs), inputs)
    for mask in cut:
        lines, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
        assert int(mask.sum()) == len(lines) * len(columns) > 0, "a rectangle"
        for place, size in ((lines, height), (columns, width)):
            first, last = int(place[0]), int(place[-1])
            assert last - first + 1 == len(place)
            inside = first > 0 and last < size - 1
            assert len(place) == side if inside else len(place) <= side


def test_cutout_reaches_every_pixel() -> None:
    inputs = torch.ones(3000, 1, 6, 7)
    share = (vary(inputs, Augmentation(cutout=3), generator()) == 0).float().mean(0)[0]
    assert (share > 0).all()
    middle = share[1:-1, 1:-1]
    assert (middle - 9 / 42).abs().max() < 5 * (9 / 42 * 33 / 42 / 3000) ** 0.5


@given(st.integers(1, 50), st.floats(0, exclude_min=True, allow_infinity=False), st.integers(0, 10**6))
@settings(deadline=None)
def test_mix_pairs_everybody_once(count: int, alpha: float, seed: int) -> None:
    pairing, again = (mix(count, alpha, generator(seed)) for _ in range(2))
    assert sorted(pairing.partner.tolist()) == list(range(count))
    assert 0 <= pairing.share <= 1
    assert pairing.share == again.share
    assert torch.equal(pairing.partner, again.partner)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_the_share_is_beta(alpha: float) -> None:
    """Symmetric about 1/2, with the variance 1 / (4 (2 alpha + 1))."""
    shares = np.array([mix(4, alpha, generator(seed)).share for seed in range(3000)])
    variance = 1 / (4 * (2 * alpha + 1))
    assert abs(shares.mean() - 0.5) < 4 * (variance / 3000) ** 0.5
    assert abs(shares.var() / variance - 1) < 0.12
    edges = np.linspace(0.05, 0.45, 5)
    low, high = (np.searchsorted(np.sort(values), edges) / 3000 for values in (shares, 1 - shares))
    assert abs(low - high).max() < 0.05


@pytest.mark.parametrize("shape", ["pictures", "rows"])
def test_blend(shape: str) -> None:
    inputs = standardized() if shape == "pictures" else torch.randn(6, 4)
    before = inputs.clone()
    pairing = mix(6, 1.0, generator())
    blended = pairing.blend(inputs)
    torch.testing.assert_close(blended, pairing.share * inputs + (1 - pairing.share) * inputs[pairing.partner])
    assert torch.equal(inputs, before)
    assert blended.stride() == inputs.stride(), "the memory format is kept"


@pytest.mark.parametrize(
    ("options", "moves", "needs"),
    [
        ({}, False, False),
        ({"flip": True}, True, True),
        ({"crop": 2}, True, True),
        ({"cutout": 2}, False, True),
        ({"brightness": 0.1}, False, True),
        ({"contrast": 0.1}, False, True),
        ({"colour": 0.1}, False, True),
        ({"mixup": 0.2}, False, False),
    ],
)
def test_what_needs_images(options: dict[str, Any], moves: bool, needs: bool) -> None:
    spec = Augmentation(**options)
    assert (spec.moves_pixels, spec.needs_images) == (moves, needs)


CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@CUDA
@pytest.mark.parametrize("act", [move, vary])
def test_on_the_device(act: Callable[..., torch.Tensor]) -> None:
    inputs = numbered(5, 6, 7, 3) if act is move else standardized()
    spec = Augmentation(flip=True, crop=2) if act is move else EVERYTHING
    draw = lambda: torch_generator(0, "augment", device="cuda")  # noqa: E731
    first, second = (act(inputs.cuda(), spec, draw()) for _ in range(2))
    assert first.device.type == "cuda"
    assert torch.equal(first, second)
    if act is move:
        assert all(moves_of(first.cpu(), spec))
