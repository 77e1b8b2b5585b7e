"""Taps: everything that is attached to torch while a training is watched. ``remove`` leaves no trace of it.

Functions are replaced at their owner, so that a name that a script imports after is the replaced one; each replacement calls the
original with the same arguments and gives back what it gave.
"""

import contextlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import torch

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle


_BENEATH: "WeakSet[Any]" = WeakSet()  # replacements of watches that are over, beneath one that still stands


class Ear:
    """A hook that calls ``hear``. A copy of it, or what is pickled of it, is deaf: a copied or saved net takes no watcher along."""

    def __init__(self, hear: Callable[..., None]) -> None:
        self.hear = hear

    def __call__(self, *arguments: Any) -> None:
        if not torch.compiler.is_compiling():  # what is compiled is compiled as if nobody listened
            self.hear(*arguments)

    def __deepcopy__(self, _memo: dict[int, Any]) -> Callable[..., None]:
        return contextlib.nullcontext().__exit__

    def __copy__(self) -> Callable[..., None]:
        return contextlib.nullcontext().__exit__

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (
            contextlib.nullcontext(),
            "__exit__",
        )  # takes any arguments, returns None, and is known everywhere


class Taps:
    """Handles of hooks, and replaced attributes with what stood there before."""

    def __init__(self) -> None:
        self._handles: dict[int, RemovableHandle] = {}
        self._replaced: list[tuple[Any, str, Any, Any]] = []

    def add(self, *handles: "RemovableHandle") -> None:
        self._handles |= {id(handle): handle for handle in handles}

    def drop(self, handles: "Iterable[RemovableHandle]") -> None:
        """Takes some hooks off before the end."""
        for handle in handles:
            handle.remove()
            self._handles.pop(id(handle), None)

    def replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Puts ``make(original)`` in the place of an attribute that the owner itself has; nothing where it has none."""
        if name not in vars(owner):
            return
        original = vars(owner)[name]
        ours = make(original)
        setattr(owner, name, ours)
        self._replaced.append((owner, name, original, ours))

    def remove(self) -> None:
        """Takes everything off again, last first. What somebody else has replaced since stays, and another watch that began since
        puts back what stood there before both.
        """
        self.drop(list(reversed(self._handles.values())))
        for owner, name, original, ours in reversed(self._replaced):
            while original in _BENEATH:
                original = original.__wrapped__
            if vars(owner).get(name) is ours:
                setattr(owner, name, original)
            else:
                _BENEATH.add(ours)
        self._replaced = []


class Tracing:
    """Autograd's anomaly mode without its search for NaN: every node notes the line that made it. Somebody else's is left as it is."""

    def __init__(self) -> None:
        self.is_on = False
        self._searched = False

    def turn(self, *, on: bool) -> None:
        running, searches = torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()
        if on and not running:
            self.is_on, self._searched = True, searches
            torch.set_anomaly_enabled(True, check_nan=False)
        elif not on and self.is_on and not (running and searches):
            self.is_on = False
            if running:
                torch.set_anomaly_enabled(False, check_nan=self._searched)
