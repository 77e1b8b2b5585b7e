"""Is the cause named, and is a healthy training left alone? On ports of published faulty programs, over seeds, against two baselines.

    python bench/diagnosis.py --cases FILE [--seeds 3] [--only ID] [--jobs 1] [--runs FOLDER] [--json FILE] [--list]

FILE holds neutral descriptions (layers, loss, optimizer, data, fault labels, known fix); bench/cases turns each into a plain PyTorch
loop under ``markone.watch``, and so its healthy twin: the counterpart that it names, or itself with its known fix. Without --cases the
environment variable MARKONE_CASES names the file, or it is cases/calibration.json beside $MARKONE_DATA. What is done is kept in a JSONL
file beside the JSON one, so that it can be stopped and started again; with --runs the run folders are kept too, and ``--again`` has
those diagnosed anew, without training.

- reproduced: a run counts as faulty if what it learned, at the end or on the way, or what it says of itself lies HARM or more, and two
  standard deviations of its twin's seeds, under its twin; bugs that are wrong whatever they cost (leaks, modes) always do. About half
  of the published faults do not reproduce (Humbatova et al. 2025; arXiv 2412.16336): these are counted, listed, and left out.
- flagged: a finding above a note. top-1, top-3: a right cause among the first, of those above a note (cases/labels.py says which are
  right). precision: the share of right ones among all causes above a note.
- false alarms: runs with a finding above a note among healthy cases and twins that learned at least HEALTHY, and tests/healthy.
  withdrawn alarms: those that such a run showed while it went on, and took back.
- steps: until the first finding above a note, diagnosed while the training goes on, at checkpoints.

Baselines: "absolute" alarms at published constants (AutoTrainer, ICSE 2021; DeepDiagnosis, ICSE 2022; UMLAUT, CHI 2021; Amazon
SageMaker Debugger, MLSys 2021); "frequent" always names the cause that is right most often.
"""

import argparse
import contextlib
import importlib
import io
import json
import math
import multiprocessing
import os
import pkgutil
import shutil
import statistics
import sys
import tempfile
import time
import types
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from cases.description import Case, NotPortable, read_cases
from cases.labels import PROVABLE, right_causes
from cases.port import CHECKPOINTS, Moment, plan, train, twin_of
from torch import nn
from torch.nn import functional

from markone import diagnosis, training
from markone.diagnosis.causes import RANK
from markone.diagnosis.diagnose import diagnose
from markone.diagnosis.finding import Finding, Severity
from markone.training.run import Run

ROOT = Path(__file__).parents[1]
HARM, HEALTHY = (
    0.05,
    0.1,
)  # of a blind guess's error: as in bench/calibrate.py; what learned less is no healthy training
Json = dict[str, Any]

# --- the published constants ----------------------------------------------------------------------------------------------------------

VANISHED_MEAN = 1e-7  # mean |g| (SageMaker Debugger, VanishingGradient; DeepDiagnosis)
VANISHED_RATIO, VANISHED_NORM = 1e-3, 1e-4  # |g first| / |g last| and |g first| (AutoTrainer)
EXPLODED_RATIO = 70.0  # |g first| / |g last| (AutoTrainer)
DEAD_SHARE = 0.7  # of a batch's ReLU outputs at 0 (DeepDiagnosis)
LARGEST_LOSS = 1e3  # (AutoTrainer)
LEAST_LR, MOST_LR = 1e-7, 1e-2  # (UMLAUT)
LEAST_GAIN, LEAST_EVALUATIONS = 0.01, 4  # best accuracy of an epoch over the first (AutoTrainer: slow convergence)


