"""Learning rules: the papers' formulas in plain loops, their theorems, and what a training by them records."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn

from markone.data.dataset import Column, Dataset
from markone.diagnosis.diagnose import cannot_judge, diagnose
from markone.errors import SpecError
from markone.nets import MLP
from markone.recipe import Recipe
from markone.report.summary import summarize_run
from markone.rules import Delta, Hebb, LocalRuleSpec, Oja, PerceptronRule, novikoff_bound, target_code
from markone.training.choose import choose_recipe
from markone.training.learner import Learner
from markone.training.loop import Training, fit
from markone.training.material import prepare
from markone.training.run import Run

Floats = NDArray[np.float64]
Make = Callable[..., Recipe]

INPUTS, OUTPUTS, SAMPLES = 4, 3, 7


def hebb(w: Floats, x: Floats, y: Floats, t: Floats) -> Floats:
    return np.array([[y[k] * x[i] for i in range(len(x))] for k in range(len(y))])


def hebb_taught(w: Floats, x: Floats, y: Floats, t: Floats) -> Floats:
    return hebb(w, x, t, t)


def oja(w: Floats, x: Floats, y: Floats, t: Floats) -> Floats:
    """dw_ki = y_k (x_i - sum_j y_j w_ji)."""
    return np.array(
        [[y[k] * (x[i] - sum(y[j] * w[j, i] for j in range(len(y)))) for i in range(len(x))] for k in range(len(y))]
    )


def perceptron(w: Floats, x: Floats, y: Floats, t: Floats) -> Floats:
    change = np.zeros_like(w)
    for k in range(len(y)):
        if y[k] * t[k] <= 0:
            change[k] = t[k] * x
    return change


def delta(w: Floats, x: Floats, y: Floats, t: Floats) -> Floats:
    return np.array([(t[k] - y[k]) * x for k in range(len(y))])


FORMULAS: list[tuple[LocalRuleSpec, Callable[..., Floats], bool]] = [
    (Hebb(teacher=False), hebb, False),
    (Hebb(teacher=True), hebb_taught, False),
    (Oja(), oja, False),
    (PerceptronRule(), perceptron, True),
    (Delta(), delta, True),
]


@pytest.mark.parametrize(("rule", "formula", "bias"), FORMULAS, ids=lambda value: getattr(value, "__name__", ""))
def test_gradients_are_minus_the_papers_change(rule: LocalRuleSpec, formula: Callable[..., Floats], bias: bool) -> None:
    """The mean over the batch, sample by sample in plain loops, in float64; the bias is the weight of an input of 1."""
    generator = torch.Generator().manual_seed(0)
    layer = nn.Linear(INPUTS, OUTPUTS, dtype=torch.float64)
    x = torch.randn(SAMPLES, INPUTS, dtype=torch.float64, generator=generator)
    targets = torch.randint(OUTPUTS, (SAMPLES,), generator=generator)
    local = rule.build(layer, task="classification", optimizer="sgd", mixup=False)
    assert local is not None
    for _ in range(2):  # as two batches of an accumulated step
        local.learn(lambda: layer(x).square().mean(), targets, share=0.5)

    weight, offset = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    w = np.column_stack([weight, offset]) if bias else weight
    expected, wrong = np.zeros_like(w), 0
    for sample, target in zip(x.numpy(), targets.tolist(), strict=True):
        t = np.where(np.arange(OUTPUTS) == target, 1.0, -1.0)
        y = weight @ sample + offset
        wrong += int((y * t <= 0).sum())
        expected += formula(w, np.append(sample, 1.0) if bias else sample, y, t) / SAMPLES
    np.testing.assert_allclose(layer.weight.grad.numpy(), -expected[:, :INPUTS], rtol=1e-12, atol=1e-14)
    if bias:
        np.testing.assert_allclose(layer.bias.grad.numpy(), -expected[:, INPUTS], rtol=1e-12, atol=1e-14)
    else:
        assert layer.bias.grad is None
    assert local.counters() == ({"mistakes": 2 * wrong} if rule.kind == "perceptron" else {})
    assert not layer._forward_hooks


def test_delta_is_the_gradient_of_the_squared_error() -> None:
    layer, x, t = nn.Linear(INPUTS, 2).double(), torch.randn(9, INPUTS).double(), torch.randn(9, 2).double()
    local = Delta().build(layer, task="regression", optimizer="sgd", mixup=False)
    local.learn(lambda: layer(x).sum(), t, share=1.0)
    found = [parameter.grad.clone() for parameter in layer.parameters()]
    layer.zero_grad()
    ((layer(x) - t).square().sum() / 2 / len(x)).backward()
    for gradient, parameter in zip(found, layer.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad)


def test_a_single_output_stands_for_class_one() -> None:
    targets = torch.tensor([0, 1, 1])
    assert target_code(targets, 1).tolist() == [[-1], [1], [1]]
    assert target_code(targets, 2).tolist() == [[1, -1], [-1, 1], [-1, 1]]
    assert target_code(torch.tensor([[0.5]]), 1).tolist() == [[0.5]]


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ({"net": "mlp"}, "rule perceptron learns one linear layer, the last, and the net trains hidden.0.linear, hid"),
        ({"optimizer": "adam"}, "is itself the step, which optimizer adam would change; set optimizer.kind = sgd"),
        ({"augmentation.mixup": 0.2}, "has no meaning for mixed samples; set augmentation.mixup = none"),
        (
            {"data": "diabetes", "task": "regression", "loss": "squared"},
            "rule perceptron is made for classification, not for regression",
        ),
    ],
)
def test_what_a_rule_cannot_be_used_with(edits: dict[str, Any], message: str, small_recipe: Make) -> None:
    recipe = small_recipe({"net": "perceptron", "rule": "perceptron", "optimizer": "sgd", **edits})
    with pytest.raises(SpecError, match=message):
        Learner(prepare(recipe))


def test_a_trained_layer_that_is_not_the_last_is_refused() -> None:
    net = MLP(depth=1).build((3,), 2)
    net.head.requires_grad_(False)
    net.hidden[0].linear.requires_grad_(True)
    with pytest.raises(SpecError, match=r"trains hidden\.0\.linear; take"):
        Hebb().build(net, task="classification", optimizer="sgd", mixup=False)
    net.head.requires_grad_(True)
    net.hidden.requires_grad_(False)
    assert Hebb().build(net, task="classification", optimizer="sgd", mixup=False).layer is net.head


ALONE = {
    "net": "perceptron",
    "initialization": "constant",
    "loss": "perceptron-criterion",
    "rule": "perceptron",
    "optimizer": {"kind": "sgd", "lr": 1.0},
    "schedule": "constant",
    "normalization": "none",
    "split": {"validation": 0.0, "test": 0.0, "duplicates": False},
    "batch_size": 1,
    "recording": {"vitals": False},
}


def table(inputs: Floats, targets: NDArray[np.int64], classes: tuple[str, ...] = ("0", "1")) -> Dataset:
    columns = tuple(Column(f"x{i}", "number") for i in range(inputs.shape[1]))
    return Dataset(
        name="table",
        inputs=inputs.astype(np.float32),
        targets=targets,
        classes=classes,
        columns=columns,
        digest="0" * 64,
    )


def separable(seed: int, *, samples: int = 60, inputs: int = 3, gap: float = 0.3) -> Dataset:
    """Points on both sides of a random plane, none nearer to it than the gap."""
    generator = np.random.default_rng(seed)
    plane, offset = generator.normal(size=inputs), generator.normal() / 2
    points = generator.normal(size=(10 * samples, inputs))
    distance = (points @ plane + offset) / np.linalg.norm(plane)
    points, distance = points[abs(distance) > gap][:samples], distance[abs(distance) > gap][:samples]
    return table(points, (distance > 0).astype(np.int64))


@pytest.mark.parametrize("seed", range(5))
def test_mistakes_stay_under_novikoffs_bound(seed: int, small_recipe: Make, tmp_path: Path) -> None:
    """The widest margin through the origin is that of a support-vector machine on every point and its mirror image."""
    from sklearn.svm import SVC

    dataset = separable(seed)
    run = fit(small_recipe({**ALONE, "epochs": 500, "seed": seed}), folder=tmp_path / "run", dataset=dataset)
    mistakes = run.scalars("mistakes", "net")
    x = np.column_stack([dataset.inputs, np.ones(len(dataset))]).astype(float)
    t = np.where(dataset.targets == 1, 1.0, -1.0)
    signed = t[:, None] * x
    machine = SVC(kernel="linear", C=1e8).fit(np.concatenate([signed, -signed]), np.repeat([1, -1], len(x)))
    bound = novikoff_bound([(torch.tensor(x), torch.tensor(t)[:, None])], torch.tensor(machine.coef_))
    assert 0 < mistakes.last <= bound < 5000

    assert mistakes.values[-1] == mistakes.values[-2], "the last epoch made none"
    assert (np.diff(mistakes.values[:-1]) > 0).all(), "and every epoch before it some"
    assert len(mistakes) == round(run.epochs) < 500
    assert run.status == "finished"
    ends = [event.value for event in run.events if event.kind == "converged"]
    weights = load_file(run.folder / "net.safetensors")
    w = np.append(weights["head.weight"], weights["head.bias"]).astype(float)
    found = ((x**2).sum(1).max() ** 0.5 / ((t * (x @ w)).min() / np.linalg.norm(w))) ** 2
    assert ends == [{"mistakes": mistakes.last, "bound": pytest.approx(found, rel=1e-4)}]
    assert mistakes.last <= bound <= ends[0]["bound"], "no margin is wider than the machine's"
    assert f"ended by itself with an epoch without a mistake, after {mistakes.last:,.0f} mistakes; Novikoff's" in said(
        run
    )
    assert run.scalars("accuracy", "training").last == 1


def said(run: Run) -> str:
    return summarize_run(run, diagnose(run)).lead


def test_mistakes_do_not_depend_on_the_rate(small_recipe: Make, tmp_path: Path) -> None:
    """From weights 0 a rate only scales them: powers of two do so exactly."""
    found = []
    for lr in (2.0**-6, 1.0, 8.0):
        recipe = small_recipe({**ALONE, "epochs": 500, "optimizer.lr": lr})
        found.append(fit(recipe, folder=tmp_path / str(lr), dataset=separable(0)).scalars("mistakes", "net").values)
    assert found[0].tolist() == found[1].tolist() == found[2].tolist()


def test_the_rule_is_the_gradient_of_the_perceptron_criterion(small_recipe: Make, tmp_path: Path) -> None:
    """Two roads to Rosenblatt's machine: his rule, and backpropagation from the criterion, one sample at a time."""
    recipe = small_recipe({**ALONE, "epochs": 2, "optimizer.lr": 0.5})
    ours = fit(recipe, folder=tmp_path / "rule", dataset=separable(1))
    theirs = fit(recipe.edit("rule", "backpropagation"), folder=tmp_path / "loss", dataset=separable(1))
    assert ours.scalars("loss", "batch").values.tolist() == theirs.scalars("loss", "batch").values.tolist()
    assert ours.scalars("loss", "batch").values.any()
    assert weight_of(ours).tolist() == weight_of(theirs).tolist()


