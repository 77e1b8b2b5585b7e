"""Every exact check on scripts as users write them: the faulty one is named, its healthy twin and thirty good trainings are not.

The scripts (tests/loops, tests/healthy) know nothing of markone. They run in this process, as ``markone watch`` runs them.
"""

import re
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch

from markone.diagnosis import loop_checks, output_checks, practice_checks
from markone.diagnosis.diagnose import diagnose
from markone.diagnosis.finding import Finding, Severity
from markone.training.script import run_script

TESTS = Path(__file__).parent
LOOPS, HEALTHY = TESTS / "loops", TESTS / "healthy"
SLUGS = [
    check.__name__.replace("_", "-") for check in (*output_checks.CHECKS, *loop_checks.CHECKS, *practice_checks.CHECKS)
]
EXACT = {*SLUGS, "non-finite", "log-of-zero"}
SEEDS = (0, 1, 2)
FORMS = sorted(LOOPS.glob("*/*.py"))
SOON = 10  # steps within which a bug of the loop is found
LATER = {  # what needs an evaluation, a whole epoch, or several, to be a bug at all
    "eval-mode-missing", "train-mode-after-validation-missing", "validation-in-training", "validation-never-ran",
    "scheduler-collapsed", "order-not-shuffled", "non-finite", "log-of-zero",
    "scheduler-per-batch", "input-starved",
}  # fmt: skip
ONLY_NOTES = {
    "validation-never-ran",
    "scheduler-before-optimizer",
    "frozen-parameters-trained-for-nothing",
    "input-starved",
}


@pytest.fixture(autouse=True)
def as_a_process_of_its_own() -> Iterator[None]:
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.set_default_dtype(dtype)


def findings_of(script: Path, folder: Path, *, seed: int | None, steps: int | None = None) -> list[Finding]:
    """All findings of one script, folded ones too."""
    arguments = [] if seed is None else ["--seed", str(seed)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch itself warns of some of these bugs
        outcome = run_script(str(script), arguments, folder=folder, steps=steps)
    assert outcome.run.status != "unobserved"
    return list(every(diagnose(outcome.run)))


def every(findings: list[Finding] | tuple[Finding, ...]) -> Iterator[Finding]:
    for one in findings:
        yield one
        yield from every(one.folded)


@cache
def lines_of(script: Path) -> int:
    return len(script.read_text(encoding="utf-8").splitlines())


def is_named(script: Path, seed: int, folder: Path, capsys: pytest.CaptureFixture[str]) -> Finding:
    """The finding of the bug that a faulty script has."""
    slug = script.parent.name
    found = findings_of(script, folder, seed=seed)
    capsys.readouterr()
    assert slug in {one.slug for one in found}, (
        f"{script.parent.name}/{script.name} shows {[one.slug for one in found]}"
    )
    return next(one for one in found if one.slug == slug)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("slug", sorted(EXACT))
def test_the_bug_is_named_with_its_line_and_step(
    slug: str, seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = LOOPS / slug / "ill.py"
    found = is_named(script, seed, tmp_path / "run", capsys)
    assert slug in LATER or found.since_step <= SOON
    assert slug in ONLY_NOTES | {"order-not-shuffled"} or found.severity is not Severity.NOTE
    assert found.place is not None
    file, _, line = found.place.rpartition(":")
    assert Path(file).name == "ill.py"
    assert 1 <= int(line) <= lines_of(script)


@pytest.mark.slow
@pytest.mark.parametrize(
    "script", [one for one in FORMS if re.match(r"ill_\d", one.name)], ids=lambda p: f"{p.parent.name}-{p.stem}"
)
def test_other_forms_of_the_bug_are_named_too(script: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    is_named(script, 0, tmp_path / "run", capsys)


@pytest.mark.slow
@pytest.mark.parametrize(
    "script", [one for one in FORMS if one.name.startswith("healthy")], ids=lambda p: f"{p.parent.name}-{p.stem}"
)
def test_no_exact_check_fires_on_a_healthy_twin(
    script: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds = SEEDS if script.name == "healthy.py" else (0,)
    for seed in seeds:
        found = findings_of(script, tmp_path / str(seed), seed=seed)
        assert not EXACT & {one.slug for one in found}, [one.message for one in found]
    capsys.readouterr()


@pytest.mark.slow
def test_good_trainings_are_left_in_peace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At most one finding over "note" in all of them together."""
    scripts = sorted(HEALTHY.glob("*.py"))
    assert len(scripts) >= 30
    alarms = []
    for script in scripts:
        torch.set_default_dtype(torch.float32)
        found = findings_of(script, tmp_path / script.stem, seed=None)
        alarms += [f"{script.stem}: {one.slug}" for one in found if one.severity is not Severity.NOTE]
    capsys.readouterr()
    assert len(alarms) <= 1, alarms


@pytest.mark.parametrize("slug", sorted(EXACT))
def test_every_exact_check_has_scripts(slug: str) -> None:
    assert (LOOPS / slug / "ill.py").is_file()
    assert (LOOPS / slug / "healthy.py").is_file()


def test_scripts_know_nothing_of_us() -> None:
    for script in (*FORMS, *HEALTHY.glob("*.py")):
        assert "markone" not in script.read_text(encoding="utf-8"), script


@pytest.mark.parametrize("slug", ["zero-grad-missing", "double-softmax", "loss-broadcast", "step-without-backward"])
def test_ten_steps_are_enough(slug: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--steps 10`` ends the script, and the bug is known."""
    found = findings_of(LOOPS / slug / "ill.py", tmp_path / "run", seed=0, steps=SOON)
    capsys.readouterr()
    assert slug in {one.slug for one in found}
