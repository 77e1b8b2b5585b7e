"""The datasheet: its measures against plain second computations, and its checks on scripts, recipes and healthy real data."""

import contextlib
import io
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from markone.data.source import resolve
from markone.diagnosis import datasheet_checks, label_checks
from markone.diagnosis.cases import case
from markone.diagnosis.causes import DATA
from markone.diagnosis.diagnose import diagnose
from markone.diagnosis.finding import Finding, Severity
from markone.recipe import Recipe
from markone.training.choose import choose_recipe
from markone.training.datasheet import Shown, datasheet
from markone.training.label_probes import NEIGHBOURS, best_feature, label_probes, neighbours
from markone.training.material import prepare
from markone.training.material_sheet import material_datasheet
from markone.training.picture_probes import augmentation_fact, layout_fact
from markone.training.script import run_script
from tests.vitals_record import write_vitals

LOOPS = Path(__file__).parent / "loops"
CHECKS = (*datasheet_checks.CHECKS, *label_checks.CHECKS)
SLUGS = [check.__name__.replace("_", "-") for check in CHECKS]
SCRIPTED = [slug for slug in SLUGS if (LOOPS / slug).is_dir()]
SEEDS = (0, 1, 2)
BUNDLED = ("digits", "breast-cancer", "iris", "wine", "diabetes", "linnerud", "moons", "spirals", "xor", "polynomial")
REAL = os.environ.get("MARKONE_DATA")
needs_data = pytest.mark.skipif(not REAL, reason="MARKONE_DATA is not set")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(count: int = 600, *, classes: int = 3, columns: int = 6, apart: float = 6.0) -> tuple[Any, Any]:
    """Classes around centres of their own: no label is in doubt."""
    labels = torch.arange(count) % classes
    centres = apart * torch.randn(classes, columns, generator=generator(5))
    return centres[labels] + torch.randn(count, columns, generator=generator(6)), labels


def flipped(labels: torch.Tensor, share: float) -> torch.Tensor:
    wrong = torch.rand(len(labels), generator=generator(7)) < share
    return torch.where(wrong, (labels + 1) % (int(labels.max()) + 1), labels)


def findings(sheet: dict[str, Any], folder: Path, **record: Any) -> dict[str, Finding]:
    """What the checks of the datasheet say of a record with it, which has learned a twentieth of what there is."""
    run = write_vitals(folder, **{"losses": 1.9, **record, "facts": {"datasheet": sheet, **record.get("facts", {})}})
    return {one.slug: one for check in CHECKS for one in check(run)}


class TestLabelProbes:
    def test_neighbours_are_those_of_scikit_learn(self) -> None:
        rows = torch.randn(200, 5, generator=generator())
        near = neighbours(rows)
        reference = KNeighborsClassifier(NEIGHBOURS).fit(rows.numpy(), np.zeros(200, int)).kneighbors()[1]
        assert [set(row) for row in near.tolist()] == [set(row) for row in reference.tolist()]

    @pytest.mark.parametrize("share", [0.0, 0.15, 0.3])
    def test_the_surest_rows_show_how_many_labels_are_wrong(self, share: float) -> None:
        inputs, labels = blobs(1500)
        found = label_probes(inputs, flipped(labels, share))
        assert found is not None
        for probe in ("neighbours", "linear"):
            assert 1 - found[probe]["confident"] == pytest.approx(share, abs=0.05)
            assert found[probe]["shuffled"] == pytest.approx(1 / 3, abs=0.08)

    def test_shuffled_labels_are_known_to_nobody(self) -> None:
        inputs, labels = blobs()
        found = label_probes(inputs, labels[torch.randperm(len(labels), generator=generator(1))])
        assert found is not None
        assert max(found["neighbours"]["agreement"], found["linear"]["agreement"]) < 0.42
        assert found["structure"] > 1.5 * found["structure_permuted"]

    def test_random_numbers_have_no_structure(self) -> None:
        found = label_probes(torch.randn(800, 40, generator=generator()), torch.arange(800) % 2)
        assert found is not None
        assert found["structure"] < 1.2 * found["structure_permuted"]

    def test_what_cannot_be_judged(self) -> None:
        inputs, labels = blobs(90)
        assert label_probes(inputs, labels) is None
        assert label_probes(inputs, None) is None
        assert label_probes(*blobs(600, classes=2)) is not None
        assert label_probes(blobs()[0], torch.zeros(600, dtype=torch.int64)) is None
        assert label_probes(torch.zeros(600, 4), blobs()[1]) is None

    def test_the_column_made_from_the_answer_is_found(self) -> None:
        inputs, labels = torch.randn(900, 7, generator=generator()), torch.arange(900) % 2
        inputs[:, 4] = labels * 2.0 + 0.1 * torch.randn(900, generator=generator(2))
        found = best_feature(inputs, labels, tuple("abcdefg"))
        assert found is not None
        assert (found["name"], found["agreement"] > 0.97, found["others"] < 0.6) == ("e", True, True)
        order = inputs[:, 4].argsort()
        changes = labels[order].diff() != 0
        spread = inputs[:, 4].double().std(correction=0)
        assert found["gap"] == pytest.approx(float(inputs[order, 4].double().diff()[changes].min() / spread))