def test_the_bound_is_infinite_where_nothing_separates() -> None:
    x, t = torch.tensor([[0.0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]]), torch.tensor([-1.0, 1, 1, -1])
    w, t = torch.tensor([[1.0, 1, -0.5]]), t[:, None]
    assert math.isinf(novikoff_bound([(x, t)], w))
    assert novikoff_bound([(x[:2], t[:2]), (x[2:3], t[2:3])], w) == pytest.approx(2 / (0.25 / 2.25))
    both = torch.cat((t, -t), dim=1)[:3]
    assert novikoff_bound([(x[:3], both)], torch.cat((w, -3 * w))) == pytest.approx(2 * 2 / (0.25 / 2.25))


@pytest.mark.parametrize("edits", [{"schedule": "inverse-time"}, {"batch_size": 2}, {"initialization": "lecun-normal"}])
def test_no_bound_where_the_theorem_does_not_speak(edits: dict[str, Any], small_recipe: Make, tmp_path: Path) -> None:
    recipe = small_recipe({**ALONE, "epochs": 500, **edits})
    run = fit(recipe, folder=tmp_path / "run", dataset=separable(0))
    ends = [event.value for event in run.events if event.kind == "converged"]
    assert [set(value) for value in ends] == [{"mistakes"}]
    assert "Novikoff" not in said(run)