@dataclass
class Absolute:
    """The first baseline: what it alarms at, by the step at which it first did."""

    found: dict[str, int] = field(default_factory=dict)

    def look(self, moment: Moment) -> None:
        for slug in self._alarms(moment):
            self.found.setdefault(slug, moment.step)

    def _alarms(self, moment: Moment) -> Iterator[str]:
        gradients = [one.grad for one in moment.net.parameters() if one.ndim > 1 and one.grad is not None]
        if not math.isfinite(moment.loss) or moment.loss > LARGEST_LOSS:
            yield "non-finite"
        if len(gradients) > 1:
            first, last = float(gradients[0].norm()), float(gradients[-1].norm())
            if last > 0 and first / last > EXPLODED_RATIO:
                yield "exploding-gradient"
            near = first < VANISHED_RATIO * last and first < VANISHED_NORM
            if near or min(float(one.abs().mean()) for one in gradients) < VANISHED_MEAN:
                yield "vanishing-gradient"
        if any(share >= DEAD_SHARE for share in zero_shares(moment.net, moment.x)):
            yield "dead-relu"
        if moment.lr > MOST_LR:
            yield "lr-too-high"
        if moment.lr < LEAST_LR:
            yield "lr-too-low"
        skills = [skill for _, skill in moment.evaluations]
        if len(skills) >= LEAST_EVALUATIONS and max(skills) - skills[0] < LEAST_GAIN and skills[0] < 1 - LEAST_GAIN:
            yield "underfitting"


def zero_shares(net: nn.Module, x: torch.Tensor) -> Iterator[float]:
    """The share of zeros behind each ReLU of a plain stack of layers. Changes nothing: no hook, no statistic, no draw."""
    if not isinstance(net, nn.Sequential) or any(len(list(module.children())) for module in net):
        return
    with torch.no_grad():
        for module in net:
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                x = (
                    functional.batch_norm(x, None, None, module.weight, module.bias, len(x) > 1, eps=module.eps)
                    if len(x) > 1
                    else x
                )
            elif not isinstance(module, nn.Dropout):
                x = module.forward(x)
            if isinstance(module, nn.ReLU):
                yield float((x <= 0).float().mean())


# --- one training ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """role: "faulty", "healthy" (a case or a twin) or "script" (of tests/healthy, which has seeds of its own)."""

    id: str
    role: str
    seed: int
    case: Case | None = None
    script: Path | None = None
    runs: Path | None = None

    @property
    def key(self) -> str:
        return f"{self.id}@{self.seed}"


def count_own_seconds() -> None:
    """The watch's clocks count this process's own seconds: what else the machine does changes nothing in how often it looks."""
    clock = types.SimpleNamespace(**{**vars(time), "perf_counter": time.process_time, "monotonic": time.process_time})
    for name in ("pace", "watch", "witness"):
        importlib.import_module(f"markone.training.{name}").time = clock  # type: ignore[attr-defined]


def do(job: Job) -> Json:
    """The record of one training: what was found when, what it learned. Trains it unless its run folder is there."""
    torch.set_num_threads(1)
    count_own_seconds()
    warnings.simplefilter("ignore")  # torch itself warns of some of these bugs
    with tempfile.TemporaryDirectory() as scratch:
        folder = (job.runs or Path(scratch)) / job.key.replace("/", "-")
        side = folder.with_suffix(".json")
        if not side.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a training that was cut off
            done = _script(job, folder) if job.script else _port(job, folder)
            side.write_text(json.dumps(done), encoding="utf-8")
        known = json.loads(side.read_text(encoding="utf-8"))
        found = diagnose(Run(folder))
    made = {"id": job.id, "role": job.role, "seed": job.seed, **known, "findings": [brief(one) for one in found]}
    return dict(json.loads(json.dumps(made)))  # plain values only: the processes hand it over


def _port(job: Job, folder: Path) -> Json:
    assert job.case is not None
    absolute, listed = Absolute(), dict[int, list[str]]()

    def look(moment: Moment) -> None:
        absolute.look(moment)
        if moment.step in CHECKPOINTS:
            listed[moment.step] = [one.slug for one in _so_far(moment) if one.severity is not Severity.NOTE]

    outcome = train(plan(job.case), seed=job.seed, folder=folder, look=look)
    return {**asdict(outcome), "absolute": absolute.found, "listed": listed}


def _so_far(moment: Moment) -> list[Finding]:
    """What is known by now. The clocks of the watch stand still meanwhile, so that it looks as often as it would have."""
    watching, witness = moment.watching, moment.watching.witness
    if witness is None or watching.folder is None:
        return []
    began, cost = time.process_time(), witness.pace.cost_seconds
    watching.guard(watching._write, witness)
    found = diagnose(Run(watching.folder))
    witness.pace.cost_seconds = cost
    witness.pace._began += time.process_time() - began
    witness.pace.pause()
    return found


