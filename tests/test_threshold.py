"""McCulloch-Pitts units against truth tables: the gates, every small table, and random ones of up to ten inputs."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from markone.errors import SpecError
from markone.nets.threshold import (
    MOST_INPUTS,
    Unit,
    all_inputs,
    and_net,
    compile_truth_table,
    logic_net,
    not_net,
    or_net,
    truth_table,
    xor_net,
)


@pytest.mark.parametrize(
    ("build", "inputs", "table"),
    [
        (and_net, 2, [0, 0, 0, 1]),
        (or_net, 2, [0, 1, 1, 1]),
        (not_net, 1, [1, 0]),
        (xor_net, 2, [0, 1, 1, 0]),
        (lambda: and_net(3), 3, [0, 0, 0, 0, 0, 0, 0, 1]),
        (lambda: or_net(3), 3, [0, 1, 1, 1, 1, 1, 1, 1]),
    ],
    ids=["and", "or", "not", "xor", "and of 3", "or of 3"],
)
def test_gates_are_their_truth_tables(build: Callable[[], nn.Module], inputs: int, table: list[int]) -> None:
    assert truth_table(build(), inputs) == table


def test_no_single_unit_computes_xor() -> None:
    """Every unit there is on two inputs: each input excites, inhibits or is not wired; thresholds beyond 2 never fire."""
    found = set()
    for wires in itertools.product("ei-", repeat=2):
        on, off = (tuple(i for i, wire in enumerate(wires) if wire == kind) for kind in "ei")
        found |= {tuple(truth_table(logic_net(2, [Unit(threshold, on, off)]), 2)) for threshold in range(4)}
    assert (0, 1, 1, 0) not in found
    assert {(0, 0, 0, 1), (0, 1, 1, 1), (0, 0, 1, 0)} <= found


def test_inhibition_is_absolute() -> None:
    unit = logic_net(5, [Unit(1, (0, 1, 2, 3), (4,))])
    assert unit(torch.tensor([[1.0, 1, 1, 1, 0], [1, 1, 1, 1, 1]])).tolist() == [[1], [0]]


def test_inputs_count_upwards() -> None:
    rows = all_inputs(6).numpy().astype(int)
    assert [int("".join(map(str, row)), 2) for row in rows] == list(range(64))


@pytest.mark.parametrize("inputs", [1, 2, 3])
def test_every_truth_table_compiles(inputs: int) -> None:
    for table in itertools.product([0, 1], repeat=2**inputs):
        net = compile_truth_table(table)
        assert len(net) == 2
        assert truth_table(net, inputs) == list(table)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 10), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_random_truth_tables_compile(inputs: int, seed: int, share: float) -> None:
    table = (np.random.default_rng(seed).random(2**inputs) < share).tolist()
    assert truth_table(compile_truth_table(table), inputs) == table


def test_more_than_ten_inputs_compile() -> None:
    table = [bin(row).count("1") % 2 for row in range(2**12)]
    assert truth_table(compile_truth_table(table), 12) == table, "parity of 12 inputs"


@pytest.mark.parametrize("length", [0, 1, 3, 6, 1000])
def test_other_lengths_are_no_truth_tables(length: int) -> None:
    with pytest.raises(SpecError, match=f"has 2, 4, 8, ... outputs.*{length} are given"):
        compile_truth_table([1] * length)


@pytest.mark.parametrize("unit", [Unit(1, (0, 2)), Unit(1, (0,), (0,)), Unit(1, (-1,)), Unit(1, (1, 1))], ids=str)
def test_wires_that_do_not_fit(unit: Unit) -> None:
    with pytest.raises(SpecError, match="does not fit 2 inputs: each of 0 to 1 may have one wire"):
        logic_net(2, [unit])


@pytest.mark.parametrize("inputs", [0, MOST_INPUTS + 1])
def test_tables_that_are_too_large(inputs: int) -> None:
    with pytest.raises(SpecError, match=f"of {inputs} inputs is asked for, and 1 to {MOST_INPUTS} are allowed"):
        all_inputs(inputs)
