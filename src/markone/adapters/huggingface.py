"""A callback for Hugging Face's Trainer: ``Trainer(..., callbacks=[markone.adapters.huggingface.WatchCallback()])``."""

from functools import cache
from typing import Any

from markone.adapters.following import Following, framework, hear_exceptions

CLOCKS = ("runtime", "_per_second", "_time", "epoch")  # endings of what Trainer reports beside metrics


@cache
def callback() -> type:
    """The class WatchCallback, made with Trainer's own callback. Raises InputError where Transformers is not installed."""
    transformers = framework("transformers", extra="huggingface", name="Hugging Face Transformers")

    class WatchCallback(Following, transformers.TrainerCallback):  # type: ignore[misc, name-defined]
        """Watches each ``train()``. ``run``: the Watch; ``run.finished``: its record."""

        def on_train_begin(
            self, args: Any, state: Any, control: Any, model: Any = None, optimizer: Any = None, **_: Any
        ) -> None:
            self._begin(model, [] if optimizer is None else [optimizer])

        def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any) -> None:
            kept = {name: one for name, one in (metrics or {}).items() if not name.endswith(CLOCKS)}
            self._evaluated(kept)

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self._end()

    WatchCallback.__module__, WatchCallback.__qualname__ = __name__, "WatchCallback"
    hear_exceptions(transformers.Trainer, "train")
    return WatchCallback


def __getattr__(name: str) -> Any:
    if name != "WatchCallback":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return callback()
