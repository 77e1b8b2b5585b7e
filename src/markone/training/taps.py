"""Taps: everything that is attached to torch while a training is watched. ``remove`` leaves no trace of it.

Functions are replaced at their owner, so that a name that a script imports after is the replaced one; each replacement calls the
original with the same arguments and gives back what it gave.
"""

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle


class Ear:
    """A hook that calls ``hear``. A copy of it, or what is pickled of it, is deaf: a copied or saved net takes no watcher along."""

    def __init__(self, hear: Callable[..., None]) -> None:
        self.hear = hear

    def __call__(self, *arguments: Any) -> None:
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
        self._handles: list[RemovableHandle] = []
        self._replaced: list[tuple[Any, str, Any, Any]] = []

    def add(self, *handles: "RemovableHandle") -> None:
        self._handles.extend(handles)

    def drop(self, handles: "list[RemovableHandle]") -> None:
        """Takes some hooks off before the end."""
        for handle in handles:
            handle.remove()
        self._handles = [one for one in self._handles if one not in handles]

    def replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Puts ``make(original)`` in the place of an attribute that the owner itself has; nothing where it has none."""
        if name not in vars(owner):
            return
        original = vars(owner)[name]
        ours = make(original)
        setattr(owner, name, ours)
        self._replaced.append((owner, name, original, ours))

    def remove(self) -> None:
        """Takes everything off again, last first. What somebody else has replaced since stays."""
        for handle in reversed(self._handles):
            handle.remove()
        for owner, name, original, ours in reversed(self._replaced):
            if vars(owner).get(name) is ours:
                setattr(owner, name, original)
        self._handles, self._replaced = [], []
