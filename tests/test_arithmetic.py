"""The arithmetic of windows against torch: sizes, and which input places an output place depends on."""

from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from markone.errors import SpecError
from markone.nets.arithmetic import Sight, Window, conv_output, receptive_field, same_padding, transposed_output

LENGTH = 96

sizes = st.integers(1, 30)
kernels, strides, dilations = st.integers(1, 5), st.integers(1, 4), st.integers(1, 3)


def length_of(run: Callable[[], Tensor]) -> int | None:
    """The length that torch gives, None where it refuses."""
    try:
        return run().shape[2]
    except RuntimeError:
        return None


def computed(run: Callable[[], int]) -> int | None:
    try:
        return run()
    except SpecError:
        return None


@settings(deadline=None, max_examples=60)
@given(sizes, kernels, strides, st.integers(0, 4), dilations)
def test_convolution(size: int, kernel: int, stride: int, padding: int, dilation: int) -> None:
    x, weight = torch.zeros(1, 1, size), torch.zeros(1, 1, kernel)
    wanted = length_of(lambda: functional.conv1d(x, weight, None, stride, padding, dilation))
    assert wanted == computed(
        lambda: conv_output(size, kernel=kernel, stride=stride, padding=padding, dilation=dilation)
    )


@settings(deadline=None, max_examples=60)
@given(sizes, kernels, strides, st.integers(0, 2), dilations, st.booleans())
def test_pooling(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> None:
    padding = min(padding, kernel // 2)  # torch pools with no more
    x = torch.zeros(1, 1, size)
    wanted = length_of(lambda: functional.max_pool1d(x, kernel, stride, padding, dilation, ceil_mode))
    assert wanted == computed(
        lambda: conv_output(size, kernel=kernel, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode)
    )


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@settings(deadline=None)
@given(kernels, dilations)
def test_padding_same(kernel: int, dilation: int) -> None:
    """The place of the one weight that is not zero tells how much went before."""
    before, behind = same_padding(kernel=kernel, dilation=dilation)
    x = torch.arange(1.0, 21).reshape(1, 1, 20)
    weight = torch.zeros(1, 1, kernel)
    weight[0, 0, 0] = 1
    found = functional.conv1d(x, weight, padding="same", dilation=dilation)
    assert torch.equal(found, functional.conv1d(functional.pad(x, (before, behind)), weight, dilation=dilation))
    assert found.shape == x.shape


@settings(deadline=None, max_examples=60)
@given(sizes, kernels, strides, st.integers(0, 3), dilations, st.integers(0, 3))
def test_transposed_convolution(
    size: int, kernel: int, stride: int, padding: int, dilation: int, output_padding: int
) -> None:
    output_padding = min(output_padding, max(stride, dilation) - 1)  # torch takes no more
    x, weight = torch.zeros(1, 1, size), torch.zeros(1, 1, kernel)
    wanted = length_of(
        lambda: functional.conv_transpose1d(x, weight, None, stride, padding, output_padding, 1, dilation)
    )
    found = computed(
        lambda: transposed_output(
            size, kernel=kernel, stride=stride, padding=padding, dilation=dilation, output_padding=output_padding
        )
    )
    assert (wanted or None) == found  # torch gives an empty map where nothing is left


Step = tuple[Callable[[Tensor], Tensor], Callable[[Sight, int, int], Sight]]


@st.composite
def steps(draw: st.DrawFn) -> Step:
    """A layer along one side as torch computes it, all weights one, and as ``Sight`` follows it (sight, size, output)."""
    kernel, stride, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    padding, weight = draw(st.integers(0, kernel // 2)), torch.ones(1, 1, kernel, 1)
    match draw(st.sampled_from(["convolved", "transposed", "nearest", "linear", "corners", "pooled", "adapted"])):
        case "convolved":
            return (
                lambda x: functional.conv2d(x, weight, None, (stride, 1), (padding, 0), (dilation, 1)),
                lambda sight, _size, _output: sight.convolved(
                    kernel=kernel, stride=stride, padding=padding, dilation=dilation
                ),
            )
        case "transposed":
            return (
                lambda x: functional.conv_transpose2d(x, weight, None, (stride, 1), (padding, 0), 0, 1, (dilation, 1)),
                lambda sight, _size, _output: sight.transposed(
                    kernel=kernel, stride=stride, padding=padding, dilation=dilation
                ),
            )
        case "nearest":
            return (
                lambda x: functional.interpolate(x, (x.shape[2] * stride, 1)),
                lambda sight, size, output: sight.resized(size, output),
            )
        case "linear":
            return (
                lambda x: functional.interpolate(x, (x.shape[2] * 3 // 2, 1), mode="bilinear"),
                lambda sight, size, output: sight.resized(size, output, linear=True),
            )
        case "corners":
            return (
                lambda x: functional.interpolate(x, (x.shape[2] * 2, 1), mode="bilinear", align_corners=True),
                lambda sight, size, output: sight.resized(size, output, linear=True, align_corners=True),
            )
        case "pooled":
            return (
                lambda x: functional.avg_pool2d(x, (kernel, 1), (stride, 1), (padding, 0)),
                lambda sight, _size, _output: sight.convolved(kernel=kernel, stride=stride, padding=padding),
            )
    return (
        lambda x: functional.adaptive_avg_pool2d(x, (max(1, x.shape[2] * 2 // 3), 1)),
        lambda sight, size, output: sight.adapted(size, output),
    )


@settings(deadline=None, max_examples=40)
@given(st.lists(steps(), min_size=1, max_size=4))
def test_sight_is_where_the_gradient_is(layers: list[Step]) -> None:
    """In the middle, where no border cuts it off: the first and the last input place whose gradient is not zero."""
    compared(layers)


def test_sight_of_an_encoder_and_decoder() -> None:
    down, up = torch.ones(1, 1, 3, 1), torch.ones(1, 1, 4, 1)
    layers: list[Step] = [
        (
            lambda x: functional.conv2d(x, down, None, (2, 1), (1, 0)),
            lambda sight, _size, _output: sight.convolved(kernel=3, stride=2, padding=1),
        ),
        (
            lambda x: functional.conv_transpose2d(x, up, None, (2, 1), (1, 0)),
            lambda sight, _size, _output: sight.transposed(kernel=4, stride=2, padding=1),
        ),
    ]
    assert compared([*layers, *layers, layers[0]]) == 7


def compared(layers: list[Step]) -> int:
    """How many places were compared, of the seven in the middle."""
    count = 0
    x = torch.ones(1, 1, LENGTH, 1, requires_grad=True)
    y, sight = x, Sight()
    for run, follow in layers:
        size = y.shape[2]
        y = run(y)
        sight = follow(sight, size, y.shape[2])
    middle = y.shape[2] // 2
    for place in range(middle - 3, middle + 4):
        span = sight.span(place) if 0 <= place < y.shape[2] else None
        if span is None or span[0] < LENGTH // 4 or span[1] >= LENGTH * 3 // 4:
            continue
        (gradient,) = torch.autograd.grad(y[0, 0, place, 0], x, retain_graph=True)
        seen = gradient[0, 0, :, 0].nonzero().flatten()
        assert (int(seen[0]), int(seen[-1])) == span
        count += 1
    return count


@given(st.lists(st.builds(Window, kernels, strides, dilations), max_size=5))
def test_sight_of_a_chain_is_the_receptive_field(windows: list[Window]) -> None:
    sight = Sight()
    for window in windows:
        sight = sight.convolved(kernel=window.kernel, stride=window.stride, dilation=window.dilation)
    assert (sight.size, sight.stride) == receptive_field(windows)


def test_paths_join_to_the_wider_one() -> None:
    """Padding that keeps the size keeps the paths centred: the field of a residual block is that of its convolutions."""
    wide = Sight().convolved(kernel=3, padding=1).convolved(kernel=3, padding=1)
    assert Sight().joined(wide) == wide
    assert wide.span(10) == (8, 12)
    aside = Sight().joined(Sight().through(lambda q: (q - 7,)))
    assert (aside.size, aside.span(0)) == (8, (-7, 0))


def test_a_transposed_convolution_whose_stride_exceeds_its_kernel_leaves_holes() -> None:
    sight = Sight().transposed(kernel=2, stride=3)
    assert sight.spans == ((0, 0), (0, 0), None)
    assert (sight.size, sight.stride) == (1, Fraction(1, 3))
    layer = nn.ConvTranspose1d(1, 1, 2, 3, bias=False)
    assert [bool(value) for value in layer(torch.ones(1, 1, 2))[0, 0]] == [True, True, False, True, True]


@pytest.mark.parametrize(("blocks", "size"), [((3, 4, 6, 3), 483), ((3, 4, 23, 3), 1027), ((3, 8, 36, 3), 1507)])
def test_published_fields_of_bottleneck_nets(blocks: tuple[int, ...], size: int) -> None:
    """ResNet-50, -101 and -152, Araujo, Norris and Sim 2019: there a stage's stride is behind its 3x3 convolutions."""
    windows = [Window(7, 2), Window(3, 2)]
    for stage, count in enumerate(blocks):
        windows += [Window(3)] * (count - 1) + [Window(3, 2 if stage < 3 else 1)]
    assert receptive_field(windows)[0] == size
