"""A Keras 3 callback, for its torch backend: ``model.fit(..., callbacks=[markone.adapters.keras.WatchCallback()])``."""

from functools import cache
from typing import Any

from markone.adapters.following import Following, framework, hear_exceptions
from markone.errors import InputError


@cache
def callback() -> type:
    """The class WatchCallback, made with Keras's own Callback. Raises InputError where Keras is absent, or without its torch backend."""
    keras = framework("keras", extra="keras", name="Keras")
    if keras.backend.backend() != "torch":
        raise InputError(
            "keras-backend",
            f"Keras runs on {keras.backend.backend()} here, and only its torch backend can be watched;"
            " set KERAS_BACKEND=torch before Keras is imported.",
        )

    class WatchCallback(Following, keras.callbacks.Callback):  # type: ignore[misc, name-defined]
        """Watches each fit. ``run``: the Watch; ``run.finished``: its record. Keras's optimizers are its own: only steps are counted."""

        def on_train_begin(self, logs: Any = None) -> None:
            self._begin(self.model, [])

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if self.run is not None:
                self.run.stepped()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self._evaluated({name: one for name, one in (logs or {}).items() if name.startswith("val_")})

        def on_train_end(self, logs: Any = None) -> None:
            self._end()

    WatchCallback.__module__, WatchCallback.__qualname__ = __name__, "WatchCallback"
    hear_exceptions(keras.Model, "fit")
    return WatchCallback


def __getattr__(name: str) -> Any:
    if name != "WatchCallback":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return callback()