class TestPictureProbes:
    def pictures(self, channels: int = 3) -> torch.Tensor:
        """Smooth pictures (n, channels, 16, 16): coloured waves."""
        at = torch.arange(16) / 5
        phase, colour = torch.rand(200, 2, generator=generator()) * 6, torch.rand(200, channels, generator=generator(1))
        wave = torch.sin(at[None, :, None] + phase[:, :1, None]) + torch.sin(at[None, None, :] + phase[:, 1:, None])
        return wave[:, None] * colour[:, :, None, None] + 0.05 * torch.randn(
            200, channels, 16, 16, generator=generator(2)
        )

    def test_roughness_is_one_minus_the_correlation_of_neighbours(self) -> None:
        pictures = self.pictures(1)
        found = layout_fact(pictures)
        assert found is not None
        values = pictures[:, 0].numpy() - pictures.mean().item()
        pairs = [(values[:, 1:], values[:, :-1]), (values[:, :, 1:], values[:, :, :-1])]
        expected = np.mean([1 - (a * b).mean() / np.mean((a**2 + b**2) / 2) for a, b in pairs])
        assert found["roughness"] == pytest.approx(expected, rel=0.02)

    def test_three_ways_to_scramble(self) -> None:
        right = self.pictures()
        last = right.permute(0, 2, 3, 1).contiguous()
        facts = [layout_fact(given) for given in (right, last.view(200, 3, 16, 16), last, right[:, :1].flatten(1)[
            :, torch.randperm(256, generator=generator(3))].view(200, 1, 16, 16))]  # fmt: skip
        told = [datasheet_checks._unscrambled(fact)[2] for fact in facts if fact is not None]
        assert [bool(one) for one in told] == [False, True, True, True]
        assert "permute is needed" in told[1]
        assert "x.permute(0, 3, 1, 2)" in told[2]
        assert "shuffled" in told[3]

    def test_noise_is_no_scrambled_picture(self) -> None:
        fact = layout_fact(torch.randn(400, 3, 16, 16, generator=generator()))
        assert fact is not None
        assert datasheet_checks._unscrambled(fact)[2] == ""
        assert layout_fact(torch.randn(400, 9)) is None

    def test_augmentation_that_changes_nothing_and_one_that_wipes_all(self) -> None:
        inputs, labels = blobs()
        same, wiped = (augmentation_fact(inputs, after, labels) for after in (inputs, torch.zeros_like(inputs)))
        assert same is not None
        assert wiped is not None
        assert (same["distance"], same["agreement"]) == (0.0, same["augmented"])
        assert same["agreement"] == pytest.approx(1.0, abs=0.01)
        assert wiped["augmented"] == pytest.approx(1 / 3, abs=0.01)
        assert wiped["distance"] is not None
        assert wiped["distance"] > 0.5


