"""``spread.py FOLDER``: the same training by two processes (gloo), unwatched and watched in several ways; says whether all bits agree."""

import contextlib
import functools
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import torch
from small import Ending, Told, Watch, ending, same, seed
from torch import distributed, multiprocessing, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from markone.training.watch import watch


def train(rank: int, watching: Watch, *, inner: bool) -> Ending:
    """Batch norm, whose buffers go from the first process to the other before every forward pass."""
    seed(30 + rank)
    plain = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3))
    net = DistributedDataParallel(plain)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    x, y = torch.randn(32, 6), torch.randint(3, (32,))
    told = Told()
    with watching(plain if inner else net, optimizer):
        for number in range(16):
            optimizer.zero_grad()
            with net.no_sync() if number % 4 == 0 else contextlib.nullcontext():
                F.cross_entropy(net(x), y).backward()
            loss = F.cross_entropy(net(x.flip(0)), y)
            loss.backward()
            optimizer.step()
            told(loss)
        net.eval()
        with torch.no_grad():
            told(net(x).sum())
    return ending([net], [optimizer], told)


def work(rank: int, folder: str, port: int) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 (the losses of both would mix)
    distributed.init_process_group("gloo", rank=rank, world_size=2)
    found: dict[str, Any] = {}
    for inner in (False, True):
        wanted = train(rank, lambda _net, _optimizer: contextlib.nullcontext(), inner=inner)
        for every in ("auto", 1):
            name = f"{'inner' if inner else 'outer'}-{every}"
            watching = functools.partial(watch, folder=Path(folder) / name, every=every)
            result = train(rank, watching, inner=inner)
            found[name] = [key for key in wanted if not same(wanted[key], result[key])]
    (Path(folder) / f"rank{rank}.json").write_text(json.dumps(found))
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    multiprocessing.spawn(work, (sys.argv[1], free), nprocs=2)
