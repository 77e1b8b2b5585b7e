"""How steps were set up and how a training goes: the checks' arithmetic on records written by hand, and the fact ``optimizer``."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from markone.data.source import Builtin
from markone.diagnosis import optimizer_checks, trend_checks
from markone.diagnosis.diagnose import diagnose
from markone.diagnosis.finding import Finding, Severity
from markone.diagnosis.optimizer_checks import gain_kept, projected_fall
from markone.recipe import Recipe
from markone.training.loop import fit
from markone.training.optimizer_fact import optimizer_fact
from markone.training.run import Run
from markone.training.watch import watch
from tests.vitals_record import chain, write_vitals

CHECKS = {one.__name__.replace("_", "-"): one for one in (*optimizer_checks.CHECKS, *trend_checks.CHECKS)}
ADAM: dict[str, Any] = {"lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.0, "parameters": 90}


def found(run: Run, slug: str) -> Finding | None:
    return next(iter(CHECKS[slug](run)), None)


def setup(kind: str = "Adam", *, batch_size: int = 32, samples: int = 800, **group: Any) -> dict[str, Any]:
    """The facts of a training by one optimizer."""
    fact = {"kind": kind, "adaptive": kind != "SGD", "squares": kind == "Adam", "batch_size": batch_size}
    return {"optimizer": {**fact, "groups": [{**ADAM, **group}]}, "samples": {"training": samples, "validation": 0}}


class TestFact:
    def test_groups_as_they_were_given(self) -> None:
        net = nn.Linear(3, 2)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
        torch.optim.lr_scheduler.ConstantLR(optimizer, factor=0.5)
        fact = optimizer_fact(optimizer, batch_size=8, schedule=None)
        group = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "dampening": 0.0, "nesterov": True, "parameters": 8}
        assert fact == {"kind": "SGD", "adaptive": False, "squares": False, "batch_size": 8, "groups": [group]}

    def test_a_recipe_s(self, tmp_path: Path) -> None:
        edits = {"epochs": 1, "batch_size": 500, "accumulation": 2, "optimizer.lr": 0.002, "regularization.l2": 0.1}
        run = fit(Recipe(data=Builtin(kind="digits")).edit_all({"net.kind": "mlp", **edits}), folder=tmp_path / "run")
        fact = run.facts["optimizer"]
        assert (fact["kind"], fact["batch_size"], fact["schedule"], fact["l2"]) == ("AdamW", 1000, "one-cycle", 0.1)
        assert (fact["total_steps"], fact["steps_per_epoch"]) == (1, 1)
        assert [one["lr"] for one in fact["groups"]] == [0.002, 0.002]

    def test_a_watched_one_s(self, tmp_path: Path) -> None:
        torch.manual_seed(0)
        net = nn.Linear(3, 2)
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01, eps=1e-4)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        with watch(net, optimizer, folder=tmp_path / "run", probes=False) as watching:
            for _ in range(3):
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(torch.randn(6, 3)), torch.tensor([0, 1, 0, 1, 0, 1])).backward()
                optimizer.step()
                schedule.step()
        fact = watching.finished.facts["optimizer"]
        assert (fact["kind"], fact["batch_size"], fact["schedule"]) == ("Adam", 6, "ExponentialLR")
        assert (fact["groups"][0]["lr"], fact["groups"][0]["eps"], fact["groups"][0]["betas"]) == (
            0.01,
            1e-4,
            [0.9, 0.999],
        )


class TestArguments:
    @pytest.mark.parametrize(
        ("epsilon", "loss", "severity"),
        [(0.31, 1.9, "severe"), (0.29, 1.9, None), (0.31, 1.4, "warning"), (0.31, 0.8, "note"), (0.31, 0.1, None)],
    )
    def test_epsilon_against_the_gradients(self, tmp_path: Path, epsilon: float, loss: float, severity: str) -> None:
        """Nine layers of ten parameters and a norm of 0.1 sqrt(10): entries of 1/30 in size; nine times that is 0.3."""
        vitals: dict[tuple[str, str], Any] = {("net", "gradient_norm"): 0.1 * math.sqrt(10)}
        layers = [one for one in chain(8) if one["role"] == "weights"]
        run = write_vitals(tmp_path / "run", losses=loss, vitals=vitals, layers=layers, facts=setup(eps=epsilon))
        one = found(run, "optimizer-arguments")
        assert (one.severity.value if one else None) == severity
        if one is not None:
            assert one.reference == pytest.approx(9 / 30)
            assert "steps are 10 times shorter" in one.message

    @pytest.mark.parametrize(("betas", "fires"), [([0.9, 0.66], False), ([0.9, 0.65], True), ([0.5, 0.07], False)])
    def test_betas_of_a_bound_that_holds(self, tmp_path: Path, betas: list[float], fires: bool) -> None:
        """0.9^4 = 0.6561."""
        run = write_vitals(tmp_path / "run", facts=setup(betas=betas))
        assert (found(run, "optimizer-arguments") is not None) is fires

    @pytest.mark.parametrize(
        ("momentum", "steps", "fires"), [(0.99, 399, True), (0.99, 401, False), (0.98, 40, False), (0.999, 1000, True)]
    )
    def test_a_momentum_that_outlasts_the_training(
        self, tmp_path: Path, momentum: float, steps: int, fires: bool
    ) -> None:
        run = write_vitals(tmp_path / "run", steps=steps, facts=setup("SGD", momentum=momentum, betas=None))
        assert (found(run, "optimizer-arguments") is not None) is fires

    def test_next_to_no_epsilon_is_a_note(self, tmp_path: Path) -> None:
        one = found(write_vitals(tmp_path / "run", facts=setup(eps=1e-16)), "optimizer-arguments")
        assert one is not None
        assert one.severity is Severity.NOTE

    def test_usual_arguments_are_none(self, tmp_path: Path) -> None:
        vitals: dict[tuple[str, str], Any] = {("net", "gradient_norm"): 1e-12}
        run = write_vitals(tmp_path / "run", vitals=vitals, layers=chain(2), facts=setup())
        assert found(run, "optimizer-arguments") is None, "a gradient that vanished is no fault of epsilon"

    @pytest.mark.parametrize(("ratio", "gradient", "fires"), [(5e-8, 1.0, True), (7e-8, 1.0, False), (0.0, 0.0, False)])
    def test_steps_under_the_rounding(self, tmp_path: Path, ratio: float, gradient: float, fires: bool) -> None:
        vitals: dict[tuple[str, str], Any] = {("net", "gradient_norm"): gradient}
        run = write_vitals(tmp_path / "run", update_ratio=ratio, vitals=vitals)
        assert (found(run, "weights-unchanged") is not None) is fires


class TestAmount:
    def test_a_straight_fall_is_projected(self, tmp_path: Path) -> None:
        """From 2.0 down by 0.01 a step: 0.4 in 40 steps more, of a blind guess's 2."""
        run = write_vitals(tmp_path / "run", losses=list(2.0 - 0.01 * np.arange(40)))
        assert projected_fall(run) == pytest.approx(0.2)

    def test_noise_is_no_fall(self, tmp_path: Path) -> None:
        misses = 0
        for seed in range(20):
            losses = np.random.default_rng(seed).normal(1.9, 0.2, 40)
            misses += projected_fall(write_vitals(tmp_path / str(seed), losses=list(losses))) is not None
        assert misses <= 2

    @pytest.mark.parametrize(
        ("start", "slope", "update", "severity"),
        [(2.0, 0.01, 0.01, "note"), (2.0, 0.004, 0.01, None), (2.0, 0.01, 5e-4, None), (0.7, 0.01, 0.01, "note")],
    )
    def test_still_falling_at_the_end(
        self, tmp_path: Path, start: float, slope: float, update: float, severity: str | None
    ) -> None:
        losses = list(start - slope * np.arange(40))
        one = found(write_vitals(tmp_path / "run", losses=losses, update_ratio=update), "epochs-too-few")
        assert (one.severity.value if one else None) == severity

    def test_a_training_that_goes_on_is_not_too_short(self, tmp_path: Path) -> None:
        losses = list(2.0 - 0.01 * np.arange(40))
        assert found(write_vitals(tmp_path / "run", losses=losses, status="running"), "epochs-too-few") is None

    @pytest.mark.parametrize(
        ("batch", "steps", "fires"), [(800, 20, True), (200, 100, True), (190, 100, False), (200, 101, False)]
    )
    def test_few_steps_of_large_batches(self, tmp_path: Path, batch: int, steps: int, fires: bool) -> None:
        run = write_vitals(tmp_path / "run", steps=steps, facts=setup(batch_size=batch))
        assert (found(run, "batch-size-too-large") is not None) is fires

    def test_what_is_left_of_the_gain(self, tmp_path: Path) -> None:
        """Each of 400 steps gains 0.1 on its own batch, 40 in all; the mean loss fell from 2 to 1.6."""
        losses = [2.0] * 200 + [1.6] * 200
        run = write_vitals(tmp_path / "run", steps=400, losses=losses, gain=0.1, facts=setup(batch_size=1))
        assert gain_kept(run) == pytest.approx(0.4 / 40)
        assert found(run, "batch-size-too-small") is not None

    @pytest.mark.parametrize(("batch", "gain", "loss"), [(5, 0.1, 1.6), (1, 0.04, 1.6), (1, 0.1, 0.9)])
    def test_batches_that_are_large_enough(self, tmp_path: Path, batch: int, gain: float, loss: float) -> None:
        facts = setup(batch_size=batch)
        run = write_vitals(tmp_path / "run", steps=400, losses=[2.0] * 200 + [loss] * 200, gain=gain, facts=facts)
        assert found(run, "batch-size-too-small") is None