class TestSheet:
    def test_values_and_shift_against_numpy(self) -> None:
        inputs, labels = blobs()
        inputs[:, 2] = 7.0
        moved = 3 * inputs[:300] + 1
        sheet = datasheet(Shown(inputs, labels), Shown(moved), names=tuple("abcdef"))
        values, shift = sheet["values"], sheet["shift"]
        x, other = inputs.double().numpy(), moved.double().numpy()
        assert values["largest_std"] == pytest.approx(x.std(0).max(), rel=1e-5)
        assert (values["constant"], values["constant_names"]) == (1, ["c"])
        varies = [0, 1, 3, 4, 5]
        apart = np.abs(other.mean(0) - x.mean(0))[varies] / x.std(0)[varies]
        error = np.sqrt(x.var(0, ddof=1) / 600 + other.var(0, ddof=1) / 300)[varies]
        assert shift["deviations"] == pytest.approx(np.median(apart), rel=1e-4)
        assert shift["errors"] == pytest.approx(np.median(np.abs(other.mean(0) - x.mean(0))[varies] / error), rel=1e-3)
        assert shift["ratio"] == pytest.approx(np.median(other.std(0)[varies] / x.std(0)[varies]), rel=1e-4)
        assert sheet["targets"]["counts"] == {"0": 200, "1": 200, "2": 200}

    def test_rows_that_are_no_numbers_are_counted_and_left_out(self) -> None:
        inputs, labels = blobs()
        inputs[3, 1], inputs[9, 0] = math.nan, math.inf
        sheet = datasheet(Shown(inputs, labels))
        assert (sheet["rows_not_finite"], sheet["distinct"]) == (2, 598)
        assert math.isfinite(sheet["values"]["std"])

    def test_copies_of_a_row_do_not_vote_for_it(self) -> None:
        inputs, labels = torch.randn(300, 8, generator=generator()), torch.arange(300) % 2
        sheet = datasheet(Shown(inputs.repeat(4, 1), labels.repeat(4)))
        assert sheet["distinct"] == 300
        assert sheet["labels"]["neighbours"]["agreement"] < 0.62

    def test_two_thousand_rows_take_under_a_second(self) -> None:
        inputs, labels = torch.randn(2048, 3, 32, 32, generator=generator()), torch.arange(2048) % 10
        began = time.process_time()
        datasheet(Shown(inputs, labels), Shown(inputs[:1024]))
        seconds = time.process_time() - began
        print(f"2,048 pictures of 32x32: {seconds:.2f} s")
        assert seconds < 3

    def test_copies_across_parts(self, tmp_path: Path) -> None:
        for noise, share in ((0.0, 1.0), (0.05, 0.0)):
            recipe = Recipe(data={"kind": "letters", "samples": 800, "noise": noise, "shift": 0}).edit(
                "split.duplicates", False
            )
            assert material_datasheet(prepare(recipe))["copies"]["share"] == share


class TestChecks:
    def sheet(self, **changes: Any) -> dict[str, Any]:
        return {**datasheet(Shown(*blobs()), Shown(blobs()[0][:200])), **changes}

    def test_sound_rows_are_silent(self, tmp_path: Path) -> None:
        assert findings(self.sheet(), tmp_path / "run") == {}

    @pytest.mark.parametrize(("std", "fires"), [(0.019, True), (0.021, False)])
    def test_too_small(self, tmp_path: Path, std: float, fires: bool) -> None:
        values = {**self.sheet()["values"], "largest_std": std}
        assert ("input-double-normalized" in findings(self.sheet(values=values), tmp_path / "run")) is fires

    @pytest.mark.parametrize(("target", "losses", "severity"), [
        (99.0, 1.9, None), (150.0, 1.9, Severity.WARNING), (150.0, 1.0, Severity.NOTE),
    ])  # fmt: skip
    def test_large_targets(self, tmp_path: Path, target: float, losses: float, severity: Severity | None) -> None:
        sizes = {"target": target, "deviation": 30.0, "output": 0.2}
        found = findings(self.sheet(first_sizes=sizes), tmp_path / "run", losses=losses)
        one = found.get("target-unscaled")
        assert (one and one.severity) is severity

    def test_a_net_that_knows_better_than_its_neighbours_is_believed(self, tmp_path: Path) -> None:
        sheet = datasheet(Shown(blobs()[0], flipped(blobs()[1], 0.3)))
        assert "label-noise" in findings(sheet, tmp_path / "blind")
        better = {"loss": [2.0, 0.2, 0.2], "accuracy": [0.5, 0.95, 0.97]}
        assert "label-noise" not in findings(sheet, tmp_path / "better", validation=better)

    def test_classes_that_overlap_are_not_noise(self, tmp_path: Path) -> None:
        for apart in (0.8, 1.2, 1.6):
            inputs, labels = blobs(1500, classes=2, columns=4, apart=apart)
            assert "label-noise" not in findings(datasheet(Shown(inputs, labels)), tmp_path / str(apart))

    def test_one_column_elsewhere_is_no_mismatch(self, tmp_path: Path) -> None:
        moved = blobs()[0][:200].clone()
        moved[:, 1] += 50
        sheet = datasheet(Shown(*blobs()), Shown(moved))
        assert sheet["shift"]["worst"]["name"] == "column 1"
        assert findings(sheet, tmp_path / "run") == {}

    def test_an_input_that_matters_little_is_not_ignored(self, tmp_path: Path) -> None:
        for zero, fires in ((0.7, True), (0.7001, False)):
            fact = {"zero_input": {"loss": 0.7, "zero": zero, "step": 40}}
            found = findings(self.sheet(), tmp_path / str(zero), facts=fact)
            assert ("inputs-ignored" in found) is fires


