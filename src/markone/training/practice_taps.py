"""What a watch listens to for Practice: checkpoints that are read and written, and loaders that are waited for."""

import functools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from markone.training.watch import Watch


def listen(watch: "Watch", *, script: bool) -> None:
    """Puts the replacements on. script: the watch is there before nets and checkpoints are, so that it sees them read."""
    from torch import nn
    from torch.optim import lr_scheduler
    from torch.utils.data import dataloader

    watch.taps.replace(dataloader._BaseDataLoaderIter, "__next__", functools.partial(_around_next, watch))
    if not script:
        return
    watch.taps.replace(torch, "load", functools.partial(_around_load, watch))
    watch.taps.replace(torch, "save", functools.partial(_before_save, watch))
    watch.taps.replace(nn.Module, "load_state_dict", functools.partial(_before_state, watch))
    for kind in (torch.optim.Optimizer, *_schedules(lr_scheduler)):
        watch.taps.replace(kind, "load_state_dict", functools.partial(_before_taken, watch))


def _schedules(module: Any) -> list[type]:
    kinds = [one for one in vars(module).values() if isinstance(one, type) and "load_state_dict" in vars(one)]
    return [one for one in kinds if not issubclass(one, torch.optim.Optimizer)]


def _around_next(watch: "Watch", original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def fetch(iterator: Any) -> Any:
        began = time.perf_counter()
        batch = original(iterator)
        witness = watch.witness
        if witness is not None:
            witness.practice.fetched(began)
        return batch

    return fetch


def _around_load(watch: "Watch", original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def load(*arguments: Any, **options: Any) -> Any:
        content = original(*arguments, **options)
        witness = watch.witness
        if witness is not None and not witness.step:
            watch.guard(witness.practice.resumption.loaded, arguments[0] if arguments else options.get("f"), content)
        return content

    return load


def _before_save(watch: "Watch", original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def save(*arguments: Any, **options: Any) -> Any:
        given = dict(zip(("obj", "f"), arguments, strict=False)) | options
        if watch.witness is not None:
            watch.guard(watch.witness.practice.resumption.saved, given.get("obj"), given.get("f"))
        return original(*arguments, **options)

    return save


def _before_state(watch: "Watch", original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def load_state_dict(net: Any, *arguments: Any, **options: Any) -> Any:
        if watch.witness is not None:
            state = arguments[0] if arguments else options.get("state_dict")
            watch.guard(watch.witness.practice.resumption.into_net, net, state)
        return original(net, *arguments, **options)

    return load_state_dict


def _before_taken(watch: "Watch", original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def load_state_dict(taker: Any, *arguments: Any, **options: Any) -> Any:
        if watch.witness is not None:
            watch.guard(watch.witness.practice.resumption.took, taker)
        return original(taker, *arguments, **options)

    return load_state_dict
