"""From an empty virtual environment to the first finished run, torch's own installation timed apart.

    python bench/install.py [--json FILE]

Installs torch (with its dependencies) into a new environment, then this checkout with every other dependency, then runs
``markone train digits``, as the README's first command does. The goal is 90 s for the last two together.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from markone.device import Environment

ROOT = Path(__file__).parents[1]


def timed(*command: str | Path, folder: Path) -> float:
    began = time.perf_counter()
    subprocess.run([str(word) for word in command], check=True, cwd=folder, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        timed(sys.executable, "-m", "venv", folder / "venv", folder=folder)
        binaries = folder / "venv" / "bin"
        pip = (binaries / "pip", "install", "-q", "--no-cache-dir", "-c", ROOT / "constraints.txt")
        torch_seconds = timed(*pip, "torch", folder=folder)
        rest_seconds = timed(*pip, ROOT, folder=folder)
        run_seconds = timed(binaries / "markone", "train", "digits", "--quiet", folder=folder)
    found = {
        "markone train digits": {
            "torch installed in s": round(torch_seconds, 1),
            "everything else installed in s": round(rest_seconds, 1),
            "first run finished in s": round(run_seconds, 1),
            "beside torch in s": round(rest_seconds + run_seconds, 1),
            "goal in s": 90,
        }
    }
    print(json.dumps(found, indent=2))
    if options.json:
        environment = Environment.here(torch.device("cpu")).to_dict()
        options.json.write_text(json.dumps({"cases": found, "environment": environment}, indent=2) + "\n")


if __name__ == "__main__":
    main()
