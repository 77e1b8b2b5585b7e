"""Diagnosis: the checks' arithmetic on records written by hand, and the checks on real trainings."""

import ast
import hashlib
import json
import math
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from markone.cli.options import read_edits
from markone.data.source import resolve
from markone.diagnosis import data_checks, evidence, thresholds
from markone.diagnosis.cases import CASES, Case, case
from markone.diagnosis.causes import EXPLAINS, PROVEN, RANK
from markone.diagnosis.diagnose import CHECKS, cannot_judge, diagnose
from markone.diagnosis.evidence import Steps, learning, may_come_back, sampled_steps, since, skill
from markone.diagnosis.finding import Finding, Severity
from markone.diagnosis.pages import page, slugs
from markone.errors import InputError
from markone.recipe import Recipe
from markone.training.choose import choose_recipe
from markone.training.loop import fit
from markone.training.run import Run
from tests.vitals_record import BLIND, chain, product, write_vitals

DIAGNOSIS = Path(data_checks.__file__).parent
LIMITS = {name: value for name, value in vars(thresholds).items() if isinstance(value, thresholds.Threshold)}
SCRIPTS = {folder.name for folder in (Path(__file__).parent / "loops").iterdir() if (folder / "ill.py").is_file()}
SLUGS = [check.__name__.replace("_", "-") for check in CHECKS]  # type: ignore[attr-defined]
INPUT: dict[str, Any] = {"smallest": -3.0, "largest": 900.0, "mean": 0.0, "std": 1.0}
ONLY_NOTES = {"epochs-too-few"}  # a training that gets better is short of time, and not ill
FLAT, RISING = [2.2, 0.6, 0.6, 0.6, 0.6], [2.2, 0.6, 0.5, 0.6, 0.9]  # validation loss by epoch
LEARNING_NOTHING = {"loss": [2.2, 2.0, 2.0, 2.0, 2.0], "accuracy": [0.5] * 5}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """These nets are far too small for two, and two threads wait for each other where the machine is busy."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def found(run: Run, slug: str) -> Finding | None:
    """What one check alone says."""
    return next(iter(CHECKS[SLUGS.index(slug)](run)), None)


class TestFamily:
    """One conformance test: every property for every check."""

    @pytest.mark.parametrize("slug", SLUGS)
    def test_a_check_has_rank_page_and_case(self, slug: str) -> None:
        """What a loop's code shows has scripts instead of recipes (test_loops.py)."""
        assert slug in RANK
        assert slug in SCRIPTS or case(slug).slug == slug
        assert page(slug).startswith("# ")

    def test_nothing_is_left_over(self) -> None:
        assert sorted(RANK) == sorted(SLUGS) == slugs()
        assert {one.slug for one in CASES} | SCRIPTS == set(RANK)
        assert set(EXPLAINS) <= set(RANK)
        assert set().union(*EXPLAINS.values()) <= set(RANK)

    @pytest.mark.parametrize("slug", SLUGS)
    def test_a_page_has_its_sections(self, slug: str) -> None:
        headings = re.findall(r"^## (.+)$", page(slug), re.MULTILINE)
        assert headings == ["How we know", "Why it happens", "What to do", "When it is harmless", "Papers"]
        assert "**What it is.**" in page(slug)

    @pytest.mark.parametrize("slug", SLUGS)
    def test_the_numbers_of_a_page_are_those_of_the_table(self, slug: str) -> None:
        named = re.findall(r"`([A-Z_]{4,})(?: = ([^`]+))?`", page(slug))
        assert named or slug == "non-finite" or slug in PROVEN
        for name, value in named:
            assert float(value or LIMITS[name]) == LIMITS[name], f"{name} is {LIMITS[name]} in thresholds.py"

    @pytest.mark.parametrize("slug", SLUGS)
    def test_what_a_page_advises_can_be_set(self, slug: str) -> None:
        settings = [one.strip("'") for one in re.findall(r"`--set ([^`]+)`", page(slug)) if not one.endswith("...")]
        for setting in settings:
            for net in ("mlp", "convnet"):
                Recipe(data={"kind": "digits"}).edit_all({"net.kind": net, **read_edits([setting])})

    def test_an_unknown_page_offers_the_near_one(self) -> None:
        with pytest.raises(
            InputError, match=r"no finding 'dead-rel'. Did you mean dead-relu\? List all \d+ with: markone explain"
        ) as raised:
            page("dead-rel")
        assert raised.value.slug == "finding-unknown"
        with pytest.raises(InputError, match=r"no case 'lr-to-high'\. Did you mean lr-too-high"):
            case("lr-to-high")

    def test_an_ill_recipe_is_its_twin_with_one_field_changed(self) -> None:
        for one in CASES:
            kinds = {path.rsplit(".", 1)[0] for path in one.difference if path.endswith(".kind")}
            causes = [path for path in one.difference if path.rsplit(".", 1)[0] not in kinds or path.endswith(".kind")]
            assert len(causes) == 1, f"{one.slug}: {one.difference}"