def test_one_output_for_each_class_sums_their_bounds(small_recipe: Make, tmp_path: Path) -> None:
    corners = np.repeat([[0.0, 1.0], [1.0, -1.0], [-1.0, -1.0]], 8, axis=0)
    points = corners + 0.1 * np.random.default_rng(0).normal(size=corners.shape)
    dataset = table(points, np.repeat([0, 1, 2], 8), ("a", "b", "c"))
    recipe = small_recipe({**ALONE, "loss": "hinge", "epochs": 500})
    run = fit(recipe, folder=tmp_path / "run", dataset=dataset)
    (end,) = [event.value for event in run.events if event.kind == "converged"]
    weights = load_file(run.folder / "net.safetensors")
    w = np.column_stack([weights["head.weight"], weights["head.bias"]]).astype(float)
    x, t = np.column_stack([points, np.ones(24)]), 2.0 * (dataset.targets[:, None] == np.arange(3)) - 1
    margins = [min(t[i, k] * (x[i] @ w[k]) for i in range(24)) / np.linalg.norm(w[k]) for k in range(3)]
    assert end["bound"] == pytest.approx(sum((max(map(np.linalg.norm, x)) / m) ** 2 for m in margins), rel=1e-4)
    assert 0 < end["mistakes"] <= end["bound"]


