"""A Lightning callback: ``Trainer(callbacks=[markone.adapters.lightning.WatchCallback()])``."""

from functools import cache
from typing import Any

from markone.adapters.following import Following, framework


@cache
def callback() -> type:
    """The class WatchCallback, made with Lightning's own Callback. Raises InputError where Lightning is not installed."""
    lightning = framework("lightning.pytorch", "pytorch_lightning", extra="lightning", name="Lightning")

    class WatchCallback(Following, lightning.Callback):  # type: ignore[misc, name-defined]
        """Watches each fit, from after its sanity check to its end. ``run``: the Watch; ``run.finished``: its record."""

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            self._begin(pl_module, trainer.optimizers)

        def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
            self._known = dict(trainer.callback_metrics)

        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            if not trainer.sanity_checking and trainer.state.fn == "fit":
                metrics = trainer.callback_metrics.items()
                self._evaluated({name: one for name, one in metrics if self._known.get(name) is not one})

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            self._end()

        def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
            self._end(exception)

    WatchCallback.__module__, WatchCallback.__qualname__ = __name__, "WatchCallback"
    return WatchCallback


def __getattr__(name: str) -> Any:
    if name != "WatchCallback":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return callback()