class TestThresholds:
    def test_each_has_an_origin(self) -> None:
        assert LIMITS
        assert all(len(limit.origin) > 10 for limit in LIMITS.values())

    def test_each_is_used(self) -> None:
        code = "".join(path.read_text(encoding="utf-8") for path in DIAGNOSIS.glob("*.py"))
        assert [name for name in LIMITS if f"limit.{name}" not in code] == []

    @pytest.mark.parametrize("path", sorted(DIAGNOSIS.glob("*_checks.py")), ids=lambda path: path.stem)
    def test_no_check_compares_with_a_number_of_its_own(self, path: Path) -> None:
        """0 and 1 are no thresholds, and a length is a count of things that a formula needs."""
        inline = []
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare) and not ast.unparse(node.left).startswith("len("):
                numbers = [side.value for side in (node.left, *node.comparators) if isinstance(side, ast.Constant)]
                inline += [
                    ast.unparse(node) for value in numbers if isinstance(value, int | float) and value not in (0, 1)
                ]
        assert inline == []


class TestEvidence:
    def test_learning_takes_the_better_of_loss_and_accuracy(self, tmp_path: Path) -> None:
        metrics = {"loss": [2.4, 1.5, 1.6], "accuracy": [0.5, 0.7, 0.8]}
        state = learning(write_vitals(tmp_path / "run", steps=20, losses=1.8, training=metrics))
        assert state is not None
        assert (state.first, state.best, state.now) == (1.2, 0.75, 0.8)
        assert state.explained == pytest.approx(0.2)
        assert state.learned == pytest.approx((0.8 - 0.5) / (1 - 0.5))
        assert state.severity is Severity.WARNING

    def test_learning_without_evaluations_is_the_median_of_the_last_batches(self, tmp_path: Path) -> None:
        losses = [2.0] * 36 + [0.4, 0.5, 9.0, 0.5]
        state = learning(write_vitals(tmp_path / "run", losses=losses))
        assert state is not None
        assert state.now == pytest.approx(0.5 / 2.0)

    def test_batches_have_a_blind_guess_of_their_own(self, tmp_path: Path) -> None:
        """Label smoothing raises the loss of batches, of a blind guess's too, but not that of evaluations."""
        facts = {"blind_guess": {**BLIND, "batch_loss": 2.5}}
        state = learning(write_vitals(tmp_path / "run", losses=2.0, training={"loss": [2.4, 1.7]}, facts=facts))
        assert state is not None
        assert (state.first, state.now) == (1.2, pytest.approx(2.0 / 2.5))

    def test_nothing_is_learned_once_the_loss_is_no_number(self, tmp_path: Path) -> None:
        metrics = {"loss": [2.2, 0.1], "accuracy": [0.5, 1.0]}
        state = learning(write_vitals(tmp_path / "run", losses=[0.1] * 39 + [math.nan], training=metrics))
        assert state is not None
        assert (state.learned, state.now) == (0.0, math.inf)

    @pytest.mark.parametrize("blind", [{}, {"loss": 0.0, "accuracy": 0.5}])
    def test_without_a_blind_guess_there_is_no_learning(self, tmp_path: Path, blind: dict[str, float]) -> None:
        run = write_vitals(tmp_path / "run", facts={"blind_guess": blind})
        assert learning(run) is None
        assert diagnose(run) == []

    def test_skill_of_numbers_is_r2(self, tmp_path: Path) -> None:
        metrics = {"r2": [-0.1, 0.3, 0.6], "loss": [1.1, 0.7, 0.4]}
        series = skill(
            write_vitals(tmp_path / "run", training=metrics, facts={"blind_guess": {"loss": 1.0}}), "training"
        )
        assert series is not None
        assert series.values.tolist() == [0.3, 0.6]

    @given(curvature=st.floats(0.1, 100), rate=st.floats(1e-4, 1.9), place=st.floats(0.1, 10))
    def test_ratio_and_depth_of_a_parabola(self, curvature: float, rate: float, place: float) -> None:
        """L = h x^2 / 2 and x <- x - lr h x: a = lr h, so gain / predicted = 1 - a/2, and the floor lies L(x) below."""
        lr = rate / curvature
        gradient, after = curvature * place, place * (1 - rate)
        gain = curvature * (place**2 - after**2) / 2
        one = [np.array([value]) for value in (lr, gain, lr * gradient**2, lr)]
        steps = Steps(np.array([1]), *one)
        assert steps.ratio[0] == pytest.approx(1 - rate / 2, abs=1e-9)
        assert steps.depth[0] == pytest.approx(curvature * place**2 / 2, rel=1e-6)

    def test_no_ratio_where_the_gradient_promised_nothing(self, tmp_path: Path) -> None:
        steps = sampled_steps(write_vitals(tmp_path / "run", steps=20, predicted=[0.01] * 10 + [-0.01] * 10))
        assert np.isfinite(steps.ratio).tolist() == [True] * 10 + [False] * 10

    @given(st.lists(st.booleans(), min_size=1, max_size=60))
    def test_since_is_the_first_step_from_which_nearly_all_agree(self, holds: list[bool]) -> None:
        steps = np.arange(1, len(holds) + 1)
        lasting = [n for n, one in enumerate(holds) if one and np.mean(holds[n:]) >= thresholds.MOSTLY]
        first = [n for n, one in enumerate(holds) if one]
        assert since(steps, np.array(holds)) == steps[(lasting or first or [len(holds) - 1])[0]]

    @given(distance=st.floats(-5, 1e6), agreeing=st.integers(0, 1000), more=st.integers(0, 1000))
    def test_confidence_grows_with_distance_and_agreement(self, distance: float, agreeing: int, more: int) -> None:
        of = agreeing + more
        value = evidence.confidence(distance, agreeing, of or None)
        assert 0 <= value <= 1
        assert evidence.confidence(distance + 1, agreeing, of or None) >= value
        assert evidence.confidence(distance, agreeing + 1, (of or agreeing) + 1) >= value

    def test_log_ratio_stays_finite(self) -> None:
        values = [evidence.log_ratio(a, b) for a in (0.0, 1.0, math.inf) for b in (0.0, 1.0, math.inf)]
        assert all(math.isfinite(value) for value in values)
        assert evidence.log_ratio(math.e, 1.0) == pytest.approx(1.0)

    @pytest.mark.parametrize(("status", "later", "expected"), [
        ("running", 1.0, True), ("running", 2.0, False), ("interrupted", 1.0, True), ("finished", 1.0, False),
    ])  # fmt: skip
    def test_a_training_that_falls_may_come_back(
        self, tmp_path: Path, status: str, later: float, expected: bool
    ) -> None:
        losses = [2.0 + 0.01 * (n % 2) for n in range(36)] + [later + 0.01 * (n % 2) for n in range(4)]
        run = write_vitals(tmp_path / "run", losses=[*losses, later], steps=41, status=status)
        assert may_come_back(run) is expected


