"""The loop: what it records, how it ends, and that the same recipe gives the same weights."""

import hashlib
import json
import math
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from markone.errors import InputError, RunError
from markone.recipe import Recipe
from markone.training.evaluate import Predictor, open_test
from markone.training.learner import Learner
from markone.training.loop import Training, fit
from markone.training.material import prepare
from markone.training.run import Run, find_run, list_runs

Make = Callable[..., Recipe]


def digest(folder: Path) -> str:
    """Of the kept weights and of the last ones."""
    files = [folder / "net.safetensors", *sorted((folder / "checkpoint").glob("*/*.safetensors"))]
    assert len(files) >= 3
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


CONVNET = {
    "data": {"kind": "shapes", "samples": 300, "size": 16},
    "net": "convnet",
    "net.width": 8,
    "augmentation": {"flip": True, "crop": 2, "cutout": 4, "mixup": 0.2, "brightness": 0.2, "contrast": 0.2},
}
KINDS = {
    "mlp": {},
    "dropout": {"net.dropout": 0.3},
    "convnet, augmented": CONVNET,
    "convnet, bfloat16": {**CONVNET, "precision": "bfloat16"},
    "accumulation": {"accumulation": 3},
    "penalties and average": {"regularization": {"l1": 0.1, "l2": 0.1, "clip": 1.0, "ema": 0.9, "weight_decay": 0.01}},
    "muon": {"optimizer": "muon"},
    "plateau": {"schedule": "plateau", "optimizer": "momentum"},
}


@pytest.mark.parametrize("edits", KINDS.values(), ids=KINDS.keys())
def test_same_recipe_gives_same_weights_and_another_seed_others(
    edits: dict[str, Any], small_recipe: Make, tmp_path: Path
) -> None:
    recipe = small_recipe({"epochs": 2, **edits})
    first = fit(recipe, folder=tmp_path / "a")
    second = fit(recipe, folder=tmp_path / "b")
    other = fit(recipe.edit("seed", 1), folder=tmp_path / "c")
    assert digest(first.folder) == digest(second.folder)
    assert digest(first.folder) != digest(other.folder)