def _script(job: Job, folder: Path) -> Json:
    from markone.training.script import run_script

    began = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        outcome = run_script(str(job.script), folder=folder)
    return {
        "skill": 1.0,
        "reported": [],
        "steps": outcome.run.steps,
        "seconds": time.perf_counter() - began,
        "said": [],
        "absolute": {},
        "listed": {},
    }


def brief(one: Finding) -> Json:
    return {
        "slug": one.slug, "severity": one.severity.value, "confidence": one.confidence, "since_step": one.since_step,
        "where": one.where, "message": one.message, "folded": [inner.slug for inner in one.folded],
    }  # fmt: skip


# --- all of them ----------------------------------------------------------------------------------------------------------------------


def jobs_of(
    chosen: list[Case], cases: dict[str, Case], *, seeds: int, runs: Path | None, scripts: bool
) -> tuple[list[Job], dict[str, str]]:
    """What there is to train, and why some cases cannot be."""
    found: dict[str, Job] = {}
    left = {}
    for seed in range(seeds):
        for case in chosen:
            twin = None if case.healthy else twin_of(case, cases)
            for one in (case, *([twin] if twin else [])):
                try:
                    plan(one)
                except NotPortable as reason:
                    left[one.id] = str(reason)
                    continue
                job = Job(one.id, "healthy" if one.healthy else "faulty", seed, case=one, runs=runs)
                found.setdefault(job.key, job)
    if scripts:
        for path in sorted((ROOT / "tests" / "healthy").glob("*.py")):
            found[f"{path.stem}@0"] = Job(path.stem, "script", 0, script=path, runs=runs)
    return list(found.values()), left


def records(jobs: list[Job], *, ledger: Path, count: int, again: bool) -> list[Json]:
    """All records; those that the ledger holds are not made again."""
    done: dict[str, Json] = {}
    if ledger.exists() and not again:
        for line in ledger.read_text(encoding="utf-8").splitlines():
            one = json.loads(line)
            done[f"{one['id']}@{one['seed']}"] = one
    todo = [job for job in jobs if job.key not in done]
    if todo:
        warm_up()
    ledger.parent.mkdir(parents=True, exist_ok=True)
    with (
        ledger.open("w" if again else "a", encoding="utf-8") as file,
        multiprocessing.get_context("fork").Pool(count, maxtasksperchild=8) as pool,
    ):
        for number, one in enumerate(pool.imap_unordered(attempt, todo), start=1):
            print(f"\r{number} of {len(todo)} trainings: {one['id'][:40]:40s}", end="", file=sys.stderr, flush=True)
            if "error" in one:
                print(f"\n{one['id']}: {one['error']}", file=sys.stderr)
                continue
            file.write(json.dumps(one) + "\n")
            file.flush()
            done[f"{one['id']}@{one['seed']}"] = one
    print(file=sys.stderr)
    return [done[job.key] for job in jobs if job.key in done]


def warm_up() -> None:
    """Loads once, before the processes part, what every training would load: some seconds each time."""
    torch.optim.Adam([torch.zeros(1, requires_grad=True)]).step()
    ours = (
        f"{package.__name__}.{one.name}"
        for package in (training, diagnosis)
        for one in pkgutil.iter_modules(package.__path__)
    )
    for module in ("sklearn.datasets", "torch._dynamo", "PIL.Image", "markone.recipe", *ours):
        importlib.import_module(module)


def attempt(job: Job) -> Json:
    """A port that breaks is said, and does not hold up the others."""
    try:
        return do(job)
    except Exception as error:
        return {"id": job.id, "seed": job.seed, "error": f"{type(error).__name__}: {error}"}


# --- what comes of it -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """One tool on one training: the causes that it lists, best first; the step of the first. passing: it alarmed, and no longer does."""

    causes: list[str]
    step: float | None
    passing: bool = False


CUT = frozenset({"epochs-too-few"})  # true of a port that our budget ends, and nothing that the program is guilty of


def ours(record: Json) -> Verdict:
    aside = CUT if record.get("cut") else frozenset()
    causes = [one["slug"] for one in record["findings"] if one["severity"] != "note" and one["slug"] not in aside]
    flagged = [int(step) for step, slugs in record["listed"].items() if set(slugs) - aside]
    first = min(flagged, default=record["steps"])
    return Verdict(causes, first if causes else None, passing=bool(flagged) and not causes)


