"""Writes docs/benchmarks.md from the JSON files that the other scripts left in docs/benchmarks/.

python bench/overhead.py --json docs/benchmarks/overhead.json
python bench/ingest.py --json docs/benchmarks/ingest.json
python bench/accuracy.py --json docs/benchmarks/accuracy.json
python bench/duplicates.py --json docs/benchmarks/duplicates.json
python bench/depth.py --json docs/benchmarks/depth.json --plot docs/benchmarks/depth.svg --memory
python bench/install.py --json docs/benchmarks/install.json
python bench/watch.py --memory --json docs/benchmarks/watch.json
python bench/diagnosis.py --json docs/benchmarks/diagnosis.json
python bench/report.py
"""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "benchmarks"

INTRODUCTION = """# Benchmarks

Written by `bench/report.py` from what the scripts in `bench/` measured; each script's first lines say what exactly is compared. Times of
shared machines scatter, so speed is a ratio of two sides that take turns in one process; most of these figures were
taken while other work ran on the same cores, which widens the ranges and lengthens the seconds.
"""

TITLES = {
    "overhead": "Cost of a step, everything recorded, against a hand-written loop",
    "watch": "Cost of watch at its defaults, on a hand-written loop",
    "ingest": "Reading a folder of JPEGs, against a DataLoader with two workers",
    "duplicates": "Duplicates in Fashion-MNIST",
    "accuracy": "Accuracy of the recipe that is chosen from the data",
    "depth": "Depth: plain nets against residual ones, the same training for all",
    "install": "From an empty environment to the first finished run",
    "diagnosis": "Diagnosis: published faulty programs and healthy trainings, against two baselines",
}


PUBLISHED: dict[str, dict[str, dict[str, Any]]] = {  # of others, on other machines and nets, as they published it
    "watch": {
        "TrainCheck, as published": {"ratio": 1.05, "spread": "up to 1.36"},
        "AutoTrainer, as published": {"spread": [1.006, 1.24]},
    }
}

NOTES = {
    "watch": "`ratio` is the median over pairs of blocks, `spread` their quartiles: what a step costs. `whole` holds everything: the"
    " first steps, all of which are looked at, and the probes. `steady` is the second half of the training. Memory is the peak of a"
    " process of its own.",
    "depth": "Deeper plain nets get worse until the deepest learns nothing. The residual nets learn at every depth, and the deeper"
    " ones are no worse on validation. ResNet-1001 was given two epochs instead of eight. The seconds include pauses: the"
    " machine was shared.",
    "diagnosis": "Ports of published cases, within a budget of steps. What counts as faulty, as healthy and as a right cause is said at"
    " the head of `bench/diagnosis.py` and in `bench/cases/labels.py`. The same cases served for calibration.",
}


def cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {inner}" for name, inner in value.items())
    return " to ".join(map(str, value)) if isinstance(value, list) else str(value)


def table(cases: dict[str, dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(column for row in cases.values() for column in row))
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [
        f"| {name} | {' | '.join(cell(row.get(column, '')) for column in columns)} |" for name, row in cases.items()
    ]
    return "\n".join(lines)


def section(path: Path) -> str:
    found = json.loads(path.read_text(encoding="utf-8"))
    where = found["environment"]
    machine = (
        f"{where['device_name']}, {where['cores']} cores, {where['threads']} threads, Python {where['python']}, "
        f"torch {where['packages']['torch']}, commit {where['commit']}"
    )
    plot = f"![{TITLES[path.stem]}](benchmarks/{path.stem}.svg)\n\n" if path.with_suffix(".svg").exists() else ""
    plot += f"{NOTES[path.stem]}\n\n" if path.stem in NOTES else ""
    rows = table(found["cases"] | PUBLISHED.get(path.stem, {}))
    more = details(found) if path.stem == "diagnosis" else ""
    return f"## {TITLES[path.stem]}\n\n{plot}{rows}\n\n{more}`bench/{path.stem}.py` on {machine}.\n"


def details(found: dict[str, Any]) -> str:
    """Of the diagnosis: what was named first for each label, the false alarms, and what is left out."""
    lines = [f"Seeds: {found['seeds']}. First cause named, by the label of the corpus (runs):", ""]
    lines += ["| label | first cause |", "|---|---|"]
    lines += [f"| {label} | {cell(named)} |" for label, named in found["confusion"].items()]
    for title, what in (
        ("False alarms by cause", cell(found["false_alarms"])),
        ("Not reproduced: no worse than the twin (runs), left out of recall", cell(found["not_reproduced"])),
        ("Of these, flagged", cell(found["flagged_though_not_reproduced"])),
        ("Healthy by label, but learning nothing within the budget (runs), left out", cell(found["not_healthy_here"])),
        ("Not portable", cell(found["not_portable"])),
        ("Assumed or replaced in some ports", "; ".join(found["stand_ins"])),
    ):
        lines += ["", f"{title}: {what or 'none'}."]
    return "\n".join(lines) + "\n\n"


def main() -> None:
    paths = [path for name in TITLES if (path := RESULTS / f"{name}.json").exists()]
    (ROOT / "docs" / "benchmarks.md").write_text("\n".join([INTRODUCTION, *map(section, paths)]), encoding="utf-8")


if __name__ == "__main__":
    main()
