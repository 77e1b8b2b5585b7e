"""``train.py NAME FILE``: one of the small trainings, as a script; what it ends with goes to the file."""

import contextlib
import pickle
import sys
from pathlib import Path

from small import COMPILED, TRAININGS

if __name__ == "__main__":
    name, file = sys.argv[1:]
    result = (TRAININGS | COMPILED)[name](lambda _nets, _optimizers: contextlib.nullcontext())
    Path(file).write_bytes(pickle.dumps(result))
    print("done", name)