def absolute(record: Json) -> Verdict:
    found = sorted(record["absolute"].items(), key=lambda item: item[1])
    return Verdict([slug for slug, _ in found], found[0][1] if found else None)


def wilson(hits: int, of: int) -> list[float]:
    """The 95 % interval of a share (Wilson 1927)."""
    if of == 0:
        return [0.0, 1.0]
    z, share = 1.96, hits / of
    middle, half = share + z * z / (2 * of), z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return [round(max(0.0, end / (1 + z * z / of)), 3) for end in (middle - half, middle + half)]


def is_harmed(case: Case, record: Json, twins: list[Json]) -> bool:
    """Whether this run is clearly worse than those of its twin, or says of itself what is not so."""
    if PROVABLE & set(case.labels):
        return True
    if not twins or statistics.mean(one["skill"] for one in twins) < HEALTHY:
        return False
    for measure in (lambda one: one["skill"], on_the_way):
        theirs = [measure(one) for one in twins]
        spread = statistics.stdev(theirs) if len(theirs) > 1 else 0.0
        if statistics.mean(theirs) - measure(record) >= max(HARM, 2 * spread):
            return True
    return bool(record["reported"]) and abs(record["reported"][-1][1] - record["skill"]) >= HARM


def on_the_way(record: Json) -> float:
    """The mean of what it reported, which is less for what learns later."""
    return statistics.mean(skill for _, skill in record["reported"]) if record["reported"] else record["skill"]


@dataclass(frozen=True)
class Sorted:
    """The records by what they count as. faulty: with the causes that are right."""

    faulty: list[tuple[Json, frozenset[str]]]
    unharmed: list[Json]
    healthy: list[Json]
    unhealthy: list[Json]


def sort(found: list[Json], cases: dict[str, Case]) -> Sorted:
    by_id = defaultdict(list)
    for one in found:
        by_id[one["id"]].append(one)
    result = Sorted([], [], [], [])
    for one in found:
        if one["role"] != "faulty":
            (result.healthy if one["skill"] >= HEALTHY else result.unhealthy).append(one)
            continue
        case = cases[one["id"]]
        twin = twin_of(case, cases)
        if is_harmed(case, one, by_id[twin.id] if twin else []):
            result.faulty.append((one, right_causes(case)))
        else:
            result.unharmed.append(one)
    return result


def figures(data: Sorted, judge: Callable[[Json], Verdict], *, steps: bool = True) -> Json:
    """The figures of one tool."""
    verdicts = [(judge(one), right) for one, right in data.faulty]
    alarms = [judge(one) for one in data.healthy]
    n, flagged = len(verdicts), sum(bool(verdict.causes) for verdict, _ in verdicts)
    listed = [cause in right for verdict, right in verdicts for cause in verdict.causes]
    taken = [verdict.step for verdict, _ in verdicts if verdict.step is not None]
    raised = sum(bool(verdict.causes) for verdict in alarms)
    passing = sum(not verdict.causes and verdict.passing for verdict in alarms)
    return {
        "faulty runs": n,
        "flagged": percent(flagged, n),
        "flagged, 95 %": wilson(flagged, n),
        "top-1": percent(sum(bool(right & set(verdict.causes[:1])) for verdict, right in verdicts), n),
        "top-3": percent(sum(bool(right & set(verdict.causes[:3])) for verdict, right in verdicts), n),
        "precision": percent(sum(listed), len(listed)),
        "healthy runs": len(alarms),
        "false alarms": percent(raised, len(alarms)),
        "false alarms, 95 %": wilson(raised, len(alarms)),
        "withdrawn alarms": percent(passing, len(alarms)),
        "median steps": statistics.median(taken) if taken and steps else "none",
    }


def percent(hits: int, of: int) -> str:
    return f"{100 * hits / of:.1f} %" if of else "none"