def test_run_folder_is_as_promised(small_recipe: Make, tmp_path: Path) -> None:
    recipe = small_recipe()
    run = fit(recipe, folder=tmp_path / "run")
    assert {path.name for path in run.folder.iterdir()} == {
        "recipe.toml",
        "environment.json",
        "split.npz",
        "record.db",
        "checkpoint",
        "net.safetensors",
    }
    assert run.recipe == recipe
    assert run.status == "finished"
    assert run.steps == 4 * (320 // 32)
    assert run.epochs == pytest.approx(4)
    assert run.environment["packages"]["torch"] == torch.__version__
    assert run.meta["data"]["target_code"]["classes"]
    assert not list(tmp_path.glob(".*")), "nothing is left aside"


def test_record_holds_every_promised_series(small_recipe: Make, tmp_path: Path) -> None:
    run = fit(small_recipe({"net.activation": "relu"}), folder=tmp_path / "run")
    losses = run.scalars("loss", "batch")
    assert list(losses.steps) == list(range(1, run.steps + 1))
    assert np.isfinite(losses.values).all()
    for part in ("training", "validation"):
        series = run.scalars("accuracy", part)
        assert list(series.steps) == [0, 10, 20, 30, 40], "before training and after every epoch"
    assert run.metrics()["validation"]["accuracy"] > 0.6
    assert set(run.complexity()) == {"parameters", "l0", "l1", "l2"}
    assert run.facts["blind_guess"]["loss"] == pytest.approx(math.log(2), abs=0.01)
    assert run.facts["samples"] == {"training": 320, "validation": 40, "test": 40}
    roles = [layer.role for layer in run.layers]
    assert roles == ["weights", "activation", "weights", "activation", "weights"]
    weights = [layer.name for layer in run.layers if layer.role == "weights"]
    for vital in ("gradient_norm", "weight_norm", "update_ratio"):
        assert list(run.vitals(vital)) == ["net", *weights]
    assert list(run.vitals("dead_fraction")) == [layer.name for layer in run.layers if layer.role == "activation"]
    assert run.vitals("step_gain")["net"].steps[0] == 1


def test_training_leaves_the_random_state_of_the_process_alone(small_recipe: Make, tmp_path: Path) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    fit(small_recipe({"epochs": 1, "net.dropout": 0.5}), folder=tmp_path / "run")
    assert torch.equal(torch.rand(3), expected)


def test_vitals_change_no_weight(small_recipe: Make, tmp_path: Path) -> None:
    recipe = small_recipe({"epochs": 2, **CONVNET, "net.dropout": 0.3})
    watched = fit(recipe, folder=tmp_path / "a")
    alone = fit(recipe.edit("recording.vitals", False), folder=tmp_path / "b")
    assert watched.vitals("gradient_norm")
    assert not alone.vitals("gradient_norm")
    assert digest(watched.folder) == digest(alone.folder)


def test_non_finite_loss_stops_with_a_record_of_it(small_recipe: Make, tmp_path: Path) -> None:
    recipe = small_recipe({"optimizer": "sgd", "optimizer.lr": 1e30, "schedule": "constant", "epochs": 50})
    run = fit(recipe, folder=tmp_path / "run")
    assert run.status == "non-finite"
    fact = run.facts["non_finite"]
    losses = run.scalars("loss", "batch")
    assert not np.isfinite(losses.values[fact["step"] - 1])
    assert np.isfinite(losses.values[: fact["step"] - 1]).all()
    assert run.steps < recipe.epochs * 10
    with pytest.raises(RunError, match="non-finite"):
        Training.resume(run.folder)


def test_breaking_out_of_the_iterator_interrupts_and_resumes(small_recipe: Make, tmp_path: Path) -> None:
    recipe = small_recipe({"net.dropout": 0.2})
    whole = fit(recipe, folder=tmp_path / "whole")
    training = Training.begin(recipe, folder=tmp_path / "parts")
    for step in training.steps():
        if step.index == 13:
            break
    assert training.run.status == "interrupted"
    run = fit(recipe, folder=tmp_path / "parts", resume=True)
    assert run.status == "finished"
    assert digest(run.folder) == digest(whole.folder)
    assert list(run.scalars("loss", "batch").values) == list(whole.scalars("loss", "batch").values)
    for part in ("training", "validation"):
        assert list(run.scalars("loss", part).values) == list(whole.scalars("loss", part).values)


@pytest.mark.parametrize("edits", KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("cut", [1, 3, 7], ids="cut after {}".format)
def test_resumed_equals_uninterrupted_bit_for_bit(
    edits: dict[str, Any], cut: int, small_recipe: Make, tmp_path: Path
) -> None:
    recipe = small_recipe({"epochs": 2, "batch_size": 64, **edits})
    whole = fit(recipe, folder=tmp_path / "whole")
    training = Training.begin(recipe, folder=tmp_path / "parts")
    for step in training.steps():
        if step.index == min(cut, step.total_steps - 1):
            break
    resumed = fit(recipe, folder=tmp_path / "parts", resume=True)
    assert digest(resumed.folder) == digest(whole.folder)


def test_time_budget_ends_the_training_with_an_evaluation(small_recipe: Make, tmp_path: Path) -> None:
    run = fit(small_recipe({"epochs": 100_000, "seconds": 0.3}), folder=tmp_path / "run")
    assert run.status == "finished"
    assert run.scalars("accuracy", "validation").steps[-1] == run.steps
    assert (run.folder / "net.safetensors").exists()


def test_early_stopping_keeps_the_best_weights(small_recipe: Make, tmp_path: Path) -> None:
    recipe = small_recipe({"epochs": 200, "regularization.early_stopping": {"patience": 3}, "schedule": "constant"})
    run = fit(recipe, folder=tmp_path / "run")
    validation = run.scalars("accuracy", "validation")
    assert run.epochs < 200
    assert run.metrics()["validation"]["accuracy"] == validation.values[1:].max()
    assert validation.steps[-1] - run.best_step == 3 * 10
    assert any(event.kind == "early-stopped" for event in run.events)


def test_average_of_weights_is_what_is_kept(small_recipe: Make, tmp_path: Path) -> None:
    run = fit(small_recipe({"regularization.ema": 0.99, "epochs": 1}), folder=tmp_path / "run")
    kept = load_file(run.folder / "net.safetensors")
    saved = load_file(next((run.folder / "checkpoint").glob("*/net.safetensors")))
    last = {name.removeprefix("net."): value for name, value in saved.items()}
    assert kept.keys() == last.keys()
    assert any(not torch.equal(kept[name], last[name]) for name in kept)


def test_accumulation_equals_one_big_batch(small_recipe: Make, tmp_path: Path) -> None:
    """The mean of the gradients of two halves is the gradient of the whole."""
    recipe = small_recipe({"batch_size": 64})
    material = prepare(recipe)
    learner = Learner(material)
    whole = next(material.batches.epoch(0))
    halves = tuple(
        type(whole)(inputs, targets)
        for inputs, targets in zip(whole.inputs.split(32), whole.targets.split(32), strict=True)
    )
    learner.backward((whole,), 0)
    expected = [parameter.grad.clone() for parameter in learner.net.parameters()]
    learner.optimizer.zero_grad()
    learner.backward(halves, 0)
    for parameter, gradient in zip(learner.net.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


def test_accumulation_longer_than_an_epoch_is_refused(small_recipe: Make, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="accumulation = 99"):
        Training.begin(small_recipe({"accumulation": 99}), folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_signal_stops_after_the_step_and_saves(small_recipe: Make, tmp_path: Path) -> None:
    recipe = small_recipe({"epochs": 100_000})
    before = signal.getsignal(signal.SIGINT)
    threading.Timer(0.5, signal.raise_signal, [signal.SIGINT]).start()
    run = fit(recipe, folder=tmp_path / "run")
    assert run.status == "interrupted"
    checkpoint = next((run.folder / "checkpoint").glob("*/state.json"))
    assert json.loads(checkpoint.read_text())["step"] == run.steps
    assert signal.getsignal(signal.SIGINT) is before


def test_test_part_is_sealed_and_openings_are_counted(small_recipe: Make, tmp_path: Path) -> None:
    run = fit(small_recipe({"epochs": 8}), folder=tmp_path / "run")
    assert not (run.folder / "test.json").exists()
    first, second = open_test(run), open_test(run)
    assert (first["openings"], second["openings"]) == (1, 2)
    accuracy = first["metrics"]["accuracy"]
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]
    assert first["metrics"] == second["metrics"]
    assert first["samples"] == 40


def test_test_part_decides_nothing(small_recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights, statistics and metrics are the same when every test sample is replaced by nonsense."""
    recipe = small_recipe()
    honest = fit(recipe, folder=tmp_path / "a")
    dataset = recipe.data.build()
    kept = np.load(honest.folder / "split.npz")["part"]
    inputs = np.array(dataset.inputs)
    inputs[kept == 2] = 1e6
    spoiled = type(dataset)(**{**vars(dataset), "inputs": inputs})
    run = fit(recipe.edit("split.duplicates", False), folder=tmp_path / "b", dataset=spoiled)
    again = fit(recipe.edit("split.duplicates", False), folder=tmp_path / "c", dataset=dataset)
    assert digest(run.folder) == digest(again.folder)


def test_predictor_agrees_with_the_evaluation(small_recipe: Make, tmp_path: Path) -> None:
    run = fit(small_recipe({"epochs": 8}), folder=tmp_path / "run")
    dataset = run.recipe.data.build()
    validation = np.load(run.folder / "split.npz")["part"] == 1
    predictions = Predictor.load(run).arrays(dataset.inputs[validation])
    classes = [prediction["class"] for prediction in predictions]
    right = [dataset.classes[target] == name for target, name in zip(dataset.targets[validation], classes, strict=True)]
    assert np.mean(right) == pytest.approx(run.metrics()["validation"]["accuracy"])
    assert all(sum(p["probabilities"].values()) == pytest.approx(1, abs=1e-5) for p in predictions)


def test_regression_is_scored_in_original_units(small_recipe: Make, tmp_path: Path) -> None:
    edits = {"data": "diabetes", "task": "regression", "loss": "squared", "epochs": 30}
    run = fit(small_recipe(edits), folder=tmp_path / "run")
    metrics = run.metrics()["validation"]
    assert 30 < metrics["rmse"] < 75, "disease progression has a standard deviation of 77"
    assert run.facts["blind_guess"]["rmse"] == pytest.approx(77, abs=8)
    assert open_test(run)["metrics"]["r2"]["value"] > 0.1


def test_two_processes_cannot_train_one_run(small_recipe: Make, tmp_path: Path) -> None:
    """The claim is the live process's: a run that init (process 1) holds is refused."""
    training = Training.begin(small_recipe(), folder=tmp_path / "run")
    import os
    import platform

    training.recorder.meta("process", {"pid": os.getppid(), "host": platform.node(), "start": None})
    training.recorder.flush()
    with pytest.raises(RunError, match="is being trained by process"):
        next(iter(training.steps()))


def test_runs_are_found_by_name_and_age(small_recipe: Make, tmp_path: Path) -> None:
    parent = tmp_path / "runs"
    names = ["2026-01-01-0900-moons-aaaa", "2026-01-02-0900-moons-bbbb"]
    for name in names:
        fit(small_recipe({"epochs": 1}), folder=parent / name)
    assert [run.id for run in list_runs(parent)] == names
    assert find_run("last", parent=parent).id == names[1]
    assert find_run(names[0], parent=parent).id == names[0]
    with pytest.raises(RunError, match=f"Did you mean {names[0]}"):
        find_run(names[0][:-1], parent=parent)
    with pytest.raises(RunError, match="no run folder"):
        Run(tmp_path)


def test_openings_are_counted_in_the_record_whatever_becomes_of_the_file(small_recipe: Make, tmp_path: Path) -> None:
    run = fit(small_recipe({"epochs": 1}), folder=tmp_path / "run")
    open_test(run)
    (run.folder / "test.json").unlink()
    assert open_test(run)["openings"] == 2


def test_changed_data_is_refused_by_resume_and_test(small_recipe: Make, tmp_path: Path) -> None:
    """Other samples under the same name would fall into the kept split at random: the test part would be no test part."""
    path = tmp_path / "a.npz"
    inputs, targets = np.random.default_rng(0).normal(size=(2, 200, 3)), np.arange(200) % 2
    np.savez(path, x=inputs[0], y=targets)
    recipe = small_recipe({"data": {"kind": "arrays", "path": str(path)}, "epochs": 3})
    training = Training.begin(recipe, folder=tmp_path / "run")
    for _ in training.steps():
        if training.at.epoch == 1:
            break
    np.savez(path, x=inputs[1], y=targets)
    with pytest.raises(InputError, match="its content has changed"):
        fit(recipe, folder=tmp_path / "run", resume=True)
    with pytest.raises(InputError, match="its content has changed"):
        open_test(Run(tmp_path / "run"))
    np.savez(path, x=inputs[0], y=targets)
    assert fit(recipe, folder=tmp_path / "run", resume=True).status == "finished"


def test_interrupted_run_knows_its_time(small_recipe: Make, tmp_path: Path) -> None:
    training = Training.begin(small_recipe(), folder=tmp_path / "run")
    for step in training.steps():
        if step.index == 3:
            break
    assert 0 < training.run.seconds <= training.seconds
