"""Tables: what becomes of each kind of column, and what is said of files that cannot be used."""

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from markone.data.table import encode, read_table
from markone.errors import DataError

PEOPLE = """name,age,city,member,height,score,label
Ada,36,London,yes,1.65,1,a
Bob,NA,Paris,no,1.80,2,b
Cyd,51,?,yes,,3,a
Dan,28,Paris,no,1.75,4,b
Eve, 44 ,London,yes,1.60,5,
"""


def write(folder: Path, text: str, name: str = "people.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def column(dataset: object, name: str) -> list[float]:
    names = [found.name for found in dataset.columns]  # type: ignore[attr-defined]
    return [float(value) for value in dataset.inputs[:, names.index(name)]]  # type: ignore[attr-defined]


def test_each_kind_of_column_becomes_numbers(tmp_path: Path) -> None:
    dataset = read_table(write(tmp_path, PEOPLE), ignore=("name",))
    assert dataset.classes == ("a", "b")
    assert dataset.targets.tolist() == [0, 1, 0, 1]
    assert column(dataset, "age is missing") == [0, 1, 0, 0]
    np.testing.assert_array_equal(column(dataset, "age"), [36, np.nan, 51, 28])
    assert column(dataset, "city = London") == [1, 0, 0, 0]
    assert column(dataset, "city = Paris") == [0, 1, 0, 1]
    assert column(dataset, "city is missing") == [0, 0, 1, 0]
    assert column(dataset, "member = yes") == [1, 0, 1, 0]
    np.testing.assert_array_equal(column(dataset, "height"), np.array([1.65, 1.80, np.nan, 1.75], np.float32))
    assert [(bad.path, bad.reason) for bad in dataset.set_aside] == [("line 6", "has no label")]
    assert dataset.names == ("line 2", "line 3", "line 4", "line 5")


@pytest.mark.parametrize("kind", ["tsv", "semicolon", "gz", "parquet", "bom", "crlf"])
def test_every_file_format_gives_the_same_table(kind: str, tmp_path: Path) -> None:
    expected = read_table(write(tmp_path, PEOPLE))
    path = tmp_path / "other.csv"
    if kind == "tsv":
        path = write(tmp_path, PEOPLE.replace(",", "\t"), "other.tsv")
    elif kind == "semicolon":
        path.write_text(PEOPLE.replace(",", ";"))
    elif kind == "gz":
        path = tmp_path / "other.csv.gz"
        path.write_bytes(gzip.compress(PEOPLE.encode()))
    elif kind == "bom":
        path.write_bytes(b"\xef\xbb\xbf" + PEOPLE.encode())
    elif kind == "crlf":
        path.write_bytes(PEOPLE.replace("\n", "\r\n").encode())
    else:
        path = tmp_path / "other.parquet"
        pl.read_csv(tmp_path / "people.csv", null_values=["NA", "?"]).write_parquet(path)
    dataset = read_table(path)
    assert dataset.columns == expected.columns
    np.testing.assert_array_equal(dataset.inputs, expected.inputs)
    np.testing.assert_array_equal(dataset.targets, expected.targets)


def test_columns_that_tell_nothing_are_left_out_with_the_reason(tmp_path: Path) -> None:
    rows = [f"{i},same,person {i},{i % 7},{i % 2}" for i in range(1, 61)]
    dataset = read_table(write(tmp_path, "id,unit,who,x,y\n" + "\n".join(rows)))
    assert [found.name for found in dataset.columns] == ["x"]
    assert set(dataset.notes) == {
        "id numbers the rows and is left out",
        "unit is constant and left out",
        "who has 60 different words in 60 rows and is left out",
    }


def test_rare_categories_share_a_column(tmp_path: Path) -> None:
    words = [f"w{i:02}" for i in range(30) for _ in range(40 - i)]
    rows = [f"{word},{i % 2}" for i, word in enumerate(words)]
    dataset = read_table(write(tmp_path, "word,y\n" + "\n".join(rows)))
    assert len(dataset.columns) == 21
    rare = [float(word >= "w20") for word in words]
    assert column(dataset, "word = other") == rare
    assert dataset.inputs.sum(axis=1).tolist() == [1.0] * len(words), "every row is in exactly one category"


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (["0", "1"], ("0", "1")),
        (["yes", "no"], ("no", "yes")),
        (["1.5", "2.5"], None),
        ([str(i * 37) for i in range(60)], None),
    ],
    ids=["0 and 1", "words", "fractions", "many whole numbers"],
)
def test_target_decides_the_task(values: list[str], classes: tuple[str, ...] | None, tmp_path: Path) -> None:
    rows = [f"{i * i % 11},{values[i % len(values)]}" for i in range(60)]
    dataset = read_table(write(tmp_path, "x,target\n" + "\n".join(rows)))
    assert dataset.classes == classes
    assert dataset.targets.ndim == (1 if classes else 2)


def test_task_can_be_forced(tmp_path: Path) -> None:
    path = write(tmp_path, "x,y\n" + "\n".join(f"{i},{i % 3}" for i in range(40)))
    assert read_table(path).classes == ("0", "1", "2")
    assert read_table(path, task="regression").classes is None


