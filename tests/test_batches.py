"""Batches: who comes when, and that every way to read gives the same numbers."""

import threading
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from markone.data import batches as module
from markone.data.augment import Augmentation
from markone.data.batches import Batch, Batches, Store, in_order
from markone.data.dataset import Dataset
from markone.data.normalize import Standardize, identity

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"))]
EVERYTHING = Augmentation(flip=True, crop=2, cutout=2, brightness=0.2, contrast=0.2, colour=0.2, mixup=0.4)


def pictures(n: int = 50, channels: int = 3) -> Dataset:
    """Random pictures; the target is the sample's index."""
    inputs = np.random.default_rng(0).integers(0, 256, (n, 6, 7, channels), dtype=np.uint8)
    return Dataset("pictures", inputs, np.arange(n), classes=tuple(map(str, range(n))))


def table(n: int = 50) -> Dataset:
    """Each row holds its own index; the target is the sample's index."""
    inputs = np.stack([np.arange(n), np.random.default_rng(0).normal(5, 3, n)], axis=1).astype(np.float32)
    return Dataset("table", inputs, np.arange(n), classes=tuple(map(str, range(n))))


def store_of(dataset: Dataset, device: str = "cpu", *, normalized: bool = True) -> Store:
    statistics = Standardize().fit(dataset, np.arange(len(dataset))) if normalized else identity(dataset)
    return Store(dataset, torch.from_numpy(dataset.targets), statistics, device=torch.device(device))


def batches_of(
    store: Store, rows: Any = None, *, batch_size: int = 8, augmentation: Augmentation | None = None, seed: int = 0
) -> Batches:
    rows = np.arange(len(store.targets)) if rows is None else rows
    return Batches(store, rows, batch_size=batch_size, augmentation=augmentation or Augmentation(), seed=seed)


