"""net and data: what a net costs, and what is in some data."""

import io
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from markone.cli import main
from markone.losses import LOSSES
from markone.nets import NETS
from markone.report.nets import MOST_ROWS, cited, net_text, nets_text


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main([*arguments, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one sentence that a command which cannot be done prints."""
    assert main(["net", *arguments]) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    return printed.err


def lines_at(width: int, renderable: Any) -> list[str]:
    console = Console(width=width, file=io.StringIO(), markup=False, highlight=False)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


class TestNet:
    def test_an_mlp_by_hand(self, capsys: pytest.CaptureFixture[str]) -> None:
        """3x4x4 -> 48 -> 5 -> 2: 48*5+5 + 5*2+2 parameters, twice as many FLOPs as weights."""
        found = document(
            capsys, "net", "mlp", "--input", "3x4x4", "--outputs", "2", "--set", "depth=1", "--set", "net.width=5"
        )
        assert found["parameters"] == 48 * 5 + 5 + 5 * 2 + 2
        assert found["flops"] == 2 * (48 * 5 + 5 * 2)
        assert (found["input_shape"], found["outputs"], found["net"]["width"]) == ([3, 4, 4], 2, 5)
        assert sum(layer["parameters"] for layer in found["layers"]) == found["parameters"]

    def test_shapes_come_from_data_or_are_what_the_net_was_made_for(self, capsys: pytest.CaptureFixture[str]) -> None:
        found = document(capsys, "net", "mlp", "--data", "iris")
        assert (found["input_shape"], found["outputs"]) == ([4], 3)
        found = document(capsys, "net", "resnet-18")
        assert (found["input_shape"], found["outputs"], found["year"]) == ([3, 224, 224], 1000, 2015)

    def test_a_net_too_big_for_memory_is_only_counted(self, capsys: pytest.CaptureFixture[str]) -> None:
        found = document(capsys, "net", "mlp", "--input", "1000000", "--set", "width=1000000", "--set", "depth=3")
        assert found["parameters"] > 3e12

    def test_the_text(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["net", "mlp", "--input", "784"]) == 0
        text = capsys.readouterr().out
        assert "input 784, 10 outputs" in text
        assert "118,282 parameters, 236,032 FLOPs for one input." in text
        assert "window" not in text, "rows have no height and width"

    def test_a_layer_of_images(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["net", "resnet-18", "--all"]) == 0
        lines = capsys.readouterr().out.splitlines()
        found = next(line for line in lines if line.startswith("layer4.0.downsample.0"))
        assert found.split() == [
            *("layer4.0.downsample.0", "Conv2d", "1×1", "s2", "512×7×7", "131,072", "12.8", "M"),
            *("211", "/", "32", "100", "kB"),
        ]
        assert "Training keeps 22.2 MB of activations for each input, at float32." in lines

    def test_a_deep_net_is_folded_to_its_blocks(self, capsys: pytest.CaptureFixture[str]) -> None:
        shown = ("net", "cifar-resnet-56", "--set", "depths=[30,30,30]")
        assert main([*shown]) == 0
        text = capsys.readouterr().out
        assert "layer1.0 to 29  180 layers   60 of 3×3" in text
        assert "layer2.1 to 29  174 layers   58 of 3×3" in text
        assert "--all shows every layer." in text
        assert len(text.splitlines()) < 25
        assert main([*shown, "--all"]) == 0
        every = capsys.readouterr().out
        assert "layer1.29.conv2" in every
        assert "--all" not in every
        totals = [line for line in text.splitlines() if "FLOPs for one input" in line]
        assert totals == [line for line in every.splitlines() if "FLOPs for one input" in line]

    @pytest.mark.parametrize("kind", ["alexnet", "resnet-50", "densenet-121", "googlenet", "unet", "mark-one", "mlp"])
    def test_a_terminal_of_100_columns_has_room(self, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
        found = document(capsys, "net", kind)
        wide = lines_at(100, net_text(found))
        table = wide[wide.index("", 2) + 1 : wide.index("", wide.index("", 2) + 1)]
        assert 2 < len(table) <= MOST_ROWS + 1
        assert table[0].endswith("memory")
        narrow = lines_at(64, net_text(found))
        assert any(line.startswith("layer") and "parameters" in line and "memory" not in line for line in narrow)

    def test_parts_for_training_only_say_so(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["net", "inception-v3"]) == 0
        line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("AuxLogits"))
        assert "training only" in line

    def test_an_image_that_is_too_small(self, capsys: pytest.CaptureFixture[str]) -> None:
        """(63 - 11 + 2 * 2) // 4 + 1 = 15 places behind the first layer; three times pooling leaves 7, 3 and 1."""
        assert refused(capsys, "alexnet", "--input", "3x8x8", "--set", "stem=imagenet") == (
            "markone: net alexnet cannot take images of 8x8 pixels: at layer features.2 nothing is left of the map; "
            "the next size it can take is 63x63.\n"
        )

    def test_an_unknown_net(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "there is no net 'resnet-51'. Did you mean resnet-50?" in refused(capsys, "resnet-51")


class TestList:
    def test_every_kind_by_year(self, capsys: pytest.CaptureFixture[str]) -> None:
        rows = document(capsys, "net")
        assert {row["name"] for row in rows} == {kind for net in NETS for kind in net.variants}
        assert [row["year"] for row in rows] == sorted(row["year"] for row in rows)
        names = [row["name"] for row in rows]
        assert names.index("resnet-18") < names.index("resnet-101")
        found = next(row for row in rows if row["name"] == "resnet-50")
        assert (found["parameters"], found["input_shape"], found["outputs"]) == (25_557_032, [3, 224, 224], 1000)

    def test_it_fits_a_terminal_of_100_columns(self, capsys: pytest.CaptureFixture[str]) -> None:
        rows = document(capsys, "net")
        lines = lines_at(100, nets_text(rows))
        assert len(lines) == len(rows) + 3, "one line a net"
        assert "paper" in lines[0]
        assert main(["net"]) == 0
        assert "25,557,032  8.18 G  3×224×224  He: Deep residual learning for image …" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("paper", "short"),
        [
            ("Huang, Liu, van der Maaten and Weinberger, Densely connected nets", "Huang: Densely connected nets"),
            ("Long, Shelhamer and Darrell, Fully", "Long: Fully"),
            ("Rosenblatt, The storage and organization in the brain", "Rosenblatt: The storage and …"),
            ("Hochreiter and Schmidhuber, Long memory", "Hochreiter: Long memory"),
        ],
    )
    def test_citations(self, paper: str, short: str) -> None:
        assert cited(paper) == short

    def test_nothing_is_built(self) -> None:
        """torch is not even imported."""
        code = "import sys, markone.cli as cli; code = cli.main(['net']); sys.exit(code or any(m == 'torch' for m in sys.modules))"
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


class TestTrace:
    def test_the_document(self, capsys: pytest.CaptureFixture[str]) -> None:
        found = document(capsys, "net", "mlp", "--trace", "--weight", "hidden.1.linear.weight[1,0]")
        assert (found["input"], found["target"], found["loss_kind"]) == ([0.5, -1.0], [1.0], "squared")
        assert [layer["layer"] for layer in found["forward"]] == [
            *("hidden.0.linear", "hidden.0.activation", "hidden.1.linear", "hidden.1.activation", "head"),
        ]
        assert [factor["layer"] for factor in found["factors"]] == [
            *("loss", "head", "hidden.1.activation", "hidden.1.linear.weight"),
        ]
        assert found["weight"] == "hidden.1.linear.weight[1,0]"
        assert found["difference"] <= 1e-12 * max(1, abs(found["autograd"]))
        assert found["factors"][-1]["gradient"] == [found["product"]]

    def test_one_unit_a_layer_is_a_product_of_numbers(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["net", "mlp", "--trace", "--input", "1", "--set", "width=1", "--set", "depth=1"]) == 0
        *_, product, last = capsys.readouterr().out.splitlines()
        head, _, rest = product.partition(" = ")
        factors, _, value = rest.partition(" = ")
        assert head == "dL/dhidden.0.linear.weight[0,0]"
        numbers = [float(number.strip("()")) for number in factors.split(" × ")]
        assert len(numbers) == 4, "dL/ds, the head's weight, tanh', x"
        assert math.prod(numbers) == pytest.approx(float(value), rel=1e-4)
        assert last.startswith("product ")
        assert " autograd " in last
        assert " difference " in last

    def test_a_wide_net_is_shortened(self, capsys: pytest.CaptureFixture[str]) -> None:
        shape = ("--input", "1x8x8", "--outputs", "3", "--set", "width=40")
        assert main(["net", "mlp", "--trace", *shape, "--target", "2"]) == 0
        text = capsys.readouterr().out
        assert "of 64" in text
        assert "of 40" in text
        assert "cross-entropy, target 2" in text
        assert len(text.splitlines()) < 45

    def test_a_convolutions_weight_is_in_every_place(self, capsys: pytest.CaptureFixture[str]) -> None:
        """The weight in the middle of a 3x3 kernel takes each of the 2x2 pixels once."""
        fields = "--set width=1 --set head_width=2 --set activation=tanh --weight features.0.weight[0,0,1,1]"
        assert main(["net", "vgg-11", "--trace", "--input", "1x2x2", "--outputs", "2", *fields.split()]) == 0
        text = " ".join(capsys.readouterr().out.split())  # a long line goes on in the next
        names, numbers = text[text.index("dL/dfeatures") :].split(" = ")[1:3]
        assert names == "dL/dz0 × dz0/dw + dL/dz1 × dz1/dw + dL/dz2 × dz2/dw + …"
        assert [term.split(" × ")[-1] for term in numbers.split(" + ")] == ["0.5", "(-1)", "0.5", "…"]

    def test_every_loss(self, capsys: pytest.CaptureFixture[str]) -> None:
        for loss in LOSSES:
            kind = loss.model_fields["kind"].default
            found = document(capsys, "net", "perceptron", "--trace", "--outputs", "3", "--loss", kind)
            assert found["difference"] <= 1e-12, kind

    def test_the_first_weight_that_the_loss_depends_on(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Of 2 inputs the second, 0, leads nowhere; the first goes on to some units of the first layer."""
        found = document(capsys, "net", "mark-one", "--trace")
        assert found["weight"].startswith("head.weight[0,")
        assert found["product"] != 0
        found = document(capsys, "net", "perceptron", "--trace", "--sample", "0,2")
        assert found["weight"] == "head.weight[0,1]"
        found = document(capsys, "net", "perceptron", "--trace", "--sample", "0,2", "--weight", "head.weight[0,0]")
        assert found["product"] == 0

    def test_a_net_for_images_takes_a_small_one(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "the net is no chain of layers" in refused(capsys, "cifar-resnet-20", "--trace")
        found = document(capsys, "net", "vgg-11", "--trace", "--set", "width=1", "--set", "head_width=2")
        assert len(found["input"]) == 3 * 8 * 8

    def test_another_kind_is_another_name(self, capsys: pytest.CaptureFixture[str]) -> None:
        for path in ("net.kind", "kind"):
            assert refused(capsys, "plain-20", "--set", f"{path}=resnet-18") == (
                f"markone: --set {path}=resnet-18 names another net; write markone net resnet-18 instead.\n"
            )

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ("--trace", "--trace needs a net; write markone net mlp --trace."),
            ("mlp --weight head.bias[0]", "--weight is an option of --trace; add --trace or leave it out."),
            ("mlp --trace --sample 1,2,3", "--sample 1,2,3 is not 2 numbers with commas between."),
            ("mlp --trace --sample 1,nan", "--sample 1,nan is not 2 numbers"),
            ("mlp --trace --target a", "--target a is not 1 number with commas between."),
            (
                "mlp --trace --outputs 3 --target 3",
                "--target 3 is no class of loss cross-entropy; take a number from 0 to 2.",
            ),
            (
                "mlp --trace --loss cross-entropy",
                "loss cross-entropy needs a score for each class; take --outputs 2 or more.",
            ),
            ("mlp --trace --loss square", "there is no loss 'square'. Did you mean squared?"),
            ("mlp --trace --weight heat.bias[0]", "the net has no weight heat.bias. Did you mean head.bias?"),
            ("mlp --trace --weight head.bias[7]", "head.bias[7] is no place of a 1 weight; take [0] to [0]."),
            (
                "cifar-resnet-20 --trace --input 3x8x8",
                "does not take what the layer before gives; take perceptron, mlp or",
            ),
        ],
    )
    def test_what_cannot_be_traced(self, arguments: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert message in refused(capsys, *arguments.split())


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