@pytest.mark.parametrize("seed", range(6))
def test_what_has_converged_is_kept(seed: int, small_recipe: Make, tmp_path: Path) -> None:
    """The last weights, although earlier ones did as well on the few samples that validate."""
    recipe = small_recipe({**ALONE, "data": {"kind": "and"}, "split": {"validation": 0.2, "test": 0.2}, "epochs": 100})
    run = fit(recipe.edit_all({"seed": seed, "schedule": "constant"}), folder=tmp_path / "run")
    assert [event.kind for event in run.events].count("converged") == 1
    assert run.best_step == run.steps


def test_mistakes_that_never_end_are_said(small_recipe: Make, tmp_path: Path) -> None:
    recipe = small_recipe({**ALONE, "data": {"kind": "xor", "samples": 40, "noise": 0.1}, "epochs": 5})
    run = fit(recipe, folder=tmp_path / "run")
    mistakes = run.scalars("mistakes", "net").values
    assert f"Mistakes were still being made, {mistakes[-1] - mistakes[-2]:.0f} in the last epoch" in said(run)
    assert said(run).endswith("where no plane separates the classes, the rule never ends.")


@pytest.mark.parametrize(
    ("rule", "data", "net"),
    [
        ("hebb", "digits", "perceptron"),
        ("hebb untaught", "digits", "perceptron"),
        ("oja", "digits", "perceptron"),
        ("oja", "letters", "perceptron"),
        ("delta", "digits", "perceptron"),
        ("delta", "letters", "mark-one"),
        ("perceptron", "letters", "mark-one"),
    ],
)
def test_the_chosen_rate_is_stable(rule: str, data: str, net: str, tmp_path: Path) -> None:
    """Every weight stays finite and small; taught rules beat a blind guess."""
    kind, *untaught = rule.split()
    wishes = {"rule.kind": kind, "net.kind": net, **({"rule.teacher": False} if untaught else {})}
    source = Recipe.from_dict({"data": {"kind": data, "samples": 600} if data == "letters" else data}).data
    dataset = source.build()
    recipe = choose_recipe(source, dataset, wishes=wishes).edit_all({**wishes, "recording.vitals": False})
    recipe = recipe.edit("epochs", min(recipe.epochs, 4))
    run = fit(recipe, folder=tmp_path / "run", dataset=dataset)
    assert run.status == "finished"
    largest = weight_of(run) @ weight_of(run).T
    assert np.isfinite(largest).all()
    if kind != "perceptron":  # its rate is free
        assert np.linalg.eigvalsh(largest).max() < 20
    if recipe.rule.is_taught:
        blind = run.facts["blind_guess"]["accuracy"]
        assert run.scalars("accuracy", "validation").last > 2 * blind