def summary(found: list[Json], cases: dict[str, Case], left: dict[str, str], seeds: int) -> Json:
    data = sort(found, cases)
    counted = Counter(slug for _, right in data.faulty for slug in right)
    usual = max(sorted(counted), key=lambda slug: counted[slug]) if counted else "none"
    confusion: dict[str, Counter[str]] = defaultdict(Counter)
    for one, _ in data.faulty:
        confusion[cases[one["id"]].labels[0]][(ours(one).causes or ["nothing"])[0]] += 1
    alarms = Counter(cause for one in data.healthy for cause in ours(one).causes)
    return {
        "cases": {
            "markone": figures(data, ours),
            "absolute thresholds": figures(data, absolute),
            f"always {usual}": figures(data, lambda _: Verdict([usual], 0), steps=False),
        },
        "seeds": seeds,
        "confusion": {label: dict(counts.most_common()) for label, counts in sorted(confusion.items())},
        "false_alarms": dict(alarms.most_common()),
        "alarmed": [
            f"{one['id']}@{one['seed']}: {', '.join(ours(one).causes)}" for one in data.healthy if ours(one).causes
        ],
        "not_reproduced": counts_by_id(data.unharmed),
        "flagged_though_not_reproduced": counts_by_id(one for one in data.unharmed if ours(one).causes),
        "not_healthy_here": counts_by_id(data.unhealthy),
        "stand_ins": sorted({text for one in found for text in one["said"]}),
        "not_portable": left,
        "no_check_yet": sorted({slug for case in cases.values() for slug in right_causes(case)} - set(RANK)),
    }


def counts_by_id(found: Iterable[Json]) -> dict[str, int]:
    return dict(sorted(Counter(one["id"] for one in found).items()))


def print_list(found: list[Json], cases: dict[str, Case]) -> None:
    """Every training: labels, what counts as right, what was found."""
    data = sort(found, cases)
    harmed = {(one["id"], one["seed"]) for one, _ in data.faulty}
    for one in sorted(found, key=lambda one: (one["role"], one["id"], one["seed"])):
        case = cases.get(one["id"])
        right = right_causes(case) if case else frozenset()
        said = [f"{item['slug']}({item['severity'][0]})" for item in one["findings"]]
        top = ours(one).causes
        if one["role"] == "faulty":
            hit = "unharmed" if (one["id"], one["seed"]) not in harmed else "nothing" if not top else ""
            hit = hit or ("top-1" if top[0] in right else "top-3" if right & set(top[:3]) else "WRONG")
        else:
            hit = "no health" if one["skill"] < HEALTHY else "ALARM" if top else "quiet"
        labels = list(case.labels) if case else []
        print(
            f"{hit:9s} {one['role']:7s} {one['id']}@{one['seed']} skill {one['skill']:.2f} {labels} want {sorted(right)} found {said}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--cases", type=Path, help="the descriptions (default: $MARKONE_CASES, or beside $MARKONE_DATA)"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", metavar="ID", help="cases whose id begins so")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time, of one thread each")
    parser.add_argument("--runs", type=Path, metavar="FOLDER", help="keep the run folders here")
    parser.add_argument(
        "--again", action="store_true", help="diagnose anew what is kept in --runs, without training it"
    )
    parser.add_argument("--list", action="store_true", help="print every training")
    parser.add_argument("--no-scripts", action="store_true", help="leave tests/healthy out")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cases, left = read_cases(options.cases or usual_path())
    chosen = [case for case in cases.values() if not options.only or case.id.startswith(options.only)]
    if options.runs:
        options.runs.mkdir(parents=True, exist_ok=True)
    scripts = not options.no_scripts and not options.only
    jobs, more = jobs_of(chosen, cases, seeds=options.seeds, runs=options.runs, scripts=scripts)
    with tempfile.TemporaryDirectory() as scratch:
        ledger = options.json.with_suffix(".jsonl") if options.json else Path(scratch) / "ledger.jsonl"
        found = records(jobs, ledger=ledger, count=options.jobs, again=options.again)
    result = summary(found, cases, {**left, **more}, options.seeds)
    if options.list:
        print_list(found, cases)
    print(json.dumps(result, indent=2, ensure_ascii=False))
    if options.json:
        from markone.device import Environment

        result["environment"] = Environment.here(torch.device("cpu")).to_dict()
        options.json.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def usual_path() -> Path:
    """Raises SystemExit where no file is named."""
    if named := os.environ.get("MARKONE_CASES"):
        return Path(named)
    if root := os.environ.get("MARKONE_DATA"):
        return Path(root).parent / "cases" / "calibration.json"
    raise SystemExit("name the file of case descriptions: --cases FILE, or the environment variable MARKONE_CASES")


if __name__ == "__main__":
    main()
