"""Progress: how long work tells how far it is."""

from collections.abc import Callable

Progress = Callable[[int, int, str], None]
"""``progress(done, total, what)``, called from one thread; the last call has ``done == total``."""
