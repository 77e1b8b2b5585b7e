"""The arithmetic of convolutions: sizes of maps and receptive fields, along one side."""

from collections.abc import Iterable
from typing import NamedTuple

from markone.errors import SpecError


def conv_output(size: int, *, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """floor((size - dilation (kernel - 1) - 1 + 2 padding) / stride) + 1, for convolution and pooling.

    Raises SpecError with the smallest input that works if nothing is left.

    >>> conv_output(224, kernel=11, stride=4, padding=2)
    55
    """
    reach = dilation * (kernel - 1) + 1
    output = (size - reach + 2 * padding) // stride + 1
    if output < 1:
        raise SpecError(
            "map-too-small",
            f"a kernel of {kernel} (dilation {dilation}, padding {padding}) does not fit a map of {size}; "
            f"the smallest that works is {max(1, reach - 2 * padding)}.",
        )
    return output


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