class TestInput:
    def run(self, folder: Path, *features: tuple[float, float], **others: Any) -> Run:
        layers = chain(2, normalized=others.pop("normalized", False))
        each = [{"name": f"x{n}", "mean": mean, "std": std} for n, (mean, std) in enumerate(features)]
        return write_vitals(folder, layers=layers, facts={"input": {**INPUT, **others, "features": each}})

    def test_scales_apart(self, tmp_path: Path) -> None:
        one = found(self.run(tmp_path / "run", (300.0, 400.0), (0.0, 2.0), (5.0, 0.0)), "input-unnormalized")
        assert one is not None
        assert (one.measured, one.reference, one.where, one.since_step) == (500 / 2, thresholds.INPUT_SPREAD, "x0", 0)
        assert "The column x0 is 250 times larger than x1 varies" in one.message

    def test_scales_that_are_near_enough(self, tmp_path: Path) -> None:
        assert found(self.run(tmp_path / "run", (99.0, 2.0), (0.0, 1.0)), "input-unnormalized") is None

    def test_a_constant_column_does_not_count(self, tmp_path: Path) -> None:
        assert found(self.run(tmp_path / "run", (7.0, 1e-7), (0.0, 1.0)), "input-unnormalized") is None

    @pytest.mark.parametrize(("std", "severity"), [(9.9, None), (10.1, Severity.SEVERE)])
    def test_all_too_large(self, tmp_path: Path, std: float, severity: Severity | None) -> None:
        one = found(self.run(tmp_path / "run", (0.0, std), std=std), "input-unnormalized")
        assert (one and one.severity) is severity

    def test_a_normalization_inside_takes_the_scale_away(self, tmp_path: Path) -> None:
        one = found(self.run(tmp_path / "run", (0.0, 80.0), std=80.0, normalized=True), "input-unnormalized")
        assert one is not None
        assert one.severity is Severity.NOTE