def test_file_without_header_names_columns_by_place(tmp_path: Path) -> None:
    path = write(tmp_path, "\n".join(f"{i * i % 13},{i % 5},{i % 2}" for i in range(40)))
    dataset = read_table(path, target="column 3")
    assert len(dataset) == 40
    assert [found.name for found in dataset.columns] == ["column 1", "column 2"]
    with pytest.raises(DataError, match="Columns: column 1, column 2, column 3"):
        read_table(path)


def test_group_column_gives_labels_and_is_no_input(tmp_path: Path) -> None:
    path = write(tmp_path, "x,patient,y\n1,p1,0\n2,p2,1\n3,p1,0\n4,,1\n5,,0\n")
    dataset = read_table(path, group="patient")
    assert [found.name for found in dataset.columns] == ["x"]
    first, second, third, fourth, fifth = dataset.groups.tolist()
    assert first == third
    assert len({first, second, fourth, fifth}) == 4, "rows without a group are alone"


def test_encode_puts_a_new_file_into_the_same_columns(tmp_path: Path) -> None:
    dataset = read_table(write(tmp_path, PEOPLE))
    new = write(
        tmp_path, "label,city,age,member,height,name,score\n,Rome,30,yes,2.0,Zoe,9\n,London,,no,1.5,Ada,8\n", "new.csv"
    )
    inputs, names = encode(new, dataset.columns)
    found = {c.name: inputs[:, i].tolist() for i, c in enumerate(dataset.columns)}
    assert names == ("line 2", "line 3")
    assert found["city = London"] == [0, 1]
    assert found["city = Paris"] == [0, 0], "Rome is none of the known cities"
    assert found["age is missing"] == [0, 1]
    assert found["age"][0] == 30


def test_encode_of_the_training_file_gives_its_inputs(tmp_path: Path, real_data: Path) -> None:
    path = real_data / "tables" / "titanic.csv"
    dataset = read_table(path, target="Survived")
    inputs, _ = encode(path, dataset.columns)
    np.testing.assert_array_equal(inputs, dataset.inputs)
    assert dataset.inputs.shape == (891, 13)


BAD = {
    "empty": ("", "is empty"),
    "only a header": ("a,b,target\n", "has a header and no rows"),
    "ragged": ("a,b,target\n1,2,3\n1,2,3,4,5\n", "is not a readable table"),
    "no target": ("a,b\n1,2\n3,4\n", "name it with --target. Columns: a, b."),
    "target without a value": ("a,target\n1,\n2,NA\n", "has no row with a value of target"),
    "one class": ("a,target\n1,x\n2,x\n", "is of the class x"),
    "nothing to learn from": ("a,target\n1,x\n1,y\n", "no column to learn from beside target. (a is constant"),
    "twice the same name": ("a,a,target\n1,2,x\n3,4,y\n", "more than one column 'a'"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD.keys())
def test_unfit_tables_are_refused_in_one_sentence(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read_table(write(tmp_path, text))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_binary_and_foreign_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "noise.csv").write_bytes(bytes(range(256)) * 10)
    (tmp_path / "noise.parquet").write_bytes(b"no parquet at all")
    with pytest.raises(DataError, match="it has zero bytes"):
        read_table(tmp_path / "noise.csv")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read_table(tmp_path / "noise.parquet")


@pytest.mark.parametrize("option", ["target", "group"])
def test_unknown_column_offers_the_near_one(option: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'lable'\. Did you mean label"):
        read_table(write(tmp_path, PEOPLE), **{option: "lable"})


def test_encode_refuses_absent_columns_and_words_for_numbers(tmp_path: Path) -> None:
    dataset = read_table(write(tmp_path, PEOPLE))
    with pytest.raises(DataError, match=r"no column 'name'\. Did you mean agee"):
        encode(write(tmp_path, "agee,city\n1,Paris\n", "new.csv"), dataset.columns)
    words = PEOPLE.replace("36", "thirty").replace("51", "fifty")
    with pytest.raises(DataError, match=r"column age of .* holds words"):
        encode(write(tmp_path, words, "new.csv"), dataset.columns)


@pytest.mark.parametrize(
    ("words", "numbers"),
    [(['"1,000"', '"2,500"', "999"], [1000, 2500, 999]), (['"1,5"', '"2,25"', "3"], [1.5, 2.25, 3])],
    ids=["thousands", "decimals"],
)
def test_commas_in_numbers(words: list[str], numbers: list[float], tmp_path: Path) -> None:
    rows = "\n".join(f"{word},{i % 2}" for i, word in enumerate(words))
    assert column(read_table(write(tmp_path, f"a,y\n{rows}\n")), "a") == numbers


def test_encode_keeps_rows_without_any_value(tmp_path: Path) -> None:
    dataset = read_table(write(tmp_path, PEOPLE))
    header = PEOPLE.splitlines()[0]
    _, names = encode(write(tmp_path, f"{header}\n,,,,,,\nAda,36,London,yes,1.65,1,a\n", "new.csv"), dataset.columns)
    assert names == ("line 2", "line 3")
