"""A Lightning callback: ``Trainer(callbacks=[markone.adapters.lightning.WatchCallback()])``."""

from functools import cache
from pathlib import Path
from typing import Any, Literal

from markone.adapters.following import Following, framework


@cache
def callback() -> type:
    """The class WatchCallback, made with Lightning's own Callback. Raises InputError where Lightning is not installed."""
    lightning = framework("lightning.pytorch", "pytorch_lightning", extra="lightning", name="Lightning")

    class WatchCallback(lightning.Callback):  # type: ignore[misc, name-defined]
        """Watches each fit, from after its sanity check to its end. ``run``: the Watch; ``run.finished``: its record."""

        def __init__(
            self, folder: Path | str | None = None, every: "int | Literal['auto']" = "auto", *, probes: bool = True
        ) -> None:
            super().__init__()
            self._following = Following(folder, every, probes=probes)
            self._known: dict[str, Any] = {}

        @property
        def run(self) -> Any:
            return self._following.run

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            self._following.begin(pl_module, trainer.optimizers)

        def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
            self._known = dict(trainer.callback_metrics)

        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            if not trainer.sanity_checking and trainer.state.fn == "fit":
                metrics = trainer.callback_metrics.items()
                self._following.evaluated({name: one for name, one in metrics if self._known.get(name) is not one})

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            self._following.end()

        def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
            self._following.end(exception)

    WatchCallback.__module__, WatchCallback.__qualname__ = __name__, "WatchCallback"
    return WatchCallback


def __getattr__(name: str) -> Any:
    if name != "WatchCallback":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return callback()
