"""Rows: what was shown is recognized, and nothing else."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from markone.training.rows import Evaluated, Rows


@pytest.mark.parametrize("scale", [1.0, 1 / 16, 1 / 8, 1 / 255])
def test_different_rows_have_different_hashes(scale: float) -> None:
    """Values of few levels, whose bits are mostly zero."""
    digits = np.unique(load_digits().data, axis=0)
    batch = torch.tensor(digits, dtype=torch.float32) * scale
    assert len(set(Rows().hashes(batch))) == len(digits)


def test_equal_numbers_of_other_types_are_the_same_row() -> None:
    rows = Rows()
    whole = torch.arange(12).reshape(3, 4)
    assert rows.hashes(whole) == rows.hashes(whole.float()) == rows.hashes(whole.double())


def test_a_pass_of_every_step_is_no_judgement_unless_the_net_is_switched_for_it() -> None:
    teacher, judge, last = Evaluated(), Evaluated(), Evaluated()
    for step in range(1, 21):
        teacher.passed(step, training=False, taught=7)  # its own training is over
        judge.passed(step, training=False, taught=step)
    last.passed(20, training=True, taught=20)
    assert teacher.is_part_of_steps
    assert not judge.is_part_of_steps
    assert not last.is_part_of_steps


def test_rows_that_are_all_alike_tell_nothing() -> None:
    alike, diverse = Evaluated(), Evaluated()
    alike.add([1, 1, 1, 2])
    diverse.add([1, 2, 3, 4])
    assert not alike.is_diverse
    assert diverse.is_diverse
