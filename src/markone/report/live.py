"""Views of a training while it runs: live in a terminal, plain lines elsewhere, nothing when quiet."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from markone.report.sparkline import sparkline
from markone.report.text import finding_line
from markone.report.words import duration, metric_name, metric_value, number, several

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from markone.diagnosis.finding import Finding
    from markone.training.loop import Step, Training

MOST_PER_SECOND = 8  # faster than that nobody reads
SHARE = 0.01  # of the time that drawing may cost: after a frame of t seconds the next comes 100 t later
LINE_SECONDS = 1.0  # between plain lines
BAR, SPARKS = 32, 48  # columns
MOST_FILES = 100  # that are named before the first step


class View(Protocol):
    """Sees every step and every diagnosis."""

    def step(self, step: "Step") -> None: ...

    def findings(self, found: "Sequence[Finding]") -> None: ...


@contextmanager
def open_view(training: "Training", console: "Console | None") -> Iterator[View]:
    """The view that fits the console: live in a terminal, lines elsewhere, none without a console."""
    if console is None:
        yield Silence()
        return
    for line in _heading(training):
        console.print(line, style="dim", soft_wrap=True)
    if not console.is_terminal:
        lines = Lines(console, Pace(training))
        try:
            yield lines
        finally:
            lines.close()
        return
    from rich.live import Live

    with Live(console=console, auto_refresh=False) as live:
        screen = Screen(live, Pace(training))
        try:
            yield screen
        finally:
            screen.close()


class Silence:
    """Sees everything and says nothing."""

    def step(self, step: "Step") -> None:
        pass

    def findings(self, found: "Sequence[Finding]") -> None:
        pass


class Pace:
    """How fast a training goes and what it last measured."""

    def __init__(self, training: "Training") -> None:
        self.recipe = training.recipe
        self.metric = training.recipe.task.metric
        self._samples = 0
        self._marks = deque([(time.monotonic(), 0)], maxlen=2 * MOST_PER_SECOND)  # the last two seconds
        self._first: tuple[float, int] | None = None
        self.latest: Step | None = None
        self.metrics: dict[str, dict[str, float]] = {}

    def step(self, step: "Step") -> None:
        self._samples += step.samples
        self.latest = step
        if self._first is None:
            self._first = (step.seconds, step.index)
        if step.metrics is not None:
            self.metrics = step.metrics

    def throughput(self) -> float:
        """Samples per second since the oldest of the last marks."""
        now = time.monotonic()
        began, before = self._marks[0]
        self._marks.append((now, self._samples))
        return (self._samples - before) / max(now - began, 1e-9)

    def seconds_left(self) -> float | None:
        """By the steps that are left, or by the recipe's seconds where they end sooner; None at the first step."""
        if self.latest is None or self._first is None or self.latest.index == self._first[1]:
            return None
        began, first = self._first
        each = (self.latest.seconds - began) / (self.latest.index - first)
        left = each * (self.latest.total_steps - self.latest.index)
        return left if self.recipe.seconds is None else max(0.0, min(left, self.recipe.seconds - self.latest.seconds))

    def numbers(self) -> list[tuple[str, str]]:
        """What is worth reading beside the bar: (name, value)."""
        found = []
        if self.latest is not None and self.latest.loss is not None:
            found.append(("loss", number(self.latest.loss)))
        part = "validation" if "validation" in self.metrics else "training"
        value = self.metrics.get(part, {}).get(self.metric)
        if value is not None:
            found.append((f"{part} {metric_name(self.metric)}", metric_value(self.metric, value)))
        found.append(("", f"{number(round(self.throughput()))} samples/s"))
        return found