@pytest.mark.slow
def test_a_perceptron_never_learns_xor(small_recipe: Make, tmp_path: Path) -> None:
    """A hundred epochs, a mistake in each of them, for 10 seeds; MLPs of the default size get every point right."""
    data = {"data": {"kind": "xor", "samples": 40, "noise": 0.1}}
    for seed in range(10):
        recipe = small_recipe({**ALONE, **data, "epochs": 100, "seed": seed, "data.seed": seed})
        run = fit(recipe, folder=tmp_path / f"perceptron-{seed}")
        mistakes = run.scalars("mistakes", "net").values
        assert len(mistakes) == 100
        assert (np.diff(mistakes, prepend=0) >= 1).all()
        assert run.scalars("accuracy", "training").values.max() < 1
        mlp = {"rule": "backpropagation", "net": "mlp", "initialization": "he-normal", "loss": "cross-entropy"}
        edits = {**mlp, "optimizer": "adamw", "optimizer.lr": 0.01, "batch_size": 8, "epochs": 40}
        solved = fit(recipe.edit_all(edits), folder=tmp_path / f"mlp-{seed}")
        assert solved.scalars("accuracy", "training").last == 1


def gaussian(samples: int = 1000) -> tuple[Dataset, Floats]:
    """Points of mean 0 whose principal components have variances 4, 2, 1, 1/2 and 1/4, and these components, the first first."""
    generator = np.random.default_rng(0)
    axes = np.linalg.qr(generator.normal(size=(5, 5)))[0]
    points = generator.normal(size=(samples, 5)) * np.sqrt([4, 2, 1, 0.5, 0.25]) @ axes.T
    points -= points.mean(axis=0)
    _, components = np.linalg.eigh(points.T @ points)
    return table(points, np.arange(samples) % 3, ("a", "b", "c")), components[:, ::-1]


ALIKE = {
    **ALONE,
    "initialization": {"kind": "normal", "std": 0.1},
    "loss": "hinge",
    "batch_size": 10,
    "optimizer.lr": 0.02,
    "schedule": {"kind": "cosine"},
    "epochs": 20,
}


def weight_of(run: Run) -> Floats:
    kept: Floats = load_file(run.folder / "net.safetensors")["head.weight"].double().numpy()
    return kept


def test_oja_finds_the_first_principal_component(small_recipe: Make, tmp_path: Path) -> None:
    dataset, components = gaussian()
    two = table(dataset.inputs.astype(float), dataset.targets % 2)
    run = fit(small_recipe({**ALIKE, "rule": "oja"}), folder=tmp_path / "run", dataset=two)
    (w,) = weight_of(run)
    assert np.linalg.norm(w) == pytest.approx(1, abs=0.01)
    assert abs(w @ components[:, 0]) / np.linalg.norm(w) > 0.99
    assert run.best_step == run.steps, "what is kept is the last, whatever the targets say"
    assert not diagnose(run)
    assert "looks at no target" in " ".join(cannot_judge(run))
    assert "inputs alone" in summarize_run(run, []).headline


