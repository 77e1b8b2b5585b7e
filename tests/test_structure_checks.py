"""What a net is made of, as both doors record it, and the checks that judge it: scripts, arithmetic on facts written by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from markone.diagnosis import initialization_checks, structure_checks, target_checks
from markone.diagnosis.diagnose import diagnose
from markone.diagnosis.finding import Finding, Severity
from markone.training.graph import read
from markone.training.script import run_script
from markone.training.structure import Structure, structure_of, targets_fact
from tests.vitals_record import write_vitals

LOOPS = Path(__file__).parent / "loops"
CHECKS = {
    check.__name__.replace("_", "-"): check
    for check in (*structure_checks.CHECKS, *initialization_checks.CHECKS, *target_checks.CHECKS)
}
SCRIPTED = sorted(slug for slug in CHECKS if (LOOPS / slug).is_dir())
ONLY_NOTES = {
    ("useless-bias", "ill"),
    ("pooled-away", "ill"),
    ("dropout-misplaced", "ill_2"),
    ("loss-wrong-for-task", "ill_2"),
    ("sigmoid-for-multiclass", "ill"),
}
WELL, LITTLE = {"loss": [2.2, 0.1, 0.1]}, {"loss": [2.2, 1.9, 1.9]}


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def facts_of(net: nn.Module, x: torch.Tensor, *, loss: Callable[[torch.Tensor], torch.Tensor] | None = None) -> Any:
    torch.manual_seed(0)
    loss = loss or (lambda scores: F.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.long)))
    return structure_of(net.train(), lambda: loss(net(x)))


def chains(net: nn.Module, x: torch.Tensor) -> list[tuple[str | None, list[str]]]:
    layers = facts_of(net, x)["structure"]["layers"]
    return [(one["source"], one["chain"]) for one in layers if one["role"] == "weights"]


class Functional(nn.Module):
    """Its activation and its shortcut are functions."""

    def __init__(self, *, bent: bool = True, past: bool = False) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.bent, self.past = bent, past

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        x = x.clamp(min=0) if self.bent else 2 * x + 1
        y = self.second(x)
        return self.head(x + y if self.past else y)  # type: ignore[no-any-return]


class TestStructure:
    def test_what_lies_between_layers(self) -> None:
        assert chains(Functional(), torch.randn(4, 6))[1] == ("first", ["Clamp"])
        assert chains(Functional(bent=False), torch.randn(4, 6))[1] == ("first", ["Scale", "Shift"])
        assert chains(Functional(past=True), torch.randn(4, 6))[2] == (None, ["Add"])

    def test_attention_is_no_chain(self) -> None:
        net = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Flatten(), nn.Linear(40, 3))
        fact = facts_of(net, torch.randn(4, 5, 8))["structure"]
        sources = {one["name"]: one["source"] for one in fact["layers"] if one["role"] == "weights"}
        assert sources["0.linear2"] == "0.linear1"
        assert sources["2"] is None, "a sum of two ways"

    def test_the_longest_and_the_shortest_way(self) -> None:
        for past, expected in ((False, (3, 3)), (True, (3, 2))):
            fact = facts_of(Functional(past=past), torch.randn(4, 6))["structure"]
            assert (fact["longest"], fact["shortest"]) == expected

    def test_statistics(self) -> None:
        start = nn.Linear(6, 4)
        net = nn.Sequential(start, nn.ReLU(), nn.Linear(4, 3))
        with torch.no_grad():
            start.weight[2] = start.weight[1]
        x = torch.randn(8, 6)
        first, _, last = facts_of(net, x)["structure"]["layers"]
        assert (first["alike_units"], last["alike_units"]) == (0.5, 0.0)
        assert (first["fan_in"], first["fan_out"]) == (6, 4)
        assert first["std"] == pytest.approx(float(start(x).detach().std(correction=0)), rel=1e-5)
        assert last["given_rms"] == pytest.approx(float(net[:2](x).detach().square().mean().sqrt()), rel=1e-5)
        assert first["weight_std"] == pytest.approx(float(start.weight.detach().std(correction=0)), rel=1e-5)

    def test_the_output_is_what_the_loss_was_given(self) -> None:
        net = nn.Sequential(nn.Linear(6, 3), nn.Sigmoid())
        x = torch.randn(8, 6)
        output = facts_of(net, x, loss=lambda y: F.mse_loss(y, torch.ones(8, 3)))["output"]
        assert (output["loss"], output["source"], output["chain"]) == ("mse", "0", ["Sigmoid"])
        assert output["largest"] == pytest.approx(float(net(x).detach().max()), rel=1e-5)

    def test_buffers_gradients_and_hooks_are_left_as_they_were(self) -> None:
        net = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
        before = {name: value.clone() for name, value in net.state_dict().items()}
        facts_of(net, torch.randn(8, 6))
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
        assert all(one.grad is None for one in net.parameters())
        assert not any(module._forward_hooks for module in net.modules())

    def test_weights_that_are_computed_are_left_alone(self) -> None:
        """Whoever asks for the weight of a spectral norm takes a step of its power iteration."""
        spectral = nn.utils.parametrizations.spectral_norm(nn.Linear(6, 4))
        net = nn.Sequential(spectral, nn.ReLU(), nn.Linear(4, 3))
        before = {name: value.clone() for name, value in net.state_dict().items()}
        first = facts_of(net, torch.randn(8, 6))["structure"]["layers"][0]
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
        assert "weight_std" not in first

    def test_fans_are_what_one_output_adds_up(self) -> None:
        net = nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.Flatten(), nn.LazyLinear(3))
        net(torch.randn(2, 4, 5, 5))
        first = facts_of(net, torch.randn(2, 4, 5, 5))["structure"]["layers"][0]
        assert (first["fan_in"], first["fan_out"]) == (2 * 9, 3 * 9)

    def test_what_does_not_reach_the_loss_is_left_out(self) -> None:
        used, unused = nn.Linear(6, 3), nn.Linear(6, 3)
        listening = Structure([("used", used), ("unused", unused)], lambda hear: hear)
        x = torch.randn(4, 6)
        unused(x)
        fact = listening.facts(read(used(x).square().mean()))
        assert [one["name"] for one in fact["structure"]["layers"]] == ["used"]

    def test_a_net_without_a_graph_has_no_facts(self) -> None:
        assert structure_of(net := nn.Linear(6, 3), lambda: net(torch.randn(4, 6)).detach().sum()) == {}


class TestTargets:
    def test_classes(self) -> None:
        fact = targets_fact("nll", torch.tensor([0, 1, 2, 2]))
        assert fact is not None
        assert (fact["distinct"], fact["counts"]["2.0"], fact["whole"], fact["one_hot"]) == (3, 2, True, False)

    def test_one_of_several_and_several_of_many(self) -> None:
        one, many = torch.eye(4), torch.tensor([[1.0, 1, 0, 0], [0, 1, 0, 0]])
        assert [targets_fact("bce", rows)["one_hot"] for rows in (one, many)] == [True, False]  # type: ignore[index]
        assert targets_fact("bce", many)["hot"] == 1.5  # type: ignore[index]

    def test_many_numbers_are_a_part_of_them(self) -> None:
        fact = targets_fact("mse", torch.randn(400, 1000))
        assert fact is not None
        assert (fact["rows"], fact["counts"]) == (100, {})


def entry(name: str, role: str = "weights", **more: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "name": name,
        "role": role,
        "kind": "Linear",
        "place": None,
        "trains": True,
        "reached": True,
        "source": None,
    }
    known |= {
        "chain": [],
        "has_bias": True,
        "given": [8, 32],
        "made": [8, 32],
        "fan_in": 32,
        "fan_out": 32,
        "groups": 1,
    }
    return known | {"weight_mean": 0.0, "weight_std": 0.2, "alike_units": 0.0, "alike_inputs": 0.0} | more


def found(slug: str, folder: Path, layers: list[dict[str, Any]], **more: Any) -> Finding | None:
    targets, output = more.pop("targets", None), more.pop("output", {})
    depth, training = more.pop("depth", (3, 3)), more.pop("training", LITTLE)
    structure = {"layers": layers, "longest": depth[0], "shortest": depth[1]}
    facts = {"structure": structure, "targets": targets, "output": output}
    loss = training["loss"][-1]
    run = write_vitals(folder, losses=loss, training=training, facts=facts, **more)
    return next(iter(CHECKS[slug](run)), None)


class TestChecks:
    @pytest.mark.parametrize(
        ("second", "fires"),
        [
            ({}, True),
            ({"chain": ["View", "NativeBatchNorm", "Dropout"]}, True),
            ({"chain": ["Relu"]}, False),
            ({"chain": ["SomethingNew"]}, False),
            ({"given": [8, 4], "groups": 2}, False),
            ({"kind": "Conv2d"}, False),
            ({"trains": False}, False),
        ],
    )
    def test_linear_stacks(self, second: dict[str, Any], fires: bool, tmp_path: Path) -> None:
        layers = [entry("a"), entry("b", **{"source": "a", **second})]
        one = found("missing-hidden-activation", tmp_path / "run", layers)
        assert (one is not None) is fires

    def test_a_low_rank_is_meant(self, tmp_path: Path) -> None:
        layers = [entry("a", made=[8, 4]), entry("b", source="a", given=[8, 4])]
        assert found("missing-hidden-activation", tmp_path / "run", layers) is None

    def test_a_linear_stack_that_learned_is_a_note(self, tmp_path: Path) -> None:
        layers = [entry("a"), entry("b", source="a")]
        for name, training, severity in (("well", WELL, Severity.NOTE), ("little", LITTLE, Severity.SEVERE)):
            one = found("missing-hidden-activation", tmp_path / name, layers, training=training)
            assert one is not None
            assert one.severity is severity

    @pytest.mark.parametrize(
        ("chain", "words"),
        [
            (["Relu", "View", "Sigmoid"], "never below 0.5"),
            (["Sigmoid", "Sigmoid"], "never below 0.5"),
            (["Tanh", "Dropout", "Softmax"], "a part of its range"),
            (["Relu", "NativeBatchNorm", "Sigmoid"], None),
            (["Relu", "Mul", "Sigmoid"], None),
            (["Sigmoid"], None),
        ],
    )
    def test_two_activations_in_front_of_the_loss(self, chain: list[str], words: str | None, tmp_path: Path) -> None:
        one = found("duplicate-activation", tmp_path / "run", [], output={"loss": "bce", "chain": chain, "source": "a"})
        assert (one.message if one else "").count(words or "Behind") == (words is not None)

    def test_the_softmax_of_the_loss_is_not_the_second(self, tmp_path: Path) -> None:
        output = {"loss": "nll", "chain": ["Relu", "LogSoftmax"], "source": "a"}
        assert found("duplicate-activation", tmp_path / "run", [], output=output) is None

    @pytest.mark.parametrize(("first", "second", "fires"), [(1.0, 1.0, True), (1.0, 0.0, False), (0.0, 1.0, False)])
    def test_symmetry_takes_two_layers(self, first: float, second: float, fires: bool, tmp_path: Path) -> None:
        layers = [entry("a", alike_units=first), entry("b", source="a", alike_inputs=second)]
        assert (found("init-constant", tmp_path / "run", layers) is not None) is fires

    @pytest.mark.parametrize(
        ("std", "depth", "training", "fires"),
        [
            (0.01, (3, 3), LITTLE, True),
            (0.1, (3, 3), LITTLE, False),  # sqrt(32) 0.1 = 0.57
            (1.0, (3, 3), LITTLE, True),
            (0.01, (3, 2), LITTLE, False),
            (0.01, (3, 3), WELL, False),
        ],
    )
    def test_the_scale_of_weights(
        self, std: float, depth: tuple[int, int], training: Any, fires: bool, tmp_path: Path
    ) -> None:
        layers = [entry("a", weight_std=std), entry("b", source="a", weight_std=std), entry("c", source="b")]
        one = found("init-scale-wrong", tmp_path / "run", layers, depth=depth, training=training)
        assert (one is not None) is fires
        if one is not None:
            assert one.measured == pytest.approx(32**0.5 * std)

    def test_normalization_takes_the_scale_away(self, tmp_path: Path) -> None:
        norm = entry("n", "normalization", kind="BatchNorm1d", source="a")
        layers = [entry("a", weight_std=1e-3), norm, entry("c", source="a", chain=["NativeBatchNorm", "Relu"])]
        assert found("init-scale-wrong", tmp_path / "run", layers) is None

    @pytest.mark.parametrize(
        ("fractions", "depth", "noise"),
        [([0.8], (3, 3), 4.0), ([0.5, 0.5, 0.5], (3, 3), 7.0), ([0.5, 0.5, 0.5], (9, 3), None), ([0.5], (3, 3), None)],
    )
    def test_the_noise_of_dropout(
        self, fractions: list[float], depth: tuple[int, int], noise: float | None, tmp_path: Path
    ) -> None:
        layers = [entry(f"d{place}", "dropout", p=p) for place, p in enumerate(fractions)]
        one = found("dropout-too-high", tmp_path / "run", layers, depth=depth)
        assert (one.measured if one else None) == (pytest.approx(noise) if noise else None)

    @pytest.mark.parametrize(
        ("given", "fan_in", "fires"),
        [([8, 4, 1, 1], 36, True), ([8, 4, 2, 2], 36, False), ([8, 4, 1, 1], 4, False), ([8, 4], 36, False)],
    )
    def test_kernels_on_one_place(self, given: list[int], fan_in: int, fires: bool, tmp_path: Path) -> None:
        layers = [entry("a", kind="Conv2d", given=given, fan_in=fan_in)]
        assert (found("pooled-away", tmp_path / "run", layers) is not None) is fires

    @pytest.mark.parametrize(("depth", "fires"), [((29, 29), False), ((30, 30), True), ((60, 4), False)])
    def test_depth(self, depth: tuple[int, int], fires: bool, tmp_path: Path) -> None:
        assert (found("too-deep-without-residual", tmp_path / "run", [], depth=depth) is not None) is fires

    @pytest.mark.parametrize(
        ("values", "fires"), [(range(10), True), ((0, 1), False), ((0.5, 1, 2), False), (range(30), False)]
    )
    def test_numbers_of_classes(self, values: Any, fires: bool, tmp_path: Path) -> None:
        targets = targets_fact("mse", torch.tensor([*values] * 20).float())
        assert (found("loss-wrong-for-task", tmp_path / "run", [], targets=targets) is not None) is fires

    def test_counts_are_uneven(self, tmp_path: Path) -> None:
        counts = torch.tensor([0.0] * 50 + [1.0] * 30 + [2.0] * 10 + [3.0] * 2)
        assert found("loss-wrong-for-task", tmp_path / "run", [], targets=targets_fact("mse", counts)) is None


@pytest.mark.slow
@pytest.mark.parametrize("slug", SCRIPTED)
@pytest.mark.parametrize("seed", [0, 1])
def test_scripts(slug: str, seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for script in sorted((LOOPS / slug).glob("*.py")):
        folder = tmp_path / script.stem
        findings = diagnose(run_script(str(script), ["--seed", str(seed)], folder=folder).run)
        alarms = [one.slug for one in findings if one.severity is not Severity.NOTE]
        if script.stem.startswith("healthy"):
            assert alarms == []
            assert slug not in {one.slug for one in findings}
        elif (slug, script.stem) in ONLY_NOTES:
            assert alarms == []
            assert slug in {one.slug for one in findings}
        else:
            assert alarms == [slug]
    capsys.readouterr()