class TestSignal:
    def test_the_gradient_vanishes(self, tmp_path: Path) -> None:
        run = write_vitals(tmp_path / "run", layers=chain(11, activation="Sigmoid"), vitals=product(0.14, 11))
        one = found(run, "vanishing-gradient")
        assert one is not None
        assert one.measured == pytest.approx(0.14**11)
        assert (one.where, one.since_step, one.severity) == ("hidden.0.linear", 1, Severity.SEVERE)
        assert one.message == (
            "At hidden.0.linear the gradient is 2e9 times smaller than at head; each of the 12 layers multiplies it by about 0.14,"
            " and a sigmoid can never do better than 0.25."
        )
        assert one.confidence == pytest.approx(41 / 42, abs=1e-3)

    def test_a_gradient_that_does_not_arrive_at_all(self, tmp_path: Path) -> None:
        run = write_vitals(tmp_path / "run", layers=chain(3), vitals=product(0.0, 3))
        one = found(run, "vanishing-gradient")
        assert one is not None
        assert one.message.startswith("No gradient at all reaches hidden.0.linear, although there is one at head")

    @pytest.mark.parametrize(("factor", "fires"), [(0.070, True), (0.072, False)])
    def test_the_threshold_is_of_the_whole_product(self, tmp_path: Path, factor: float, fires: bool) -> None:
        run = write_vitals(tmp_path / "run", layers=chain(2), vitals=product(factor, 2))
        assert (factor**2 <= thresholds.GRADIENT_DECAY) is fires is (found(run, "vanishing-gradient") is not None)

    @pytest.mark.parametrize(("factor", "fires"), [(7.0, False), (7.1, True)])
    def test_the_gradient_explodes(self, tmp_path: Path, factor: float, fires: bool) -> None:
        one = found(write_vitals(tmp_path / "run", layers=chain(2), vitals=product(factor, 2)), "exploding-gradient")
        assert (one is not None) is fires
        assert one is None or (one.measured == pytest.approx(factor**2) and one.evidence["factor_per_layer"] == 7.1)

    @pytest.mark.parametrize("slug", ["vanishing-gradient", "exploding-gradient"])
    def test_a_net_that_learns_is_left_alone(self, tmp_path: Path, slug: str) -> None:
        vitals = product(0.01 if slug.startswith("vanishing") else 100.0, 3)
        assert found(write_vitals(tmp_path / "ill", layers=chain(3), vitals=vitals), slug) is not None
        assert found(write_vitals(tmp_path / "well", layers=chain(3), vitals=vitals, losses=0.9), slug) is None

    def test_two_layers_are_no_product(self, tmp_path: Path) -> None:
        run = write_vitals(tmp_path / "run", layers=chain(1), vitals=product(1e-9, 1))
        assert found(run, "vanishing-gradient") is None

    @pytest.mark.parametrize(("share", "loss", "fires"), [(0.7, 1.9, True), (0.69, 1.9, False), (1.0, 0.98, False)])
    def test_dead_units(self, tmp_path: Path, share: float, loss: float, fires: bool) -> None:
        vitals: dict[tuple[str, str], Any] = {("hidden.0.activation", "dead_fraction"): [0.1] * 5 + [share] * 35}
        one = found(write_vitals(tmp_path / "run", losses=loss, layers=chain(2), vitals=vitals), "dead-relu")
        assert (one is not None) is fires
        if one is not None:
            assert (one.measured, one.where, one.since_step) == (share, "hidden.0.activation", 6)
            assert (
                "70 % of the units of hidden.0.activation are 0 for every sample of the batch, since step 6"
                in one.message
            )

    def test_the_first_dead_layer_is_named(self, tmp_path: Path) -> None:
        vitals = {("hidden.1.activation", "dead_fraction"): 1.0, ("hidden.2.activation", "dead_fraction"): 1.0}
        one = found(write_vitals(tmp_path / "run", layers=chain(3), vitals=vitals), "dead-relu")
        assert one is not None
        assert (one.where, one.since_step) == ("hidden.1.activation", 1)

    @pytest.mark.parametrize(
        ("share", "loss", "fires"),
        [(0.5, 1.9, True), (0.49, 1.9, False), (0.85, 0.9, False), (0.95, 0.9, True), (0.95, 0.1, False)],
    )
    def test_saturated_units(self, tmp_path: Path, share: float, loss: float, fires: bool) -> None:
        """With little learned from SATURATED on; with more only where nearly all began so; never in a net that learned well."""
        vitals: dict[tuple[str, str], Any] = {("hidden.0.activation", "saturated_fraction"): share}
        run = write_vitals(tmp_path / "run", losses=loss, layers=chain(2, activation="Tanh"), vitals=vitals)
        assert (found(run, "saturated-activation") is not None) is fires