class Lines:
    """A line an epoch, at most about one a second; the last one is always shown."""

    def __init__(self, console: "Console", pace: Pace) -> None:
        self._console, self._pace = console, pace
        self._due = 0.0
        self._waiting: str | None = None
        self._said: set[str] = set()

    def step(self, step: "Step") -> None:
        self._pace.step(step)
        if step.metrics is None:
            return
        self._waiting = self._line(step)
        if time.monotonic() >= self._due:
            self.close()
            self._due = time.monotonic() + LINE_SECONDS

    def findings(self, found: "Sequence[Finding]") -> None:
        """Each finding once, when it appears."""
        for finding in found:
            if finding.slug not in self._said:
                self._said.add(finding.slug)
                self._console.print(finding_line(finding), soft_wrap=True)

    def close(self) -> None:
        """Says what still waits."""
        if self._waiting is not None:
            self._console.print(self._waiting, soft_wrap=True)
            self._waiting = None

    def _line(self, step: "Step") -> str:
        numbers = [f"{name} {value}".strip() for name, value in self._pace.numbers()]
        left = self._pace.seconds_left()
        ahead = [f"{duration(left)} left"] if left else []
        return f"epoch {step.epoch + 1}/{self._pace.recipe.epochs}: {', '.join(numbers + ahead)}"


class Trace:
    """The whole of a growing series in at most ``size`` places: neighbours are averaged when it is full.

    >>> trace = Trace(4)
    >>> for value in range(8):
    ...     trace.add(value)
    >>> trace.values
    [0.5, 2.5, 4.5, 6.5]
    """

    def __init__(self, size: int) -> None:
        self._size, self._stride = size, 1
        self._sum, self._count = 0.0, 0
        self.values: list[float] = []

    def add(self, value: float) -> None:
        self._sum, self._count = self._sum + value, self._count + 1
        if self._count < self._stride:
            return
        if len(self.values) == self._size:
            pairs = zip(self.values[::2], self.values[1::2], strict=True)
            self.values = [(a + b) / 2 for a, b in pairs]
            self._stride *= 2
            if self._count < self._stride:
                return
        self.values.append(self._sum / self._count)
        self._sum, self._count = 0.0, 0


class Screen:
    """The live view: bar, numbers, the curve of the loss, and the findings as they stand."""

    def __init__(self, live: "Live", pace: Pace) -> None:
        self._live, self._pace = live, pace
        self._trace = Trace(SPARKS)
        self._loss: float | None = None
        self._found: Sequence[Finding] = ()
        self._due = 0.0

    def step(self, step: "Step") -> None:
        self._pace.step(step)
        if step.loss is not self._loss and step.loss is not None:
            self._loss = step.loss
            self._trace.add(step.loss)
        if time.monotonic() >= self._due:
            self._draw()

    def findings(self, found: "Sequence[Finding]") -> None:
        self._found = found

    def close(self) -> None:
        """The last frame, which stays."""
        self._draw()

    def _draw(self) -> None:
        began, before = time.monotonic(), time.thread_time()
        if self._pace.latest is not None:
            self._live.update(self._frame(self._pace.latest), refresh=True)
        self._due = began + max(1 / MOST_PER_SECOND, (time.thread_time() - before) / SHARE)

    def _frame(self, step: "Step") -> "Text":
        from rich.text import Text

        done = round(BAR * (step.place + 1) / step.steps_per_epoch)
        frame = Text(f"epoch {step.epoch + 1}/{self._pace.recipe.epochs}  ")
        frame.append("━" * done, "cyan").append("━" * (BAR - done), "dim")
        left = self._pace.seconds_left()
        frame.append(f"  {duration(left)} left\n" if left else "\n")
        for name, value in self._pace.numbers():
            frame.append(f"{name} " if name else "", "dim").append(f"{value}   ")
        frame.append(f"\n{sparkline(self._trace.values, width=SPARKS)}", "cyan")
        for finding in self._found:
            frame.append("\n").append(finding_line(finding))
        return frame


def _heading(training: "Training") -> Iterator[str]:
    """What begins: net, data, plan, folder; then what there is to say of the data, and each file that is not used or odd."""
    recipe, material = training.recipe, training.material
    plan = f"{several(recipe.epochs, 'epoch')} of {several(training.learner.steps_per_epoch, 'step')}"
    yield f"{recipe.net.kind} on {material.dataset.name}, {plan}, into {training.folder}"
    yield from (*material.dataset.notes, *material.split.sentences, *training.learner.sentences)
    files = [(file, "set aside: ") for file in material.dataset.set_aside]
    files += [(file, "") for file in material.dataset.odd]
    for file, what in files[:MOST_FILES]:
        yield f"{file.path} {what}{file.reason}"
    if len(files) > MOST_FILES:
        yield f"and {number(len(files) - MOST_FILES)} more; markone data lists all."
