"""Overlap: how many input places each place of a transposed convolution's output is summed from, along one side."""

from markone.nets.arithmetic import transposed_output


def overlap(size: int, *, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> tuple[int, ...]:
    """For each output place o, the number of pairs (input place i, kernel place k) with i stride + k dilation - padding = o.

    Where a constant map meets a constant kernel, this is the picture that comes out. Away from the edges it is kernel / stride
    everywhere if and only if the stride divides the kernel (for dilation 1); otherwise it has the period of the stride: the
    checkerboard of Odena, Dumoulin and Olah, Deconvolution and checkerboard artifacts, 2016.

    Raises SpecError if nothing is left of the map.

    >>> overlap(4, kernel=3, stride=2), overlap(4, kernel=4, stride=2, padding=1)
    ((1, 1, 2, 1, 2, 1, 2, 1, 1), (1, 2, 2, 2, 2, 2, 2, 1))
    """
    counts = [0] * transposed_output(size, kernel=kernel, stride=stride, padding=padding, dilation=dilation)
    for place in range(size):
        for offset in range(kernel):
            target = place * stride + offset * dilation - padding
            if 0 <= target < len(counts):
                counts[target] += 1
    return tuple(counts)
