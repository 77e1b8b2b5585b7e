"""Checkpoints: whole or absent, exact both ways, written without losing a best."""

import json
import shutil
import threading
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from markone.errors import TrainingError
from markone.training import checkpoint
from markone.training.checkpoint import CheckpointWriter, Snapshot, copy_tensors, read_latest, take, write

numbers = st.one_of(
    st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none()
)
nested = st.recursive(
    st.one_of(numbers, st.text(max_size=5), st.just(torch.arange(6.0).reshape(2, 3))),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.integers(0, 9), st.text(max_size=4)), inner, max_size=3),
    ),
    max_leaves=8,
)


def same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b) and a.dtype == b.dtype
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@given(state=st.dictionaries(st.sampled_from(["net", "optimizer", "average"]), nested, min_size=1))
def test_any_state_comes_back_exactly(state: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("run")
    write(folder, take(state, {"epoch": 3}, step=12))
    found = read_latest(folder)
    assert found is not None
    assert (found["step"], found["epoch"]) == (12, 3)
    assert same({name: found[name] for name in state}, state)


def test_layouts_and_types_survive(tmp_path: Path) -> None:
    tensor = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    state = {"a": tensor, "b": torch.tensor(3), "c": torch.randn(3).bfloat16(), "d": tensor[:, 1:]}
    write(tmp_path, take({"net": state}, {}, step=1))
    found = read_latest(tmp_path)
    assert found is not None
    assert all(torch.equal(found["net"][name], value) for name, value in state.items())


def test_half_written_checkpoints_are_not_seen(tmp_path: Path) -> None:
    write(tmp_path, take({"net": {"w": torch.ones(2)}}, {}, step=5))
    root = tmp_path / "checkpoint"
    shutil.copytree(root / "000000005", root / ".000000009.partial")
    (root / "000000007").mkdir()
    found = read_latest(tmp_path)
    assert found is not None
    assert found["step"] == 5
    write(tmp_path, take({"net": {"w": torch.ones(2)}}, {}, step=9))
    assert [path.name for path in root.iterdir()] == ["000000009"], "older and broken ones are swept away"
    assert read_latest(tmp_path / "nowhere") is None


def test_snapshot_is_a_copy(tmp_path: Path) -> None:
    weight = torch.zeros(3)
    snapshot = take({"net": {"w": weight}}, {}, step=1)
    weight.add_(1)
    assert torch.equal(snapshot.tensors["net"]["net.w"], torch.zeros(3))


def test_writer_keeps_the_newest_state_and_never_loses_a_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one write lasts, three more snapshots come; the second carries the best weights."""
    began, go_on, written = threading.Event(), threading.Event(), []

    def slow_write(folder: Path, snapshot: Snapshot) -> None:
        began.set()
        assert go_on.wait(10)
        written.append(snapshot.step)
        write(folder, snapshot)

    monkeypatch.setattr(checkpoint, "write", slow_write)
    writer = CheckpointWriter(tmp_path)
    writer.submit(take({"net": {}}, {}, step=1))
    assert began.wait(10)
    for step in (2, 3, 4):
        best = copy_tensors({"w": torch.full((2,), float(step))}) if step == 3 else None
        writer.submit(take({"net": {}}, {}, step=step, best=best))
    go_on.set()
    writer.close()
    assert written == [1, 4]
    assert load_file(tmp_path / "net.safetensors")["w"].tolist() == [3.0, 3.0]


def test_a_full_disk_is_reported_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path, snapshot: Snapshot) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write", fail)
    writer = CheckpointWriter(tmp_path)
    writer.submit(take({"net": {}}, {}, step=1))
    with pytest.raises(TrainingError, match=r"cannot write a checkpoint into .*No space left"):
        writer.close()


def test_numbers_are_exact_in_the_file(tmp_path: Path) -> None:
    values = {"third": 1 / 3, "tiny": 5e-324, "big": 2**60 + 1}
    write(tmp_path, take({"net": {}}, values, step=1))
    stored = json.loads((tmp_path / "checkpoint" / "000000001" / "state.json").read_text())
    assert {name: stored[name] for name in values} == values
