"""Score: how good a run is by its main metric, beside a blind guess."""

from dataclasses import dataclass

from markone.diagnosis.thresholds import NOTHING_LEARNED
from markone.metrics import wilson_interval
from markone.report.words import SHARES, metric_name, metric_value
from markone.training.run import Run


@dataclass(frozen=True)
class Score:
    """The main metric of the kept weights on the part that judges them: validation, or training where there is none.

    blind: the same metric of the best constant output; None where that is not known.
    samples: how many samples were judged; 0 where that is not known.
    """

    name: str
    part: str
    value: float
    blind: float | None
    samples: int
    higher_is_better: bool

    @property
    def text(self) -> str:
        return metric_value(self.name, self.value)

    @property
    def label(self) -> str:
        return f"{self.part} {metric_name(self.name)}"

    @property
    def blind_text(self) -> str:
        return "unknown" if self.blind is None else metric_value(self.name, self.blind)

    @property
    def beats_blind(self) -> bool:
        """Better than the blind guess by more than nothing.

        For accuracy that is the luck of so many samples (Wilson, 95 %); of other metrics more than NOTHING_LEARNED of the
        blind guess's error must be gone, as underfitting has it.
        """
        if self.blind is None:
            return True
        if self.name == "accuracy" and self.samples:
            return wilson_interval(round(self.value * self.samples), self.samples)[0] > self.blind
        return self.skill > NOTHING_LEARNED

    @property
    def skill(self) -> float:
        """The share of the blind guess's error that is gone; squared errors for rmse, as R^2 has it. 0 where that is not known."""
        if self.blind is None:
            return 0.0
        left, blind = (1 - self.value, 1 - self.blind) if self.higher_is_better else (self.value, self.blind)
        power = 2 if self.name == "rmse" else 1
        return 1 - (left / blind) ** power if blind > 0 else 0.0


def score_of(run: Run) -> Score | None:
    """The score, or None before the first evaluation."""
    metrics = run.metrics()
    part = "validation" if metrics.get("validation") else "training"
    found = metrics.get(part, {})
    name = _main_metric(run, found)
    if name not in found:
        return None
    blind = run.facts.get("blind_guess", {}).get(name)
    samples = int(run.facts.get("samples", {}).get(part, 0)) if part == "validation" else 0
    return Score(name, part, found[name], blind, samples, name in (*SHARES, "r2"))


def _main_metric(run: Run, found: dict[str, float]) -> str:
    if run.recipe is not None and run.recipe.task.metric in found:
        return str(run.recipe.task.metric)
    return next((name for name in ("accuracy", "rmse") if name in found), "loss")
