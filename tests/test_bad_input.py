"""Bad input: one sentence that helps, exit code 2, no traceback, nothing on standard output, nothing written.

One row per mistake: the command line, and what the sentence must say.
"""

import gzip
import os
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from markone.cli import main
from markone.data.synthetic import Moons, Shapes
from markone.recipe import Recipe
from markone.training.loop import fit
from tests.synthetic_run import write_run

ROWS = {
    # the command line itself
    "unknown verb": ("trian", "Did you mean train?"),
    "unknown verb, nothing near": ("xyzzy", "Allowed: train, watch, runs, show,"),
    "unknown option": ("train --epoch 3", "train has no option --epoch. Did you mean --epochs?"),
    "unknown option of the program": ("--versoin", "Did you mean --version?"),
    "option without value": ("train --epochs", "--epochs needs a value."),
    "no number": ("train --epochs three", "--epochs three is not allowed: it should be a whole number."),
    "no whole number": ("train --epochs 1.5", "--epochs 1.5 is not allowed"),
    "no seconds": ("train --seconds=soon", "--seconds soon is not allowed: it should be a number."),
    "unknown format": (
        "runs --format jsno",
        "--format jsno is not allowed. Did you mean json? Allowed: text, json.",
    ),
    "unknown severity": ("diagnose good --fail-on sever", "Did you mean severe?"),
    "missing argument": ("show", "show needs RUN: a run folder"),
    "missing second argument": ("compare good", "compare needs RUN"),
    "missing inputs": ("predict good", "predict needs INPUTS"),
    "one argument too many": ("show good other", "show does not take the further argument other."),
    # recipes
    "epochs 0": ("train digits --epochs 0", "epochs = 0 is not allowed"),
    "negative epochs": ("train digits --epochs -3", "epochs = -3 is not allowed"),
    "negative seconds": ("train digits --seconds -1", "seconds = -1.0 is not allowed"),
    "negative seed": ("train digits --seed -1", "seed = -1 is not allowed"),
    "set without value": ("train digits --set net.depth", "write FIELD=VALUE"),
    "set without field": ("train digits --set =3", "write FIELD=VALUE"),
    "unknown field": ("train digits --set epcohs=3", "epcohs is not a field. Did you mean epochs?"),
    "unknown inner field": ("train digits --set net.dpeth=3", "net.dpeth is not a field. Did you mean depth?"),
    "field of a value": ("train digits --set epochs.more=3", "epochs has no fields"),
    "unknown kind": ("train digits --set optimizer=admw", "Did you mean adamw?"),
    "unknown kind by its field": ("train digits --set net.kind=convent", "Did you mean convnet?"),
    "unknown choice": (
        "train digits --set precision=bfloat61",
        "precision = 'bfloat61' is not allowed. Did you mean bfloat16?",
    ),
    "text for a number": ("train digits --set optimizer.lr=fast", "optimizer.lr = 'fast' is not allowed"),
    "number for a switch": ("train digits --set augmentation.flip=3", "augmentation.flip = 3 is not allowed"),
    "negative rate": ("train digits --set optimizer.lr=-0.1", "optimizer.lr = -0.1 is not allowed"),
    "a rate that is no number": ("train digits --set optimizer.lr=nan", "optimizer.lr"),
    "dropout of 1": ("train digits --set net.dropout=1.0", "net.dropout = 1.0 is not allowed"),
    "a date for a number": ("train digits --set epochs=2024-01-01", "epochs"),
    "a table for a number": ("train digits --set epochs={}", "epochs"),
    "validation and test of 1": ("train digits --set split.validation=0.5 --set split.test=0.5", "under 1"),
    "recipe absent": ("train absent.toml", "cannot read the recipe absent.toml"),
    "recipe is broken TOML": ("train broken.toml", "broken.toml: the recipe is not valid TOML"),
    "recipe is broken JSON": ("train broken.json", "broken.json: the recipe is not valid JSON"),
    "recipe is a list": ("train list.json", "list.json"),
    "recipe is binary": ("train binary.toml", "cannot read the recipe binary.toml"),
    "recipe without data": ("train no-data.toml", "no-data.toml: data"),
    "recipe with unknown key": ("train unknown-key.toml", "Did you mean batch_size?"),
    "recipe with a target beside it": ("train unknown-key.toml --target y", "--target is for data alone"),
    "no such device": ("train moons --set device=cuda:77", "device 'cuda:77' is not here. Allowed: auto, cpu"),
    "no device at all": ("train moons --set device=toaster", "device 'toaster' is not here"),
    # what does not fit together
    "a net of images on a table": ("train moons --set net=convnet", "net convnet cannot take inputs of shape (2,)"),
    "augmented table": ("train moons --set augmentation.flip=true", "act on images"),
    "label smoothing on hinge": (
        "train moons --set loss=hinge --set regularization.label_smoothing=0.1",
        "label smoothing 0.1 has no meaning with loss hinge",
    ),
    "regression of classes": ("train moons --set task=regression --set loss=squared", "task.kind=classification"),
    "classification of numbers": (
        "train polynomial --set task=classification --set loss=cross-entropy",
        "task.kind=regression",
    ),
    "loss of numbers for classes": ("train moons --set loss=squared", "squared"),
    "loss of classes for numbers": ("train polynomial --set loss=cross-entropy", "cross-entropy"),
    "too deep for the picture": ("train digits --set net.depth=9", "8x8"),
    "accumulation past an epoch": ("train moons --set accumulation=100000", "accumulation = 100000"),
    "folder taken": ("train moons --folder good", "good exists and is not empty"),
    "folder is a file": ("train moons --folder table.csv", "table.csv exists"),
    # data
    "unknown data": ("train digitz", "Did you mean digits?"),
    "path absent": ("train no/such/folder", "there is no no/such/folder"),
    "empty folder": ("train empty", "is empty: it should hold one folder of pictures for each class"),
    "no class folders": ("train flat", "no class folders"),
    "one class": ("train one", "one class folder only"),
    "empty class": ("train hollow", "the class b of"),
    "no pictures": ("train texts", "is a picture, such as a/1.txt"),
    "zip file": ("train data.zip", "unpack it first"),
    "one picture": ("train picture.png", "is one picture"),
    "a pickle": ("train model.pkl", "may be a pickle, which is never opened"),
    "CSV without target": ("train no-target.csv", "--target"),
    "CSV with unknown target": ("train table.csv --target prise", "Did you mean price?"),
    "CSV with unknown group": ("train table.csv --target price --group hause", "Did you mean house?"),
    "CSV of one class": ("train one-class.csv --target y", "at least two classes are needed"),
    "CSV without rows": ("train header.csv --target y", "header.csv"),
    "CSV of nothing": ("train nothing.csv --target y", "nothing.csv"),
    "ragged CSV": ("train ragged.csv --target y", "ragged.csv"),
    "binary CSV": ("train binary.csv --target y", "binary.csv"),
    "target for what has one": ("train moons --target y", "has its target built in"),
    "target for a folder": ("train hollow --target y", "is no table"),
    "group for a folder": ("train hollow --group house", "Allowed: folder"),
    "NPZ without arrays": ("train empty.npz", "holds no arrays"),
    "NPZ with other names": ("train other.npz", "name them with data.inputs and data.targets"),
    "NPZ of unlike lengths": ("train unlike.npz", "their first axes must agree"),
    "NPZ of objects": ("train objects.npz", "which are never opened"),
    "damaged NPZ": ("train damaged.npz", "damaged.npz cannot be read"),
    "damaged IDX": ("train idx", "idx"),
    "data of nothing": ("data empty", "is empty"),
    # runs
    "run absent": ("show good-one", "there is no run 'good-one'. List the runs with: markone runs."),
    "run absent, another near": ("show bleu", "there is no run 'bleu'. Did you mean blue?"),
    "folder that is no run": ("show one", "one is no run folder"),
    "folder of runs": ("runs nowhere", "there is no folder nowhere"),
    "damaged run": ("show torn", "is not a readable record"),
    "damaged run resumed": ("train --resume torn", "is not a readable record"),
    "damaged run compared": ("compare good torn", "is not a readable record"),
    "run of another program": ("diagnose foreign", "is not a readable record"),
    "finished run resumed": ("train --resume good", "has ended (finished)"),
    "absent run resumed": ("train --resume godo", "there is no run 'godo'"),
    "resumed with another recipe": ("train --resume good --epochs 3 --set seed=1", "leave out --epochs and --set"),
    "unknown finding explained": ("explain dead-rleu", "Did you mean dead-relu?"),
    "unknown finding selected": ("diagnose good --select dead-rleu", "Did you mean dead-relu?"),
    "unknown finding ignored": ("diagnose good --ignore lr-to-high", "Did you mean lr-too-high?"),
    "test without weights": ("test bare", "bare has no weights"),
    "prediction without weights": ("predict bare picture.png", "bare has no weights"),
    "prediction for nothing there": ("predict good absent.csv", "there is no file absent.csv"),
    "prediction for an unknown type": ("predict good model.pkl", "model.pkl is of no known type"),
    "prediction for an empty folder": ("predict good empty", "empty holds no images"),
    "pictures for a net of tables": ("predict good picture.png", "was trained on a table"),
    "a table for a net of pictures": ("predict pictures table.csv", "was trained on images"),
    "prediction for other columns": ("predict good table.csv", "table.csv"),
    "prediction for a damaged NPZ": ("predict good damaged.npz", "damaged.npz cannot be read"),
    "prediction for an NPZ of another shape": ("predict good wide.npz", "the net was trained on (2,)"),
    "prediction into a strange file": ("predict good points.csv --out result.exe", "name it .csv or .json"),
    "prediction into no folder": ("predict good points.csv --out no/where.csv", "cannot be written"),
    # nets
    "unknown net": ("net convent", "Did you mean convnet?"),
    "unknown field of a net": ("net mlp --set dept=3", "Did you mean depth?"),
    "a shape that is none": ("net mlp --input 3x0x32", "--input 3x0x32 is no shape"),
    "two shapes": ("net mlp --input 3 --data digits", "give one of them"),
    "a row for a net of images": ("net convnet --input 13", "net convnet cannot take inputs of shape (13,)"),
    "no outputs": ("net mlp --outputs 0", "at least 1 output"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder with everything that can be wrong."""
    folder = tmp_path_factory.mktemp("place")
    before = Path.cwd()
    os.chdir(folder)
    try:
        _recipes()
        _pictures()
        _tables()
        _arrays()
        _runs()
        yield folder
    finally:
        os.chdir(before)


def _recipes() -> None:
    Path("broken.toml").write_text("epochs = = 3\n")
    Path("broken.json").write_text('{"epochs": ')
    Path("list.json").write_text("[1, 2]")
    Path("binary.toml").write_bytes(bytes(range(128, 256)))
    Path("no-data.toml").write_text("epochs = 3\n")
    Path("unknown-key.toml").write_text('batch_sice = 3\n[data]\nkind = "digits"\n')


def _pictures() -> None:
    for folder in ("empty", "flat", "one/a", "hollow/a", "hollow/b", "texts/a", "texts/b"):
        Path(folder).mkdir(parents=True)
    for path in ("picture.png", "flat/1.png", "flat/2.png", "one/a/1.png", "hollow/a/1.png", "hollow/a/2.png"):
        Image.new("RGB", (16, 16), (200, 30, len(path))).save(path)
    for path in ("texts/a/1.txt", "texts/b/1.txt"):
        Path(path).write_text("no picture")
    with zipfile.ZipFile("data.zip", "w") as archive:
        archive.write("picture.png")
    Path("model.pkl").write_bytes(b"\x80\x04N.")


def _tables() -> None:
    rows = "\n".join(f"{i},{i % 7},{i % 3}" for i in range(60))
    Path("table.csv").write_text(f"price,rooms,house\n{rows}\n")
    Path("no-target.csv").write_text(f"a,b,c\n{rows}\n")
    Path("one-class.csv").write_text("x,y\n" + "\n".join(f"{i * 37 % 11},cat" for i in range(60)) + "\n")
    Path("header.csv").write_text("x,y\n")
    Path("nothing.csv").write_text("")
    Path("ragged.csv").write_text("x,y\n1,2\n3,4,5,6,7\n8\n")
    Path("binary.csv").write_bytes(bytes(range(256)) * 40)
    Path("points.csv").write_text("x,y\n0.1,0.2\n")


def _arrays() -> None:
    np.savez("empty.npz")
    np.savez("other.npz", foo=np.zeros((30, 2)), bar=np.zeros(30))
    np.savez("unlike.npz", x=np.zeros((30, 2)), y=np.zeros(20))
    np.savez("objects.npz", x=np.array([{}, []], dtype=object), y=np.zeros(2))
    np.savez("wide.npz", x=np.zeros((3, 9)))
    Path("damaged.npz").write_bytes(b"PK\x03\x04 and then nothing of use" * 9)
    Path("idx").mkdir()
    images = struct.pack(">IIII", 2051, 100, 28, 28) + bytes(100)  # 100 pictures promised, a few bytes given
    Path("idx/train-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
    Path("idx/train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(struct.pack(">II", 2049, 100) + bytes(100)))


def _runs() -> None:
    tiny = {"net": "mlp", "net.width": 4, "epochs": 1, "precision": "float32"}
    fit(Recipe(data=Moons(samples=60)).edit_all(tiny), folder=Path("good"))
    fit(Recipe(data=Shapes(samples=40, size=12)).edit_all(tiny), folder=Path("pictures"))
    write_run(Path("runs/blue"), accuracies=(), steps=0, status="interrupted")
    shutil.copytree("good", "bare")
    Path("bare/net.safetensors").unlink()
    shutil.copytree("bare", "torn")
    shutil.copytree("bare", "foreign")
    for path in [*Path("torn").glob("record.db*"), *Path("foreign").glob("record.db*")]:
        path.unlink()
    Path("torn/record.db").write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 20)
    Path("foreign/record.db").write_text("something else, long enough to be read as a page of a database " * 99)


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file with its size and time; what SQLite keeps beside a database while it is read does not count."""
    files = [path for path in folder.rglob("*") if not path.name.endswith(("-wal", "-shm"))]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns if path.is_file() else 0) for path in files}


def test_the_table_is_long_enough() -> None:
    assert len(ROWS) >= 40


@pytest.mark.parametrize(("command", "piece"), ROWS.values(), ids=ROWS.keys())
def test_bad_input(command: str, piece: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(place)
    code = main(command.split())
    said = capsys.readouterr()
    assert piece in said.err
    assert said.err.startswith("markone: ")
    assert said.err.count("\n") == 1
    assert said.err.endswith("\n")
    assert "Traceback" not in said.err
    assert code == 2
    assert said.out == ""
    assert contents(place) == before


AS_A_PROGRAM = ("unknown verb", "unknown option", "epochs 0", "recipe is broken TOML", "unknown data", "run absent")


@pytest.mark.parametrize("row", AS_A_PROGRAM)
def test_bad_input_as_a_program(row: str, place: Path) -> None:
    command, piece = ROWS[row]
    before = contents(place)
    answer = subprocess.run(
        [sys.executable, "-m", "markone", *command.split()], capture_output=True, text=True, check=False, cwd=place
    )
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert piece in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert contents(place) == before
