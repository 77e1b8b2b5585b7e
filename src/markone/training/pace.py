"""Pace: which steps are looked at closely, so that the looking costs no more than a given share of the training."""

import time

DENSE_INTERVAL = 2  # at first every other step: the steps between tell what an unsampled one costs
THINNING = 20  # then every 20th part of what has passed: about 14 samples for a doubling
LONGEST_INTERVAL = 200
TIMED = 4  # steps before a sample that tell what a usual one costs
FREE_SECONDS = 0.5  # what vitals may cost before the budget counts: half a second nobody notices


class Pace:
    """``due`` before each step, ``charge`` after each that was sampled. budget: the share of the time that samples may cost."""

    def __init__(self, budget: float, *, every: int | None = None) -> None:
        self.budget, self.every = budget, every
        self.cost_seconds = 0.0
        self._began = time.perf_counter()
        self.quiet_until = 0  # before that many steps nobody needs to ask whether one is due
        self._next_step = 0
        self._samples = 0
        self._usual_seconds = 0.0
        self._step_began: float | None = None

    def due(self, step: int) -> bool:
        """Whether the step about to be taken, after ``step`` steps, is to be sampled; with ``every``, one in so many, whatever it costs."""
        if self.every is not None:
            return step % self.every == 0
        now = time.perf_counter()
        if self._step_began is not None:
            self._learn_usual(now - self._step_began)
        self._step_began = now
        if step < self._next_step or self.affords(now):
            return step >= self._next_step
        if rest := self._interval(step) // THINNING:
            self._rest_until(step + rest)
        return False

    def affords(self, now: float | None = None) -> bool:
        """Whether the budget has room for more."""
        return self.cost_seconds <= FREE_SECONDS + self.budget * ((now or time.perf_counter()) - self._began)

    def _learn_usual(self, seconds: float) -> None:
        """The time of an unsampled step: quick to fall, slow to rise, so that a hiccup hides no cost."""
        usual = self._usual_seconds
        self._usual_seconds = min(seconds, 0.9 * usual + 0.1 * seconds) if usual else seconds

    def pause(self) -> None:
        """What happens until the next step (an evaluation, a sample) is no usual step time."""
        self._step_began = None

    def charge(self, step: int, seconds: float) -> None:
        """Books what a sampled step cost beyond a usual one, and sets the next step to be sampled.

        The first sample is free: it pays what every first use of an operation costs, once.
        """
        self._samples += 1
        if self._samples > 1:
            self.cost_seconds += max(0.0, seconds - self._usual_seconds)
        self._next_step = step - 1 + self._interval(step)
        self.pause()
        if self.every is None:
            self._rest_until(self._next_step - TIMED)

    def _interval(self, step: int) -> int:
        return min(LONGEST_INTERVAL, max(DENSE_INTERVAL, step // THINNING))

    def _rest_until(self, step: int) -> None:
        """The time until then is no step's time."""
        self.quiet_until = step
        self.pause()