class TestSteps:
    def test_non_finite(self, tmp_path: Path) -> None:
        losses = [2.3, 5.0, 1e20, *[math.nan] * 37]
        fact = {
            "step": 4,
            "loss": "inf",
            "last_finite_loss": 1e20,
            "parameters": ["head.weight"],
            "inputs_finite": True,
        }
        vitals: dict[tuple[str, str], Any] = {
            ("hidden.0.linear", "activation_std"): [1.0] * 4 + [math.nan] * 36,
            ("head", "activation_std"): [1.0, 1.0, math.inf] + [math.nan] * 37,
        }
        run = write_vitals(
            tmp_path / "run",
            losses=losses,
            layers=chain(1),
            vitals=vitals,
            facts={"non_finite": fact},
            status="non-finite",
        )
        one = found(run, "non-finite")
        assert one is not None
        assert one.message == (
            "The loss is infinite at step 4; it was 1e+20 just before, and 2.3 at first; the first layer that overflows is head."
        )
        assert (one.where, one.since_step, one.measured, one.reference, one.confidence) == ("head", 4, 4.0, 40.0, 1.0)

    def test_inputs_that_are_no_numbers_are_named(self, tmp_path: Path) -> None:
        fact = {"step": 1, "loss": "nan", "last_finite_loss": None, "parameters": [], "inputs_finite": False}
        one = found(write_vitals(tmp_path / "run", losses=math.nan, facts={"non_finite": fact}), "non-finite")
        assert one is not None
        assert (
            one.message == "The loss is not a number at step 1; the inputs themselves hold values that are no numbers."
        )

    def test_running_away_explains_what_is_not_a_number(self, tmp_path: Path) -> None:
        gain = [-(2.0**n) for n in range(29)] + [math.nan] * 11
        losses = [2.0**n for n in range(30)] + [math.nan] * 10
        run = write_vitals(tmp_path / "run", losses=losses, gain=gain, status="non-finite")
        (top,) = diagnose(run)
        assert (top.slug, [one.slug for one in top.folded]) == ("lr-too-high", ["non-finite"])
        assert (top.measured, top.since_step) == (1.0, 1)
        assert "30 of 30 sampled steps made their own batch worse, and it was 5.37e+08 before" in top.message

    def test_a_net_that_overflows_at_once_is_not_the_rate_s_fault(self, tmp_path: Path) -> None:
        run = write_vitals(tmp_path / "run", losses=math.nan, gain=math.nan, predicted=math.nan, status="non-finite")
        assert [one.slug for one in diagnose(run)] == ["non-finite"]

    @pytest.mark.parametrize(
        ("loss", "rise", "fires"),
        [
            (1.98, 0.55, True),
            (1.98, 0.4, False),
            (1.5, 2.1, True),
            (1.5, 1.9, False),
            (1.0, 10.1, True),
            (1.0, 9.9, False),
        ],
    )
    def test_thrown(self, tmp_path: Path, loss: float, rise: float, fires: bool) -> None:
        """The rise in blind guesses' losses times the share that is not learned: 0.5, 1.5 or 5."""
        gain = [0.0098] * 2 + [-rise * BLIND["loss"]] + [0.0098] * 37
        one = found(write_vitals(tmp_path / "run", losses=loss, gain=gain), "lr-too-high")
        assert (one is not None) is fires
        assert one is None or (one.since_step, one.measured) == (3, pytest.approx(rise))

    def test_a_rise_between_samples_is_seen_in_the_batches(self, tmp_path: Path) -> None:
        losses = [2.0] * 10 + [8.0] * 6 + [1.98] * 24
        one = found(write_vitals(tmp_path / "run", losses=losses), "lr-too-high")
        assert one is not None
        assert one.measured == pytest.approx(3.0)
        assert 11 <= one.since_step <= 16

    def test_batches_that_differ_are_no_rise(self, tmp_path: Path) -> None:
        noise = np.random.default_rng(0).lognormal(0, 1, 400)
        assert found(write_vitals(tmp_path / "run", steps=400, losses=1.9 * noise), "lr-too-high") is None

    @pytest.mark.parametrize(("ratio", "depth", "fires"), [(0.2, 0.3, True), (0.36, 0.3, False), (0.2, 0.09, False)])
    def test_hovering(self, tmp_path: Path, ratio: float, depth: float, fires: bool) -> None:
        predicted = depth * BLIND["loss"] * 4 * (1 - ratio)
        run = write_vitals(tmp_path / "run", losses=1.2, gain=ratio * predicted, predicted=predicted)
        one = found(run, "lr-too-high")
        assert (one is not None) is fires
        if one is not None:
            assert one.measured == pytest.approx(0.2)
            assert "they gain 20 % of what their gradient promises" in one.message
            assert "the floor lies 30 % of a blind guess's loss lower" in one.message

    def test_the_peak_of_a_schedule_does_not_count_once_it_is_learned(self, tmp_path: Path) -> None:
        rates = [0.1] * 20 + [0.01] * 20
        gain, predicted = [-0.5] * 20 + [0.0098] * 20, [1.0] * 20 + [0.01] * 20
        metrics = {"loss": [2.2, 1.0, 1.0, 0.2, 0.05], "accuracy": [0.5, 0.7, 0.7, 0.9, 0.99]}
        run = write_vitals(tmp_path / "run", losses=0.1, lr=rates, gain=gain, predicted=predicted, training=metrics)
        assert [one.severity for one in diagnose(run)] in ([], [Severity.NOTE])

    def test_a_step_that_rewrites_the_net(self, tmp_path: Path) -> None:
        gain, predicted, ratio = [0.1] + [0.0098] * 39, [1.0] + [0.01] * 39, [3.0] + [0.01] * 39
        run = write_vitals(tmp_path / "run", gain=gain, predicted=predicted, update_ratio=ratio)
        one = found(run, "lr-too-high")
        assert one is not None
        assert "step 1 changed the weights by 300 % of their size and overshot" in one.message

    def test_what_was_learned_is_lost_again(self, tmp_path: Path) -> None:
        gain = [0.0098] * 30 + [-0.6] + [0.0098] * 9
        metrics = {"loss": [2.2, 1.0, 0.6, 0.6, 1.4], "accuracy": [0.5, 0.6, 0.6, 0.6, 0.6]}
        run = write_vitals(tmp_path / "run", losses=1.4, gain=gain, training=metrics)
        one = found(run, "lr-too-high")
        assert one is not None
        assert one.measured == pytest.approx(0.7 - 0.3)
        assert one.since_step == 31

    @pytest.mark.parametrize(
        ("ratio", "update", "loss", "fires"),
        [(0.99, 1e-4, 1.9, True), (0.94, 1e-4, 1.9, False), (0.99, 3e-3, 1.9, False), (0.99, 1e-4, 1.2, False)],
    )
    def test_weights_that_hardly_move(
        self, tmp_path: Path, ratio: float, update: float, loss: float, fires: bool
    ) -> None:
        run = write_vitals(tmp_path / "run", losses=loss, gain=ratio * 0.01, update_ratio=update)
        one = found(run, "lr-too-low")
        assert (one is not None) is fires
        if one is not None:
            assert (one.severity, one.since_step, one.measured) == (Severity.SEVERE, 1, pytest.approx(0.99))
            assert one.evidence["path"] == pytest.approx(40 * 1e-4)
            assert "In 40 steps the weights moved by 0.4 % of their size" in one.message

    @pytest.mark.parametrize(("planned", "fires"), [(40, True), (4000, False)])
    def test_while_it_runs_all_planned_steps_count(self, tmp_path: Path, planned: int, fires: bool) -> None:
        plan = {"steps_per_epoch": 10, "total_steps": planned, "epochs": 4, "batch_size": 32}
        run = write_vitals(tmp_path / "run", update_ratio=1e-4, facts={"plan": plan}, status="running")
        assert (found(run, "lr-too-low") is not None) is fires

    @pytest.mark.parametrize(("status", "fires"), [("running", False), ("finished", True)])
    def test_a_warm_up_is_waited_for(self, tmp_path: Path, status: str, fires: bool) -> None:
        run = write_vitals(tmp_path / "run", lr=list(np.linspace(0.01, 0.1, 40)), update_ratio=1e-4, status=status)
        assert (found(run, "lr-too-low") is not None) is fires

    def test_skill_that_still_rises(self, tmp_path: Path) -> None:
        rising = {"loss": [2.2, 2.0, 1.9, 1.8, 1.7], "accuracy": [0.5, 0.52, 0.54, 0.6, 0.64]}
        run = write_vitals(tmp_path / "run", losses=1.7, update_ratio=0.005, training=rising, validation=rising)
        one = found(run, "lr-too-low")
        assert one is not None
        assert one.evidence["skill_won_lately"] == pytest.approx((0.2 + 0.28) / 2 - (0.04 + 0.08) / 2)
        assert one.severity is Severity.NOTE, "its steps are as long as usual"


