"""net and data: what a net costs, and what is in some data."""

import json
from pathlib import Path
from typing import Any

import pytest

from markone.cli import main
from markone.nets import NETS


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main([*arguments, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


class TestNet:
    def test_without_a_name_all_are_listed(self, capsys: pytest.CaptureFixture[str]) -> None:
        names = [net.model_fields["kind"].default for net in NETS]
        assert [row["name"] for row in document(capsys, "net")] == names
        assert main(["net"]) == 0
        listed = capsys.readouterr().out
        assert all(name in listed for name in names)

    def test_an_mlp_by_hand(self, capsys: pytest.CaptureFixture[str]) -> None:
        """3x4x4 -> 48 -> 5 -> 2: 48*5+5 + 5*2+2 parameters, twice as many FLOPs as weights."""
        found = document(
            capsys, "net", "mlp", "--input", "3x4x4", "--outputs", "2", "--set", "depth=1", "--set", "net.width=5"
        )
        assert found["parameters"] == 48 * 5 + 5 + 5 * 2 + 2
        assert found["flops"] == 2 * (48 * 5 + 5 * 2)
        assert (found["input_shape"], found["outputs"], found["net"]["width"]) == ([3, 4, 4], 2, 5)
        assert sum(layer["parameters"] for layer in found["layers"]) == found["parameters"]

    def test_shapes_come_from_data(self, capsys: pytest.CaptureFixture[str]) -> None:
        found = document(capsys, "net", "mlp", "--data", "iris")
        assert (found["input_shape"], found["outputs"]) == ([4], 3)
        assert document(capsys, "net", "convnet")["input_shape"] == [1, 8, 8]

    def test_a_net_too_big_for_memory_is_only_counted(self, capsys: pytest.CaptureFixture[str]) -> None:
        found = document(capsys, "net", "mlp", "--input", "1000000", "--set", "width=1000000", "--set", "depth=3")
        assert found["parameters"] > 3e12

    def test_the_text(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["net", "mlp", "--input", "784"]) == 0
        text = capsys.readouterr().out
        assert "input 784, 10 outputs" in text
        assert "118,282 parameters, 236,032 FLOPs for one input." in text


class TestData:
    def test_the_document(self, capsys: pytest.CaptureFixture[str]) -> None:
        sheet = document(capsys, "data", "iris")
        assert (sheet["name"], sheet["kind"], sheet["samples"]) == ("iris", "table", 150)
        assert sum(sheet["parts"].values()) == 150
        assert sheet["duplicates"]["exact"]["pairs"] == 1, "rows 101 and 142 of iris are equal"

    def test_the_text(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["data", "digits"]) == 0
        text = capsys.readouterr().out
        for part in ("digits  1,797 samples, pictures of 1×8×8", "1,437 training", "grey", "10.2 %"):
            assert part in text

    def test_what_is_odd_is_named(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        rows = "\n".join(f"{i * 37 % 101},7,{'' if i == 5 else i % 4},{'ab'[i % 2]}" for i in range(60))
        table = tmp_path / "table.csv"
        table.write_text(f"size,same,holes,kind\n{rows}\n", encoding="utf-8")
        assert main(["data", str(table), "--target", "kind"]) == 0
        text = capsys.readouterr().out
        assert "same" in text
        assert "holes" in text

    def test_long_lists_are_cut_and_say_so(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        table = tmp_path / "wide.csv"
        head = ",".join(f"c{i}" for i in range(60))
        rows = "\n".join(",".join(str((i * 31 + j * 17) % 97) for j in range(60)) + f",{i % 2}" for i in range(50))
        table.write_text(f"{head},y\n{rows}\n", encoding="utf-8")
        assert main(["data", str(table), "--target", "y"]) == 0
        assert "and 20 more; --format json has all." in capsys.readouterr().out
