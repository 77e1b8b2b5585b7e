"""Transposed convolution: that it is the adjoint of convolution, and where its output is summed unevenly."""

import doctest
from typing import NamedTuple

import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from markone.nets import overlap as module
from markone.nets.arithmetic import conv_output, transposed_output
from markone.nets.overlap import overlap


class Setting(NamedTuple):
    """A convolution with its own size, stride, padding and dilation for each side, as torch takes them."""

    samples: int
    groups: int
    inputs: int  # channels of one group
    outputs: int
    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    @property
    def fits(self) -> bool:
        """Whether the kernel has a place in the padded map."""
        sides = zip(self.size, self.kernel, self.padding, self.dilation, strict=True)
        return all(size + 2 * padding > dilation * (kernel - 1) for size, kernel, padding, dilation in sides)


def pair(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


convolutions = st.builds(
    Setting,
    samples=st.integers(1, 3),
    groups=st.integers(1, 3),
    inputs=st.integers(1, 3),
    outputs=st.integers(1, 3),
    size=pair(1, 12),
    kernel=pair(1, 5),
    stride=pair(1, 4),
    padding=pair(0, 3),
    dilation=pair(1, 3),
)


@given(convolutions, st.integers(0, 2**31))
@example(Setting(2, 2, 3, 2, (11, 8), (3, 4), (2, 3), (1, 2), (2, 1)), 0)
@settings(deadline=None, max_examples=200)
def test_it_is_the_adjoint_of_convolution(s: Setting, seed: int) -> None:
    """<conv(x), y> = <x, conv_T(y)> to 1e-12 of |conv(x)| |y|, the scale of the sums (Cauchy and Schwarz)."""
    assume(s.fits)
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(s.samples, s.groups * s.inputs, *s.size, generator=random, dtype=torch.float64)
    weight = torch.randn(s.groups * s.outputs, s.inputs, *s.kernel, generator=random, dtype=torch.float64)
    there = functional.conv2d(x, weight, None, s.stride, s.padding, s.dilation, s.groups)
    y = torch.randn(there.shape, generator=random, dtype=torch.float64)
    # places at the far edge that no stride reaches are not in conv(x); output_padding gives them back, as zeros
    sides = list(zip(there.shape[2:], s.kernel, s.stride, s.padding, s.dilation, strict=True))
    short = [
        size - ((place - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1)
        for size, (place, kernel, stride, padding, dilation) in zip(s.size, sides, strict=True)
    ]
    assert all(0 <= left < stride for left, stride in zip(short, s.stride, strict=True))
    back = functional.conv_transpose2d(y, weight, None, s.stride, s.padding, short, s.groups, s.dilation)
    assert back.shape == x.shape
    left, right = float((there * y).sum()), float((x * back).sum())
    scale = max(float(there.norm() * y.norm()), float(x.norm() * back.norm()))
    assert abs(left - right) <= 1e-12 * scale


@given(convolutions)
@settings(deadline=None)
def test_the_sizes_are_those_of_the_arithmetic(s: Setting) -> None:
    """And convolution of what a transposed one made has the size that it began with."""
    assume(s.fits)
    there = functional.conv2d(
        torch.zeros(1, 1, *s.size), torch.zeros(1, 1, *s.kernel), None, s.stride, s.padding, s.dilation
    )
    lines = zip(s.size, s.kernel, s.stride, s.padding, s.dilation, there.shape[2:], strict=True)
    for size, kernel, stride, padding, dilation, found in lines:
        assert found == conv_output(size, kernel=kernel, stride=stride, padding=padding, dilation=dilation)
        if dilation * (kernel - 1) >= 2 * padding:
            large = transposed_output(size, kernel=kernel, stride=stride, padding=padding, dilation=dilation)
            assert conv_output(large, kernel=kernel, stride=stride, padding=padding, dilation=dilation) == size


sides = st.fixed_dictionaries(
    {
        "kernel": st.integers(1, 8),
        "stride": st.integers(1, 6),
        "padding": st.integers(0, 3),
        "dilation": st.integers(1, 3),
    }
)


@given(st.integers(1, 12), sides)
@settings(deadline=None)
def test_overlap_is_what_ones_give(size: int, side: dict[str, int]) -> None:
    """The second implementation is torch: a map of ones and a kernel of ones."""
    assume((size - 1) * side["stride"] - 2 * side["padding"] + side["dilation"] * (side["kernel"] - 1) >= 0)
    ones = functional.conv_transpose1d(
        torch.ones(1, 1, size, dtype=torch.float64),
        torch.ones(1, 1, side["kernel"], dtype=torch.float64),
        stride=side["stride"],
        padding=side["padding"],
        dilation=side["dilation"],
    )
    assert list(overlap(size, **side)) == ones.flatten().tolist()


@given(kernel=st.integers(1, 16), stride=st.integers(1, 8))
@settings(deadline=None, max_examples=200)
def test_overlap_is_even_if_and_only_if_the_stride_divides_the_kernel(kernel: int, stride: int) -> None:
    """In the interior: from the first place that the kernel reaches from all sides to the last, some periods of the stride."""
    size = 2 * -(-kernel // stride) + 4
    counts = overlap(size, kernel=kernel, stride=stride)
    interior = counts[kernel - 1 : -(kernel - 1) or None] if kernel > 1 else counts[: (size - 1) * stride + 1]
    assert len(interior) > 2 * stride
    assert (len(set(interior)) == 1) == (kernel % stride == 0)
    if kernel % stride == 0:
        assert set(interior) == {kernel // stride}
    assert all(a == b for a, b in zip(interior, interior[stride:], strict=False))


def test_two_sides_multiply() -> None:
    """In two dimensions the grid of one side meets the other's: the checkerboard."""
    ones = functional.conv_transpose2d(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 3, 3), stride=2)[0, 0]
    line = torch.tensor(overlap(4, kernel=3, stride=2), dtype=torch.float32)
    assert torch.equal(ones, line.outer(line))


def test_examples() -> None:
    assert doctest.testmod(module).failed == 0


def test_nothing_left_is_an_error() -> None:
    from markone.errors import SpecError

    with pytest.raises(SpecError, match="leaves nothing of a map of 1"):
        overlap(1, kernel=2, stride=2, padding=1)