def test_oja_with_several_outputs_finds_their_subspace(small_recipe: Make, tmp_path: Path) -> None:
    dataset, components = gaussian()
    run = fit(small_recipe({**ALIKE, "rule": "oja", "epochs": 40}), folder=tmp_path / "run", dataset=dataset)
    w = weight_of(run)
    np.testing.assert_allclose(w @ w.T, np.eye(3), atol=0.03)
    cosines = np.linalg.svd(w @ components[:, :3], compute_uv=False)
    assert cosines.min() > 0.98


def test_hebb_grows_without_bound_along_the_same_component(small_recipe: Make, tmp_path: Path) -> None:
    dataset, components = gaussian()
    two = table(dataset.inputs.astype(float), dataset.targets % 2)
    edits = {**ALIKE, "rule": {"kind": "hebb", "teacher": False}, "optimizer.lr": 0.002, "schedule": "constant"}
    run = fit(small_recipe(edits), folder=tmp_path / "run", dataset=two)
    growth = np.diff(np.log(run.scalars("l2", "net").values))
    # |w| is multiplied by 1 + lr * variance in each of 100 steps
    assert growth[-5:] == pytest.approx(100 * np.log(1 + 0.002 * 4), rel=0.1)
    (w,) = weight_of(run)
    assert abs(w @ components[:, 0]) / np.linalg.norm(w) > 0.99
    assert not diagnose(run)


def test_hebb_with_a_teacher_learns_the_sum_of_its_samples(small_recipe: Make, tmp_path: Path) -> None:
    """w = lr sum t x, whatever the order; that direction separates two round clouds."""
    dataset = separable(3)
    run = fit(small_recipe({**ALONE, "rule": "hebb", "epochs": 1}), folder=tmp_path / "run", dataset=dataset)
    t = np.where(dataset.targets == 1, 1.0, -1.0)
    np.testing.assert_allclose(weight_of(run)[0], t @ dataset.inputs.astype(float), rtol=1e-4)
    assert run.scalars("accuracy", "training").last > 0.8


@pytest.mark.parametrize("rule", ["hebb", "oja", "perceptron", "delta"])
def test_resumed_equals_uninterrupted_bit_for_bit(rule: str, small_recipe: Make, tmp_path: Path) -> None:
    edits = {"net": "perceptron", "rule": rule, "optimizer": {"kind": "sgd", "lr": 0.01}, "accumulation": 2}
    recipe = small_recipe(edits)
    whole = fit(recipe, folder=tmp_path / "whole")
    training = Training.begin(recipe, folder=tmp_path / "parts")
    for step in training.steps():
        if step.index == 8:
            break
    parts = fit(recipe, folder=tmp_path / "parts", resume=True)
    assert parts.steps == whole.steps
    for name, part in (("loss", "batch"), ("l2", "net"), ("mistakes", "net")):
        assert parts.scalars(name, part).values.tolist() == whole.scalars(name, part).values.tolist()
    for file in ("net", "rule"):
        a, b = (load_file(next((run.folder / "checkpoint").glob(f"*/{file}.safetensors"))) for run in (whole, parts))
        assert all(torch.equal(a[key], b[key]) for key in a)
    assert bool(whole.scalars("mistakes", "net")) == (rule == "perceptron")


def test_vitals_are_taken_and_steps_not_judged(small_recipe: Make, tmp_path: Path) -> None:
    recipe = small_recipe({"net": "perceptron", "rule": "perceptron", "optimizer": "sgd", "epochs": 8})
    run = fit(recipe, folder=tmp_path / "run")
    assert len(run.vitals("update_ratio")["head"]) >= 8
    assert len(run.vitals("gradient_norm")["head"]) >= 8
    assert not [finding.slug for finding in diagnose(run) if finding.slug.startswith("lr-")]
    assert "Cannot judge the steps: the learning rule follows no gradient" in " ".join(cannot_judge(run))