class TestTrends:
    @pytest.mark.parametrize(("last", "fires"), [(2.7, True), (2.5, False)])
    def test_diverging_is_over_the_start_and_over_a_guess(self, tmp_path: Path, last: float, fires: bool) -> None:
        """It begins at 2.4, that is 1.2 guesses; 1.3 is the least to speak of."""
        metrics = {"loss": [2.4, 2.0, 2.2, 2.5, last], "accuracy": [0.5] * 5}
        run = write_vitals(tmp_path / "run", losses=[2.0] * 20 + [last] * 20, training=metrics)
        assert (found(run, "loss-diverging") is not None) is fires

    @pytest.mark.parametrize(
        ("losses", "fires"),
        [([1.5, 1.9, 1.4, 1.9], True), ([1.5, 1.6, 1.5, 1.6], False), ([1.9, 1.7, 1.5, 1.3], False)],
    )
    def test_oscillating_from_evaluation_to_evaluation(self, tmp_path: Path, losses: list[float], fires: bool) -> None:
        metrics = {"loss": [2.2, *losses], "accuracy": [0.5] * 5}
        run = write_vitals(tmp_path / "run", losses=1.9, training=metrics)
        assert (found(run, "loss-oscillating") is not None) is fires

    @pytest.mark.parametrize(("slope", "rate", "fires"), [(0.0, 1.0, True), (0.01, 1.0, False), (0.0, 0.1, False)])
    def test_a_plateau_at_full_rate(self, tmp_path: Path, slope: float, rate: float, fires: bool) -> None:
        losses, rates = list(2.0 - slope * np.arange(40)), [0.1] * 15 + [0.1 * rate] * 25
        one = found(write_vitals(tmp_path / "run", losses=losses, lr=rates), "loss-plateau")
        assert (one is not None) is fires

    @pytest.mark.parametrize(("now", "loss", "fires"), [(9e-4, 1.9, True), (1.1e-3, 1.9, False), (9e-4, 1.5, False)])
    def test_outputs_that_do_not_vary(self, tmp_path: Path, now: float, loss: float, fires: bool) -> None:
        vitals: dict[tuple[str, str], Any] = {
            ("head", "row_deviation"): [1.0] * 5 + [now] * 35,
            ("head", "activation_std"): [1.0] * 5 + [0.5] * 35,
        }
        one = found(write_vitals(tmp_path / "run", losses=loss, layers=chain(1), vitals=vitals), "constant-output")
        assert (one is not None) is fires
        assert one is None or (one.where, one.since_step) == ("head", 6)

    @pytest.mark.parametrize(("first", "severity"), [(20.2, "severe"), (19.8, None)])
    def test_a_poor_start(self, tmp_path: Path, first: float, severity: str | None) -> None:
        metrics = {"loss": [first, 2.0, 2.0, 2.0, 2.0], "accuracy": [0.5] * 5}
        one = found(write_vitals(tmp_path / "run", training=metrics), "poor-initial-loss")
        assert (one.severity.value if one else None) == severity

    @pytest.mark.parametrize(("late", "words"), [(21.0, "21 times larger"), (1 / 21, "21 times smaller"), (19.0, None)])
    def test_outputs_that_drift_away(self, tmp_path: Path, late: float, words: str | None) -> None:
        vitals: dict[tuple[str, str], Any] = {("head", "activation_std"): [1.0] * 10 + [late] * 30}
        one = found(write_vitals(tmp_path / "run", layers=chain(1), vitals=vitals), "activation-scale-drift")
        assert (one is not None) is (words is not None)
        if one is not None:
            assert words is not None
            assert words in one.message
            assert one.since_step == 11

    @pytest.mark.parametrize(
        ("operation", "parameters", "fires"),
        [("Log of a value that is not over 0", [], True), ("Div by zero", [], False), ("Log of a value that is not over 0", ["w"], False)],
    )  # fmt: skip
    def test_a_logarithm_of_zero(self, tmp_path: Path, operation: str, parameters: list[str], fires: bool) -> None:
        fact = {"step": 4, "loss": "nan", "operation": operation, "line": "train.py:7", "parameters": parameters}
        losses = [1.0] * 3 + [math.nan] * 37
        run = write_vitals(tmp_path / "run", losses=losses, facts={"non_finite": fact}, status="non-finite")
        one = found(run, "log-of-zero")
        assert (one is not None) is fires
        if one is not None:
            assert (one.place, one.since_step) == ("train.py:7", 4)
            assert diagnose(run)[0].slug == "log-of-zero"


def test_none_speaks_of_a_net_that_learned(tmp_path: Path) -> None:
    vitals: dict[tuple[str, str], Any] = {
        ("head", "activation_std"): [1.0] * 10 + [90.0] * 30,
        ("head", "row_deviation"): 1e-9,
        ("net", "gradient_norm"): 1e-3,
    }
    facts = setup(eps=1.0, betas=[0.99, 0.5], batch_size=1)
    metrics = {"loss": [50.0, 0.1, 0.5, 0.1, 0.1], "accuracy": [0.5, 1.0, 0.8, 1.0, 1.0]}
    run = write_vitals(tmp_path / "run", losses=0.1, layers=chain(1), vitals=vitals, facts=facts, training=metrics)
    loud = [one.slug for check in CHECKS.values() for one in check(run) if one.severity is not Severity.NOTE]
    assert loud == []
