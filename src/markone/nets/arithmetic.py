"""The arithmetic of convolutions: sizes of maps and receptive fields, along one side."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from markone.errors import SpecError


def conv_output(
    size: int, *, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1, ceil_mode: bool = False
) -> int:
    """floor((size - dilation (kernel - 1) - 1 + 2 padding) / stride) + 1, for convolution and pooling.

    With ``ceil_mode``, which pooling has, a last window may reach over the padded edge as long as it begins before the
    map's own end or inside the padding on its left. Raises SpecError with the smallest input that works if nothing is
    left.

    >>> conv_output(224, kernel=11, stride=4, padding=2)
    55
    >>> conv_output(6, kernel=3, stride=2), conv_output(6, kernel=3, stride=2, ceil_mode=True)
    (2, 3)
    """
    reach = dilation * (kernel - 1) + 1
    room = size - reach + 2 * padding
    output = room // stride + 1
    if ceil_mode and room % stride and output * stride < size + padding:
        output += 1
    if output < 1:
        raise SpecError(
            "map-too-small",
            f"a kernel of {kernel} (dilation {dilation}, padding {padding}) does not fit a map of {size}; "
            f"the smallest that works is {max(1, reach - 2 * padding)}.",
        )
    return output


def same_padding(*, kernel: int, dilation: int = 1) -> tuple[int, int]:
    """How many zeros padding "same" adds before and behind, so that with stride 1 the size stays: dilation (kernel - 1).

    The odd one goes behind, as torch has it.

    >>> same_padding(kernel=3), same_padding(kernel=4)
    ((1, 1), (1, 2))
    """
    zeros = dilation * (kernel - 1)
    return zeros // 2, zeros - zeros // 2


def transposed_output(
    size: int, *, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1, output_padding: int = 0
) -> int:
    """(size - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1, for transposed convolution.

    >>> transposed_output(7, kernel=4, stride=2, padding=1)
    14
    """
    output = (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1
    if output < 1:
        raise SpecError(
            "map-too-small",
            f"a transposed kernel of {kernel} (stride {stride}, padding {padding}) leaves nothing of a map of {size}.",
        )
    return output


class Window(NamedTuple):
    """One convolution or pooling along one side."""

    kernel: int
    stride: int = 1
    dilation: int = 1


class Field(NamedTuple):
    """What one output place sees: ``size`` input places; neighbours lie ``stride`` input places apart."""

    size: int
    stride: int


def receptive_field(windows: Iterable[Window]) -> Field:
    """size = 1 + sum_l dilation_l (kernel_l - 1) prod_{i < l} stride_i; stride = prod_l stride_l.

    >>> receptive_field([Window(3), Window(3)])
    Field(size=5, stride=1)
    """
    size, stride = 1, 1
    for window in windows:
        size += window.dilation * (window.kernel - 1) * stride
        stride *= window.stride
    return Field(size, stride)


@dataclass(frozen=True)
class Sight:
    """Which input places each place of a map sees along one side, through any graph of layers, padding not cut off.

    ``spans[q]`` are the first and last that place q sees, None if it sees nothing; place q + len(spans) sees those
    ``advance`` further. One span does unless something enlarged the map: then the places differ by phase. It is the
    recursion of ``receptive_field`` with both ends kept, so that paths may be joined (Araujo, Norris and Sim, Computing
    receptive fields of convolutional neural networks, 2019).
    """

    spans: tuple[tuple[int, int] | None, ...] = ((0, 0),)
    advance: int = 1

    @property
    def size(self) -> int:
        """How many input places lie between the ends, of the place that sees most."""
        return max((last - first + 1 for first, last in filter(None, self.spans)), default=0)

    @property
    def stride(self) -> Fraction:
        """Input places between neighbours: the effective stride; below 1 where the map is finer than the input."""
        return Fraction(self.advance, len(self.spans))

    def span(self, place: int) -> tuple[int, int] | None:
        """The first and last input place that a place sees."""
        turns, phase = divmod(place, len(self.spans))
        found = self.spans[phase]
        return found and (found[0] + turns * self.advance, found[1] + turns * self.advance)

    def through(self, taken: Callable[[int], Iterable[int]], *, moved: int = 1, period: int = 1) -> "Sight":
        """Behind a layer whose place q takes the places ``taken(q)``, and q + period those ``moved`` further."""
        turns = len(self.spans) // math.gcd(len(self.spans), moved)
        spans = tuple(_hull(map(self.span, taken(q))) for q in range(period * turns))
        return Sight(spans, turns * moved * self.advance // len(self.spans))

    def joined(self, other: "Sight") -> "Sight":
        """Of a sum or concatenation; where the two strides differ, so that they drift apart, the wider one."""
        if self.stride != other.stride:
            return max(self, other, key=lambda sight: sight.size)
        period = math.lcm(len(self.spans), len(other.spans))
        spans = tuple(_hull((self.span(q), other.span(q))) for q in range(period))
        return Sight(spans, self.advance * period // len(self.spans))

    def convolved(self, *, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> "Sight":
        """Behind a convolution or pooling."""
        return self.through(
            lambda q: range(q * stride - padding, q * stride - padding + dilation * (kernel - 1) + 1, dilation),
            moved=stride,
        )

    def transposed(self, *, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> "Sight":
        """Behind a transposed convolution: place q takes p where q = p stride - padding + dilation k, 0 <= k < kernel."""
        return self.through(
            lambda q: [
                (q + padding - dilation * k) // stride
                for k in range(kernel)
                if (q + padding - dilation * k) % stride == 0
            ],
            period=stride,
        )

    def resized(self, size: int, output: int, *, linear: bool = False, align_corners: bool = False) -> "Sight":
        """Behind resizing: place q takes floor(q size / output), or linearly the two around its centre (or corners')."""
        if not linear:
            return self._scaled(lambda q: (q * size // output,), size, output)
        if align_corners and output > 1:
            top, bottom = size - 1, output - 1
            return self._scaled(lambda q: _around(q * top, bottom), top, bottom)
        return self._scaled(lambda q: _around((2 * q + 1) * size - output, 2 * output), size, output)

    def adapted(self, size: int, output: int) -> "Sight":
        """Behind adaptive pooling: place q takes floor(q size / output) to ceil((q + 1) size / output) - 1."""
        return self._scaled(lambda q: range(q * size // output, -(-(q + 1) * size // output)), size, output)

    def _scaled(self, taken: Callable[[int], Iterable[int]], size: int, output: int) -> "Sight":
        common = math.gcd(size, output)
        return self.through(taken, moved=size // common, period=output // common)


def _hull(spans: Iterable[tuple[int, int] | None]) -> tuple[int, int] | None:
    found = list(filter(None, spans))
    return (min(first for first, _ in found), max(last for _, last in found)) if found else None


def _around(top: int, bottom: int) -> tuple[int, int]:
    """The places around top / bottom; the same twice where it is a place itself."""
    return top // bottom, -(-top // bottom)