def same(a: Batch, b: Batch) -> bool:
    """Equal bit for bit."""
    mixes = (a.mix is None and b.mix is None) or (
        a.mix is not None
        and b.mix is not None
        and a.mix.share == b.mix.share
        and torch.equal(a.mix.partner, b.mix.partner)
    )
    return torch.equal(a.inputs, b.inputs) and torch.equal(a.targets, b.targets) and mixes


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 3), st.integers(0, 1000))
@settings(deadline=None, max_examples=50)
def test_every_row_at_most_once(rows: int, batch_size: int, epoch: int, seed: int) -> None:
    """And only rows of the training part; as many batches as are full, or one of all rows."""
    chosen = np.random.default_rng(seed).choice(50, rows, replace=False)
    batches = batches_of(store_of(table()), chosen, batch_size=batch_size, seed=seed)
    found = list(batches.epoch(epoch))
    seen = torch.cat([batch.targets for batch in found]).tolist()
    assert len(set(seen)) == len(seen)
    assert set(seen) <= set(chosen.tolist())
    assert len(found) == len(batches) == max(1, rows // batch_size)
    assert {len(batch) for batch in found} == {min(rows, batch_size)} == {batches.batch_size}


@pytest.mark.parametrize("dataset", [pictures(), pictures(channels=1), table()], ids=["colour", "grey", "table"])
@pytest.mark.parametrize("resident", [True, False], ids=["resident", "mapped"])
@pytest.mark.parametrize("device", DEVICES)
def test_inputs_and_targets_in_step(
    dataset: Dataset, resident: bool, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RESIDENT_SHARE", 1.0 if resident else 0.0)
    store = store_of(dataset, device, normalized=False)
    assert store.resident == resident
    for batch in batches_of(store).epoch(3):
        assert batch.inputs.device.type == batch.targets.device.type == device
        assert batch.inputs.dtype == torch.float32
        expected = torch.from_numpy(dataset.inputs[batch.targets.cpu().numpy()]).float()
        if dataset.is_images:
            assert batch.inputs.is_contiguous(memory_format=torch.channels_last)
            expected = expected.permute(0, 3, 1, 2)
        assert torch.equal(batch.inputs.cpu(), expected)
        assert batch.mix is None


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    store = store_of(table())
    orders = {
        (seed, epoch): tuple(torch.cat([b.targets for b in batches_of(store, seed=seed).epoch(epoch)]).tolist())
        for seed in (0, 1)
        for epoch in (0, 1, 2)
    }
    assert len(set(orders.values())) == 6
    batches = batches_of(store, augmentation=EVERYTHING)
    assert torch.equal(next(batches.epoch(2)).targets, torch.tensor(orders[0, 2][:8])), "augmentation changes no order"
    last = [set(range(50)) - set(order) for order in orders.values()]
    assert len(set.intersection(*last)) == 0, "what an epoch leaves out, others take"


@pytest.mark.parametrize("resident", [True, False], ids=["resident", "mapped"])
@pytest.mark.parametrize("device", DEVICES)
def test_a_resumed_epoch_is_the_tail_of_the_whole(resident: bool, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESIDENT_SHARE", 1.0 if resident else 0.0)
    batches = batches_of(store_of(pictures(), device), augmentation=EVERYTHING)
    whole = list(batches.epoch(1))
    again = batches_of(store_of(pictures(), device), augmentation=EVERYTHING)
    for start in range(len(whole) + 2):
        tail = list(again.epoch(1, start=start))
        assert len(tail) == max(0, len(whole) - start)
        assert all(same(a, b) for a, b in zip(tail, whole[start:], strict=True))


@pytest.mark.parametrize("augmentation", [Augmentation(), EVERYTHING], ids=["plain", "augmented"])
@pytest.mark.parametrize("make", [pictures, table])
@pytest.mark.parametrize("device", DEVICES)
def test_mapped_equals_resident(
    make: Any, augmentation: Augmentation, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, from a read-only memory map and from memory, in the training and in evaluation."""
    dataset = make()
    np.save(tmp_path / "inputs.npy", dataset.inputs)
    mapped = np.load(tmp_path / "inputs.npy", mmap_mode="r")
    kept = Dataset("mapped", mapped, dataset.targets, classes=dataset.classes)
    monkeypatch.setattr(module, "RESIDENT_SHARE", 1.0)
    stores = [store_of(dataset, device), store_of(kept, device)]
    monkeypatch.setattr(module, "RESIDENT_SHARE", 0.0)
    stores.append(store_of(kept, device))
    assert [store.resident for store in stores] == [True, True, False]
    epochs = [list(batches_of(store, augmentation=augmentation).epoch(0)) for store in stores]
    evaluations = [list(in_order(store, np.arange(40, 3, -1), batch_size=7)) for store in stores]
    for found in (epochs, evaluations):
        for others in found[1:]:
            assert all(same(a, b) for a, b in zip(found[0], others, strict=True))


def readers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")]


def test_leaving_early_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESIDENT_SHARE", 0.0)
    batches = batches_of(store_of(pictures()))
    for _ in batches.epoch(0):
        assert readers()
        break
    assert not readers()
    epoch: Any = batches.epoch(0)
    next(epoch)
    epoch.close()
    assert not readers()
    list(batches.epoch(0))
    assert not readers()


def test_a_failure_of_the_reader_reaches_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESIDENT_SHARE", 0.0)
    store = store_of(pictures())

    def fail(rows: Any) -> Any:
        raise OSError("the disk is gone")

    monkeypatch.setattr(store, "take", fail)
    with pytest.raises(OSError, match="the disk is gone"):
        next(batches_of(store).epoch(0))
    assert not readers()


def test_reading_runs_ahead_by_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESIDENT_SHARE", 0.0)
    store = store_of(pictures())
    taken, take = list[int](), store.take

    def counted(rows: torch.Tensor) -> torch.Tensor:
        taken.append(len(rows))
        return take(rows)

    monkeypatch.setattr(store, "take", counted)
    epoch: Any = batches_of(store).epoch(0)
    next(epoch)
    epoch.close()
    assert taken == [8, 8, 8], "the one in use and two more"


@pytest.mark.parametrize("device", DEVICES)
def test_augmentation_is_a_function_of_seed_epoch_and_place(device: str) -> None:
    """Of one picture fifty times over every batch is another one, and the same one when its epoch comes again."""
    one = pictures(1).inputs.repeat(50, axis=0)
    store = store_of(Dataset("copies", one, np.arange(50), classes=("a",)), device)
    spec = Augmentation(flip=True, crop=2, brightness=0.2)
    found = [
        batch
        for seed in (0, 1)
        for epoch in (0, 1)
        for batch in batches_of(store, augmentation=spec, seed=seed).epoch(epoch)
    ]
    assert len({batch.inputs.cpu().numpy().tobytes() for batch in found}) == 4 * 6
    assert same(found[0], next(batches_of(store, augmentation=spec).epoch(0)))


def test_mixup_mixes_what_it_says() -> None:
    store = store_of(pictures())
    mixed = next(batches_of(store, augmentation=Augmentation(mixup=1.0)).epoch(0))
    plain = next(batches_of(store).epoch(0))
    assert mixed.mix is not None
    assert torch.equal(mixed.targets, plain.targets), "the targets are mixed in the loss"
    share = mixed.mix.share
    expected = share * plain.inputs + (1 - share) * plain.inputs[mixed.mix.partner]
    torch.testing.assert_close(mixed.inputs, expected)
    assert mixed.inputs.is_contiguous(memory_format=torch.channels_last)


def test_tables_take_mixup_and_no_other_augmentation() -> None:
    store = store_of(table())
    plain = next(batches_of(store).epoch(0))
    assert same(next(batches_of(store, augmentation=Augmentation(flip=True, crop=1, cutout=1)).epoch(0)), plain)
    mixed = next(batches_of(store, augmentation=Augmentation(mixup=0.3)).epoch(0))
    assert mixed.mix is not None
    assert not torch.equal(mixed.inputs, plain.inputs)


@pytest.mark.parametrize("make", [pictures, table])
def test_reading_changes_nothing_in_store(make: Any) -> None:
    dataset = make()
    before = dataset.inputs.copy()
    store = store_of(dataset)
    list(batches_of(store, augmentation=EVERYTHING).epoch(0))
    first = list(batches_of(store).epoch(0))
    assert np.array_equal(dataset.inputs, before)
    assert all(same(a, b) for a, b in zip(first, batches_of(store_of(make())).epoch(0), strict=True))


@pytest.mark.parametrize("make", [pictures, table])
def test_large_tables_are_standardized_in_pieces(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = list(batches_of(store_of(make())).epoch(0))
    monkeypatch.setattr(module, "PIECE_ROWS", 7)
    assert all(same(a, b) for a, b in zip(whole, batches_of(store_of(make())).epoch(0), strict=True))


def test_in_order() -> None:
    store = store_of(table(), normalized=False)
    rows = np.array([9, 3, 3, 41, 0])
    found = list(in_order(store, rows, batch_size=2))
    assert [len(batch) for batch in found] == [2, 2, 1]
    assert torch.cat([batch.targets for batch in found]).tolist() == rows.tolist()
    assert torch.cat([batch.inputs[:, 0] for batch in found]).tolist() == rows.tolist()
    assert all(batch.mix is None for batch in found)


def test_batches_come_in_order_of_their_places() -> None:
    batches = batches_of(store_of(table()))
    tail = [batch.targets.tolist() for batch in islice(batches.epoch(0), 2, None)]
    assert tail == [batch.targets.tolist() for batch in batches.epoch(0, start=2)]