class TestGeneralization:
    def run(self, folder: Path, *, right: float, losses: list[float], samples: int = 200, **options: Any) -> Run:
        training = {"loss": [2.2, 0.5, 0.3, 0.2, 0.1], "accuracy": [0.5, 0.9, 0.95, 0.99, 0.99]}
        validation = {"loss": losses, "accuracy": [0.5, 0.8, 0.8, 0.8, right]}
        facts = {"samples": {"training": 800, "validation": samples, "test": 0}}
        return write_vitals(folder, losses=0.1, training=training, validation=validation, facts=facts, **options)

    def test_the_gap_in_standard_errors(self, tmp_path: Path) -> None:
        """Agresti and Caffo's formula, worked out here a second time: 8 errors of 800, 40 of 200."""
        one = found(self.run(tmp_path / "run", right=0.8, losses=RISING), "overfitting")
        assert one is not None
        p, q = 9 / 802, 41 / 202
        assert one.evidence["standard_errors"] == pytest.approx(
            (q - p) / math.sqrt(p * (1 - p) / 802 + q * (1 - q) / 202)
        )
        assert (one.measured, one.reference) == (pytest.approx(0.4), pytest.approx(0.02))
        assert (one.severity, one.since_step, one.where) == (Severity.WARNING, 20, "validation")
        assert one.evidence["validation_loss_rise"] == pytest.approx((0.9 - 0.5) / 2)

    def test_a_gap_alone_is_a_note(self, tmp_path: Path) -> None:
        one = found(self.run(tmp_path / "run", right=0.8, losses=FLAT), "overfitting")
        assert one is not None
        assert one.severity is Severity.NOTE

    @pytest.mark.parametrize(("right", "samples"), [(0.97, 200), (0.9, 30), (0.8, 29)])
    def test_a_gap_within_chance_is_none(self, tmp_path: Path, right: float, samples: int) -> None:
        assert found(self.run(tmp_path / "run", right=right, losses=RISING, samples=samples), "overfitting") is None

    @pytest.mark.parametrize(("r2", "fires"), [(0.1, True), (0.7, False)])
    def test_numbers_are_judged_by_their_mean_squares(self, tmp_path: Path, r2: float, fires: bool) -> None:
        training = {"loss": [1.1, 0.3, 0.2], "r2": [-0.1, 0.7, 0.8]}
        validation = {"loss": [1.1, 0.6, 0.9], "r2": [-0.1, 0.4, r2]}
        facts = {"blind_guess": {"loss": 1.0, "rmse": 1.0}, "samples": {"training": 800, "validation": 200}}
        run = write_vitals(tmp_path / "run", losses=0.2, training=training, validation=validation, facts=facts)
        one = found(run, "overfitting")
        assert (one is not None) is fires
        if one is not None:
            expected = math.log(0.9 / 0.2) / math.sqrt(5 * (1 / 800 + 1 / 200))
            assert one.evidence["standard_errors"] == pytest.approx(expected)

    @pytest.mark.parametrize(
        ("loss", "accuracy", "severity"),
        [(1.95, 0.52, "severe"), (1.8, 0.6, "warning"), (1.5, 0.7, "note"), (1.5, 0.8, None), (0.9, 0.5, None)],
    )
    def test_underfitting(self, tmp_path: Path, loss: float, accuracy: float, severity: str | None) -> None:
        metrics = {"loss": [2.2, loss, loss, loss, loss], "accuracy": [0.5, *[accuracy] * 4]}
        run = write_vitals(tmp_path / "run", losses=loss, gain=0.005, training=metrics)
        one = found(run, "underfitting")
        assert (one.severity.value if one else None) == severity

    @pytest.mark.parametrize(
        ("accuracies", "severity", "words"),
        [
            ([0.52] * 4, "severe", "and it has stopped learning"),
            ([0.45, 0.45, 0.53, 0.53], "warning", "it still learns, so the training was too short"),
            ([0.52] * 3, "warning", "and the training was too short to tell whether it would go on."),
            ([0.52], "warning", "and the training was too short to tell whether it would go on."),
        ],
    )
    def test_only_what_is_known_to_have_stopped_has_stopped(
        self, tmp_path: Path, accuracies: list[float], severity: str, words: str
    ) -> None:
        metrics = {"loss": [2.2, *[1.95] * len(accuracies)], "accuracy": [0.5, *accuracies]}
        one = found(write_vitals(tmp_path / "run", losses=1.95, gain=0.005, training=metrics), "underfitting")
        assert one is not None
        assert (one.severity.value, words in one.message) == (severity, True), one.message
        assert (one.evidence["skill_won_lately"] is None) is (len(accuracies) < 4)

    def test_a_training_that_goes_on_does_not_underfit_yet(self, tmp_path: Path) -> None:
        for status, expected in (("running", False), ("interrupted", False), ("finished", True)):
            run = write_vitals(tmp_path / status, gain=0.005, training=LEARNING_NOTHING, status=status)
            assert (found(run, "underfitting") is not None) is expected


