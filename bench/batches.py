"""One batch of pictures: ours against the plainest hand-written one, in µs, one process and one thread, alternating.

    python bench/batches.py [--calls 1000]

The hand-written side indexes the same uint8 tensor, standardizes with broadcast operations and, where pictures are moved, draws the same
crops and mirror images by an index for every pixel. A figure is the median over calls, and the smallest: on a busy machine the
smallest says more.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from markone.data.augment import Augmentation, reflect
from markone.data.batches import Batches, Store
from markone.data.dataset import Dataset
from markone.data.normalize import Standardize
from markone.seeds import numpy_generator, torch_generator

BATCH, CROP = 128, 2


def hand_written(
    images: torch.Tensor, mean: torch.Tensor, std: torch.Tensor, *, moved: bool
) -> Callable[..., torch.Tensor]:
    """A function of rows (n,) that gives standardized pictures (n, channels, height, width)."""
    _, height, width, channels = images.shape
    mean, std = (each.float().view(1, channels, 1, 1) for each in (mean, std))

    def batch(rows: torch.Tensor) -> torch.Tensor:
        if moved:
            down, right = torch.randint(-CROP, CROP + 1, (2, len(rows), 1))
            y, x = reflect(torch.arange(height) + down, height), reflect(torch.arange(width) + right, width)
            x = torch.where(torch.rand(len(rows), 1) < 0.5, width - 1 - x, x)
            chosen = images[rows[:, None, None], y[:, :, None], x[:, None, :]]
        else:
            chosen = images[rows]
        return (chosen.permute(0, 3, 1, 2).float() - mean) / std

    return batch


def compare(side: int, channels: int, *, moved: bool, calls: int) -> str:
    inputs = numpy_generator(0, "bench").integers(0, 256, (10_000, side, side, channels), dtype=np.uint8)
    dataset = Dataset("noise", inputs, np.zeros(len(inputs), np.int64), classes=("a", "b"))
    statistics = Standardize().fit(dataset, np.arange(len(inputs)))
    store = Store(dataset, torch.from_numpy(dataset.targets), statistics, device=torch.device("cpu"))
    augmentation = Augmentation(flip=True, crop=CROP) if moved else Augmentation()
    batches = Batches(store, np.arange(len(inputs)), batch_size=BATCH, augmentation=augmentation, seed=0)
    mean, std = torch.tensor(statistics.mean), torch.tensor(statistics.std)
    theirs, seconds = hand_written(store.inputs, mean, std, moved=moved), ([], [])
    order = torch.randperm(len(inputs), generator=torch_generator(0, "bench"))
    epoch = iter(())
    for call in range(calls):
        start = time.perf_counter()
        batch = next(epoch, None)
        between = time.perf_counter()
        rows = order[call % 78 * BATCH :][:BATCH]
        theirs(rows), store.targets[rows]
        end = time.perf_counter()
        if batch is None:
            epoch = batches.epoch(call)
            continue
        seconds[0].append(between - start)
        seconds[1].append(end - between)
    (ours, our_least), (hand, hand_least) = ((1e6 * np.median(each), 1e6 * min(each)) for each in seconds)
    what = f"{side}x{side}x{channels}, batch {BATCH}{', crop and mirror' if moved else ''}"
    return f"{what:42} ours {ours:6.0f} ({our_least:5.0f})   by hand {hand:6.0f} ({hand_least:5.0f})   ratio {ours / hand:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=1000)
    calls = parser.parse_args().calls
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {calls} calls, µs: median (smallest)")
    for side, channels in ((28, 1), (32, 3), (64, 3)):
        for moved in (False, True):
            print(compare(side, channels, moved=moved, calls=calls), flush=True)


if __name__ == "__main__":
    main()
