"""The figures of a finding: the evidence, beside the sentence that needs it."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from markone.diagnosis.evidence import sampled_steps
from markone.diagnosis.finding import Finding
from markone.report.chart import Curve, chart, histogram
from markone.report.heatmap import heatmap
from markone.report.words import SHARES, metric_name
from markone.training.run import Run, Series

Figure = Callable[[Run, Finding], str]

NAMES = {
    "activation_std": "Standard deviation of each layer's outputs",
    "activation_mean": "Mean of each layer's outputs",
    "activation_gradient_norm": "Gradient at each layer's outputs",
    "gradient_norm": "Gradient of each layer's weights",
    "dead_fraction": "Share of dead units",
    "saturated_fraction": "Share of saturated outputs",
    "update_ratio": "Change of the weights per step, of their size",
    "weight_norm": "Size of each layer's weights",
}
MOST = 4
FIRST_SAMPLES = 5  # vitals are dense at first: these show the state that the net began in


def figures(run: Run, finding: Finding) -> str:
    """The figures of a finding, then of what it explains, each once and MOST together; an empty string where there are none."""
    wanted = dict.fromkeys(figure for one in (finding, *finding.folded) for figure in FIGURES.get(one.slug, ()))
    drawn = [text for figure in wanted if (text := figure(run, finding))][:MOST]
    return f'<div class="charts">{"".join(drawn)}</div>' if drawn else ""


def _by_layer_and_step(vital: str, run: Run, finding: Finding) -> str:
    layers = {name: series for name, series in run.vitals(vital).items() if name != "net"}
    return heatmap(NAMES[vital], _in_order(run, layers), end=run.steps, marked=finding.where)


def _by_layer(vital: str, run: Run, finding: Finding) -> str:
    """The first steps against the present, from the first layer to the last."""
    layers = _in_order(run, {name: one for name, one in run.vitals(vital).items() if name != "net"})
    if len(layers) < 2:
        return ""
    places = np.arange(1.0, len(layers) + 1)
    first = np.array([np.median(one.values[:FIRST_SAMPLES]) for one in layers.values()])
    now = np.array([np.median(one.values[-FIRST_SAMPLES:]) for one in layers.values()])
    curves = [Curve("at first", places, first, "reference"), Curve("now", places, now)]
    return chart(f"{NAMES[vital]}, by layer", curves, end=len(layers), unit="layer")


def _in_order(run: Run, layers: Mapping[str, Series]) -> dict[str, Series]:
    order = {layer.name: place for place, layer in enumerate(run.layers)}
    return dict(sorted(layers.items(), key=lambda item: order.get(item[0], len(order))))


def _step_lengths(run: Run, _finding: Finding) -> str:
    """Near 1 steps are short, at 1/2 they reach the floor, below 0 they went uphill."""
    ratio = sampled_steps(run).ratio
    known = ratio[np.isfinite(ratio)]
    title = "Gain of each step, of what its gradient promised (0.5 reaches the valley's floor)"
    return histogram(title, np.clip(known, -1.0, 1.5))


def _batch_losses(run: Run, finding: Finding) -> str:
    losses = run.scalars("loss", "batch")
    return chart(
        "Loss of each batch, and where it began",
        [Curve("batch", losses.steps.astype(float), losses.values), *_mark(losses, finding.since_step)],
        end=run.steps,
        unit="step",
    )


def _parts(name: str, run: Run, _finding: Finding) -> str:
    training, validation = run.scalars(name, "training"), run.scalars(name, "validation")
    curves = [
        Curve("training", training.steps.astype(float), training.values),
        Curve("validation", validation.steps.astype(float), validation.values, "other"),
    ]
    title = metric_name(name)
    return chart(
        f"{title[:1].upper()}{title[1:]} on both parts", curves, end=run.steps, unit="step", as_share=name in SHARES
    )


def _mark(series: Series, step: int) -> list[Curve]:
    """A vertical line at a step."""
    known = series.values[np.isfinite(series.values)]
    if not len(known) or not 0 < step < series.steps[-1]:
        return []
    return [Curve("", np.array([step, step], float), np.array([known.min(), known.max()]), "reference")]


def _feature_scales(run: Run, _finding: Finding) -> str:
    """Root mean square of what the net is fed, by feature, in powers of ten."""
    features = run.facts.get("input", {}).get("features", [])
    sizes = np.array([np.hypot(one["mean"], one["std"]) for one in features], dtype=np.float64)
    return histogram("Size of the inputs' features, log10", np.log10(sizes[sizes > 0]))


def _classes(run: Run, _finding: Finding) -> str:
    counts = run.facts.get("datasheet", {}).get("class_counts") or run.facts.get("targets", {}).get("class_counts")
    values = [*counts.values()] if isinstance(counts, dict) else counts
    if not values or len(values) < 2:
        return ""
    largest = np.sort(np.array(values, np.float64))[::-1]
    places = np.arange(1.0, len(largest) + 1)
    return chart(
        "Samples of each class, the largest first", [Curve("samples", places, largest)], end=len(largest), unit="class"
    )


_SIGNAL: tuple[Figure, ...] = (partial(_by_layer_and_step, "activation_std"), partial(_by_layer, "activation_std"))
_GRADIENT: tuple[Figure, ...] = (
    partial(_by_layer, "activation_gradient_norm"),
    partial(_by_layer_and_step, "activation_gradient_norm"),
)
_STEPS: tuple[Figure, ...] = (_step_lengths, _batch_losses)
_GENERALIZATION: tuple[Figure, ...] = (partial(_parts, "loss"), partial(_parts, "accuracy"))

FIGURES: Mapping[str, tuple[Figure, ...]] = {
    "vanishing-gradient": _GRADIENT,
    "exploding-gradient": _GRADIENT,
    "too-deep-without-residual": _GRADIENT,
    "wrong-hidden-activation": _GRADIENT,
    "init-scale-wrong": (*_SIGNAL, *_GRADIENT),
    "init-constant": _SIGNAL,
    "activation-scale-drift": _SIGNAL,
    "constant-output": _SIGNAL,
    "non-finite": (_batch_losses, *_SIGNAL),
    "dead-relu": (partial(_by_layer_and_step, "dead_fraction"),),
    "saturated-activation": (partial(_by_layer_and_step, "saturated_fraction"),),
    "weights-unchanged": (partial(_by_layer_and_step, "update_ratio"),),
    "over-regularized": (partial(_by_layer_and_step, "weight_norm"), _batch_losses),
    "lr-too-high": _STEPS,
    "lr-too-low": _STEPS,
    "optimizer-arguments": _STEPS,
    "loss-diverging": (_batch_losses,),
    "loss-oscillating": (_batch_losses,),
    "loss-plateau": (_batch_losses,),
    "overfitting": _GENERALIZATION,
    "epochs-too-few": _GENERALIZATION,
    "preprocessing-mismatch": _GENERALIZATION,
    "input-unnormalized": (_feature_scales,),
    "input-double-normalized": (_feature_scales,),
    "class-imbalance": (_classes,),
}
"""By slug, what shows it."""