class TestLimitsOfJudgement:
    def test_what_is_missing_is_said(self, tmp_path: Path) -> None:
        run = write_vitals(tmp_path / "run", steps=5, status="running", facts={"blind_guess": {"loss": 0.0}})
        assert cannot_judge(run) == [
            "Cannot judge the steps and layers: 5 sampled steps of 5 are recorded, and it takes 8 of 20.",
            "Cannot judge overfitting: no validation data was seen.",
            "Cannot judge how much was learned: the loss of a blind guess is not known for this loss.",
            "Cannot judge the inputs' scale: no input was recorded.",
        ]

    def test_too_few_samples_for_a_gap(self, tmp_path: Path) -> None:
        facts = {"samples": {"training": 90, "validation": 10}, "input": {**INPUT, "features": []}}
        run = write_vitals(tmp_path / "run", facts=facts, validation=LEARNING_NOTHING, status="running")
        assert cannot_judge(run) == [
            "Cannot judge overfitting: 10 validation samples are too few to tell a gap from chance (30 are needed).",
            "Cannot judge underfitting yet: the training goes on.",
        ]

    def test_a_whole_record_leaves_nothing_out(self, tmp_path: Path) -> None:
        run = write_vitals(tmp_path / "run", facts={"input": {**INPUT, "features": []}}, validation=LEARNING_NOTHING)
        assert cannot_judge(run) == []

    def test_a_few_steps_give_no_finding(self, tmp_path: Path) -> None:
        vitals = product(1e-9, 3, steps=19) | {("hidden.0.activation", "dead_fraction"): 1.0}
        run = write_vitals(
            tmp_path / "run", steps=19, layers=chain(3), vitals=vitals, update_ratio=1e-9, status="running"
        )
        assert diagnose(run) == []