def every(found: list[Finding]) -> list[Finding]:
    return [one for top in found for one in (top, *top.folded)]


def diagnosed(script: Path, folder: Path, seed: int) -> list[Finding]:
    with contextlib.redirect_stdout(io.StringIO()):
        outcome = run_script(str(script), ["--seed", str(seed)], folder=folder)
    assert outcome.run.status != "unobserved"
    return diagnose(outcome.run)


class TestCases:
    def test_every_check_has_scripts_or_a_recipe(self) -> None:
        assert sorted(SLUGS) == sorted(DATA)
        for slug in SLUGS:
            assert slug in SCRIPTED or case(slug).slug == slug

    @pytest.mark.slow
    @pytest.mark.parametrize("seed", SEEDS)
    @pytest.mark.parametrize("slug", SCRIPTED)
    def test_the_ill_script_is_named_first_and_its_twin_left_alone(self, slug: str, seed: int, tmp_path: Path) -> None:
        first = diagnosed(LOOPS / slug / "ill.py", tmp_path / "ill", seed)[0]
        assert (first.slug, first.severity is not Severity.NOTE) == (slug, True), first.message
        twin = diagnosed(LOOPS / slug / "healthy.py", tmp_path / "healthy", seed)
        alarms = [one.message for one in every(twin) if one.slug in SLUGS and one.severity is not Severity.NOTE]
        assert alarms == []
        assert slug not in {one.slug for one in every(twin)}

    @pytest.mark.parametrize("slug", ["preprocessing-mismatch", "input-not-finite"])
    def test_some_scripts(self, slug: str, tmp_path: Path) -> None:
        assert diagnosed(LOOPS / slug / "ill.py", tmp_path / "ill", 0)[0].slug == slug


class TestHealthyData:
    """Real data as its own recipe feeds it: nothing of the datasheet may speak, whatever the net then learns."""

    def silent(self, source: Any, folder: Path) -> None:
        dataset = source.build()
        recipe = choose_recipe(source, dataset).edit("split.duplicates", False)
        sheet = material_datasheet(prepare(recipe, dataset=dataset))
        found = findings(sheet, folder)
        assert [one.message for one in found.values() if one.severity is not Severity.NOTE] == []

    @pytest.mark.parametrize("name", BUNDLED)
    def test_bundled_sets(self, name: str, tmp_path: Path) -> None:
        self.silent(resolve(name), tmp_path / "run")

    @needs_data
    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["fashion-mnist", "mnist", "cifar10"])
    def test_published_sets(self, name: str, tmp_path: Path) -> None:
        self.silent(resolve(name), tmp_path / "run")

    @needs_data
    @pytest.mark.parametrize(("name", "target"), [
        ("titanic.csv", "Survived"), ("pima-indians-diabetes.data", "column 9"), ("adult_6000.data.gz", "column 15"),
    ])  # fmt: skip
    def test_tables(self, name: str, target: str, tmp_path: Path) -> None:
        assert REAL is not None
        self.silent(resolve(str(Path(REAL) / "tables" / name), target=target), tmp_path / "run")

    @needs_data
    @pytest.mark.slow
    def test_flowers(self, tmp_path: Path) -> None:
        import zipfile

        assert REAL is not None
        with zipfile.ZipFile(Path(REAL) / "flowers_160.zip") as archive:
            chosen = [name for name in archive.namelist() if name.endswith(".jpg")][::12]
            archive.extractall(tmp_path, chosen)
        self.silent(resolve(str(tmp_path / "flowers")), tmp_path / "run")
