"""Fine-tuning: what is frozen does not move, what is slowed moves less, and the rest learns."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from markone.data.source import Builtin
from markone.errors import SpecError
from markone.fine_tuning import FineTuning, early_layers, still
from markone.nets import MLP, ResNet, SqueezeNet
from markone.optimizers import OPTIMIZERS, OptimizerSpec
from markone.recipe import Recipe
from markone.regularizers import Regularization
from markone.training.choose import choose_recipe
from markone.training.loop import Training, fit


def test_a_frozen_layer_takes_all_its_parameters_and_statistics_along() -> None:
    net = ResNet(kind="cifar-resnet-20", width=4).build((3, 16, 16), 5)
    FineTuning(frozen=("conv1", "bn1", "layer1.*")).freeze(net)
    frozen = {name for name, parameter in net.named_parameters() if not parameter.requires_grad}
    assert frozen == {name for name, _ in net.named_parameters() if name.split(".")[0] in ("conv1", "bn1", "layer1")}
    assert len([*still(net)]) == 1 + 6


@pytest.mark.parametrize("tuning", [FineTuning(frozen=("layer9",)), FineTuning(lr_factors=("layer9=0.1",))])
def test_a_name_that_no_layer_has(tuning: FineTuning) -> None:
    with pytest.raises(
        SpecError, match=r"fine_tuning names 'layer9', and no layer of the net fits; it has hidden, head\."
    ):
        tuning.freeze(MLP().build((4,), 2))


@pytest.mark.parametrize("text", ["hidden", "hidden=", "hidden=0", "hidden=-1", "=0.1", "hidden=nan", "hidden=x"])
def test_a_factor_that_is_none(text: str) -> None:
    with pytest.raises(SpecError, match=r"fine_tuning\.lr_factors has .*write a layer and a number over 0"):
        FineTuning(lr_factors=(text,)).lr_factor("hidden.0.linear.weight")


@pytest.mark.parametrize("kind", OPTIMIZERS, ids=lambda kind: kind.__name__)
def test_factors_scale_the_rates_of_every_optimizer(kind: type[OptimizerSpec]) -> None:
    """With half the rate everywhere the steps are those of half the rate; with a factor for a layer, only its own."""
    torch.manual_seed(0)
    nets = [MLP(width=8).build((4,), 3) for _ in range(3)]
    for net in nets[1:]:
        net.load_state_dict(nets[0].state_dict())
    factors: list[Callable[[str], float] | None] = [
        None,
        FineTuning(lr_factors=("*=0.5",)).lr_factor,
        FineTuning(lr_factors=("hidden.0=0.5",)).lr_factor,
    ]
    spec = kind(lr=0.02)
    optimizers = [
        kind(lr=0.01).build(nets[0]),
        *(spec.build(net, lr_factor=factor) for net, factor in zip(nets[1:], factors[1:], strict=True)),
    ]
    assert {round(group["initial_lr"], 6) for group in optimizers[2].param_groups} == {0.01, 0.02}
    inputs = torch.randn(16, 4)
    for net, optimizer in zip(nets, optimizers, strict=True):
        for _ in range(2):
            net(inputs).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    for name, parameter in nets[0].named_parameters():
        assert torch.allclose(parameter, nets[1].get_parameter(name), atol=1e-6), name


@pytest.fixture
def published(tmp_path: Path) -> Path:
    torch.manual_seed(5)
    net = ResNet(kind="cifar-resnet-20", width=4).build((3, 16, 16), 7)
    path = tmp_path / "published.safetensors"
    save_file(net.state_dict(), path)
    return path


def recipe(published: Path, **more: Any) -> Recipe:
    return Recipe.from_dict(
        {
            "data": {"kind": "shapes", "samples": 80, "size": 16},
            "net": {"kind": "cifar-resnet-20", "width": 4, "weights": str(published)},
            "optimizer": {"kind": "momentum", "lr": 0.05},
            "batch_size": 16,
            "epochs": 2,
            "precision": "float32",
            **more,
        }
    )


def test_training_begins_with_the_weights_and_leaves_frozen_ones(published: Path, tmp_path: Path) -> None:
    frozen = {"fine_tuning": {"frozen": ["conv1", "bn1", "layer1"]}}
    run = fit(recipe(published, **frozen), folder=tmp_path / "run")
    before, after = load_file(published), load_file(run.folder / "net.safetensors")
    assert run.status == "finished"
    for name, value in before.items():
        if name.startswith(("conv1", "bn1", "layer1")):
            assert torch.equal(value, after[name]), name
    assert not torch.equal(before["layer2.0.conv1.weight"], after["layer2.0.conv1.weight"])
    assert run.facts["weights"]["new"] == ["fc"]
    assert len(run.facts["weights"]["sha256"]) == 64
    notes = [event.value["text"] for event in run.events if event.kind == "note"]
    assert f"The net begins with the weights {published}; fc begins anew, for another number of classes." in notes
    assert any(note.endswith("parameters are frozen.") for note in notes)


def test_resuming_needs_the_published_file_no_more(published: Path, tmp_path: Path) -> None:
    whole = fit(recipe(published), folder=tmp_path / "whole")
    training = Training.begin(recipe(published), folder=tmp_path / "cut")
    for step in training.steps():
        if step.index == 3:
            break
    published.rename(tmp_path / "gone")
    run = fit(recipe(published), folder=tmp_path / "cut", resume=True)
    expected = load_file(whole.folder / "net.safetensors")
    found = load_file(run.folder / "net.safetensors")
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


def test_the_recorded_rate_is_the_one_without_factors(published: Path, tmp_path: Path) -> None:
    slowed = {"fine_tuning": {"lr_factors": ["conv1=0.01", "*=0.5"]}, "schedule": "constant"}
    run = fit(recipe(published, **slowed), folder=tmp_path / "run")
    assert set(run.scalars("lr", "batch").values) == {0.05}


def test_nothing_is_written_where_weights_do_not_fit(published: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="do not fit net cifar-resnet-32"):
        Training.begin(
            recipe(published).edit("net.kind", "cifar-resnet-32").edit("net.weights", str(published)),
            folder=tmp_path / "x",
        )
    assert not (tmp_path / "x").exists()


def test_slowed_layers_decay_as_slowly() -> None:
    net = MLP(width=8).build((4,), 3)
    before = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    tuning = FineTuning(lr_factors=("hidden.0=0.01",))
    Regularization(weight_decay=0.5).build(net, samples=10, lr_factor=tuning.lr_factor).decay(0.1)
    for name, parameter in net.named_parameters():
        shrunk = 1.0 if parameter.ndim < 2 else 1 - 0.1 * 0.5 * (0.01 if name.startswith("hidden.0") else 1)
        assert torch.allclose(parameter, before[name] * shrunk), name


def test_one_pattern_needs_no_list() -> None:
    assert FineTuning.from_dict({"frozen": "features.*"}) == FineTuning(frozen=("features.*",))


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        (SqueezeNet(kind="squeezenet-1.1"), ("features.0", "features.3", "features.4")),
        (ResNet(kind="resnet-18"), ("conv1", "bn1", "layer1")),
    ],
    ids=lambda one: getattr(one, "kind", ""),
)
def test_early_layers_see_a_quarter_of_the_sides_or_finer(spec: ResNet | SqueezeNet, names: tuple[str, ...]) -> None:
    net = spec.build((3, 160, 160), 5)
    assert early_layers(net, (3, 160, 160)) == names
    FineTuning(frozen=names).freeze(net)
    assert 0 < sum(one.requires_grad for one in net.parameters()) < len(list(net.parameters()))


def test_a_table_has_no_early_layers() -> None:
    assert early_layers(MLP().build((4,), 3), (4,)) == ()


def test_the_chosen_recipe_freezes_early_layers() -> None:
    source = Builtin(kind="digits")
    pictures = source.build()
    plain = choose_recipe(source, pictures, wishes={"net.kind": "resnet-18"})
    tuned = choose_recipe(source, pictures, wishes={"net.kind": "resnet-18", "net.weights": "net.safetensors"})
    assert plain.fine_tuning.frozen == ()
    assert tuned.fine_tuning.frozen[0] == "conv1"