class TestWhole:
    def test_diagnosing_changes_nothing(self, tmp_path: Path) -> None:
        run = write_vitals(tmp_path / "run", layers=chain(5), vitals=product(0.01, 5), training=LEARNING_NOTHING)
        before = contents(run.folder)
        assert diagnose(Run(run.folder))
        cannot_judge(Run(run.folder))
        assert contents(run.folder) == before

    def test_every_finding_is_plain_json(self, tmp_path: Path) -> None:
        for n, options in enumerate(
            ({"losses": math.nan, "gain": -math.inf}, {"vitals": product(0.0, 3)}, {"gain": -1e30})
        ):
            run = write_vitals(tmp_path / str(n), layers=chain(3), **options)  # type: ignore[arg-type]
            for one in diagnose(run):
                assert json.loads(json.dumps(one.to_dict(), allow_nan=False))["slug"] == one.slug

    def test_a_long_run_of_a_deep_net_takes_little_time(self, tmp_path: Path) -> None:
        """10,000 steps, 100 layers with vitals as the monitor thins them; under 2 s on an idle machine."""
        layers, steps = chain(100), 10_000
        at = [step for step in range(1, steps + 1) if step <= 10 or step % max(1, min(200, step // 20)) == 0]
        run = write_vitals(tmp_path / "run", steps=steps, losses=1.9, layers=layers, training=LEARNING_NOTHING)
        from markone.training.record import Recorder

        recorder = Recorder(run.folder)
        recorder._database.execute("delete from vitals")
        names = (
            "activation_gradient_norm",
            "gradient_norm",
            "update_ratio",
            "activation_mean",
            "activation_std",
            "dead_fraction",
        )
        rows = [(step, layer["name"], name, 0.5) for step in at for layer in layers for name in names]
        rows += [
            (step, "net", name, 0.01) for step in at for name in ("step_gain", "step_gain_predicted", "update_ratio")
        ]
        recorder.vitals(rows)
        recorder.close("finished")
        began = time.perf_counter()
        diagnose(Run(run.folder))
        seconds = time.perf_counter() - began
        print(f"{len(rows):,} vitals, {steps:,} losses: diagnosed in {seconds:.2f} s")
        assert seconds < 10


def contents(folder: Path) -> dict[str, str]:
    """Every file's digest, but those of the empty index that SQLite keeps beside a record while somebody reads it."""
    files = [path for path in sorted(folder.iterdir()) if not path.name.endswith(("-wal", "-shm"))]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def names(findings: list[Finding]) -> list[str]:
    return [f"{one.slug} ({one.severity}): {one.message}" for one in findings]


QUICK = ("input-unnormalized", "lr-too-high", "non-finite", "underfitting")
MATRIX = [
    pytest.param(one, seed, id=f"{one.slug}-{seed}", marks=[] if one.slug in QUICK and not seed else [pytest.mark.slow])
    for one in CASES
    for seed in range(3)
]


@pytest.mark.parametrize(("one", "seed"), MATRIX)
class TestCases:
    def test_the_ill_one_is_named_first(self, one: Case, seed: int, tmp_path: Path) -> None:
        findings = diagnose(fit(one.ill.edit("seed", seed), folder=tmp_path / "ill"))
        first = one.under or one.slug
        severe = [top.slug for top in findings if top.severity is not Severity.NOTE]
        assert severe == ([] if one.slug in ONLY_NOTES else [first]), names(findings)
        assert one.slug in {inner.slug for top in findings for inner in (top, *top.folded)}, names(findings)
        assert 0.4 <= findings[0].confidence <= 1
        assert json.dumps([top.to_dict() for top in findings], allow_nan=False)

    def test_the_twin_is_left_alone(self, one: Case, seed: int, tmp_path: Path) -> None:
        findings = diagnose(fit(one.twin.edit("seed", seed), folder=tmp_path / "twin"))
        assert [top.slug for top in findings if top.severity is not Severity.NOTE] == [], names(findings)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits", "moons"])
def test_the_chosen_recipe_gives_no_alarm(name: str, tmp_path: Path) -> None:
    source = resolve(name)
    recipe = choose_recipe(source, source.build())
    findings = diagnose(fit(recipe, folder=tmp_path / "run"))
    assert [top.slug for top in findings if top.severity is not Severity.NOTE] == [], names(findings)
