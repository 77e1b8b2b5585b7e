"""Seeds: the same numbers for ever, and no two streams alike."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from markone.seeds import derive, numpy_generator, torch_generator

NAMES = ("split", "init", "order", "augment", "dropout", "estimate", "bootstrap")
names, places = st.sampled_from(NAMES), st.lists(st.integers(0, 10**6), max_size=3).map(tuple)


def test_numbers_stay_as_they_are() -> None:
    """A resumed training and an old recipe depend on these."""
    assert derive(0, "order") == 5527499407370418099
    assert derive(0, "order", 3) == 6785618111695557324
    assert derive(7, "augment", 2, 15) == 6597581174225782874
    torch_draw = torch.randint(1000, (4,), generator=torch_generator(7, "augment", 2, 15)).tolist()
    numpy_draw = numpy_generator(7, "augment", 2, 15).integers(1000, size=4).tolist()
    assert (torch_draw, numpy_draw) == ([91, 35, 533, 823], [509, 603, 871, 544])


@given(st.integers(0, 2**31 - 1), names, places)
def test_a_stream_is_a_function_of_seed_name_and_place(seed: int, name: str, place: tuple[int, ...]) -> None:
    assert derive(seed, name, *place) == derive(seed, name, *place)
    assert 0 <= derive(seed, name, *place) < 2**63
    first, second = (torch.rand(5, generator=torch_generator(seed, name, *place)) for _ in range(2))
    assert torch.equal(first, second)
    third, fourth = (numpy_generator(seed, name, *place).random(5) for _ in range(2))
    assert np.array_equal(third, fourth)


@given(st.sets(st.tuples(st.integers(0, 2**31 - 1), names, places), min_size=2, max_size=20))
def test_streams_differ(streams: set[tuple[int, str, tuple[int, ...]]]) -> None:
    seeds = {derive(seed, name, *place) for seed, name, place in streams}
    assert len(seeds) == len(streams)
    assert len({seed % 2**32 for seed in seeds}) == len(seeds), "torch's CPU generator sees the low half only"


def test_places_do_not_run_together() -> None:
    """(1, 23) is not (12, 3), and seed 1 with place 2 is not seed 2 with place 1."""
    assert len({derive(0, "order", 1, 23), derive(0, "order", 12, 3), derive(0, "order", 123)}) == 3
    assert derive(1, "order", 2) != derive(2, "order", 1)


def test_neighbours_are_independent() -> None:
    """Streams of neighbouring seeds, epochs and names are uncorrelated: |r| < 5 / sqrt(n) for each pair."""
    n = 20_000
    keys: list[Any] = [
        (0, "order", 0),
        (1, "order", 0),
        (0, "order", 1),
        (0, "augment", 0),
        (0, "augment", 0, 0),
        (0, "augment", 0, 1),
    ]
    draws = {
        "torch": [torch.rand(n, generator=torch_generator(*key)).numpy() for key in keys],
        "numpy": [numpy_generator(*key).random(n) for key in keys],
    }
    for streams in draws.values():
        for a, b in combinations(streams, 2):
            assert abs(np.corrcoef(a, b)[0, 1]) < 5 / n**0.5
    for a, b in zip(draws["torch"], draws["numpy"], strict=True):
        assert abs(np.corrcoef(a, b)[0, 1]) < 5 / n**0.5, "one seed, two algorithms"


def test_generators_leave_the_global_ones_alone() -> None:
    state: Any = np.random.get_state
    torch_before, numpy_before = torch.get_rng_state(), state()[1].copy()
    torch.rand(3, generator=torch_generator(0, "order"))
    numpy_generator(0, "order").random(3)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert np.array_equal(state()[1], numpy_before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_generator() -> None:
    first, second = (
        torch.rand(5, generator=torch_generator(0, "order", device="cuda"), device="cuda") for _ in range(2)
    )
    assert torch.equal(first, second)
