"""Activation checkpointing changes memory and time, never a number."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from markone.errors import SpecError
from markone.nets import MLP, AlexNet, ConvNet, NetSpec, Perceptron, ResNet
from markone.nets.checkpointing import Checkpointed, CheckpointedDense, checkpoint_activations
from markone.nets.densenet import DenseNet

DEEP: list[NetSpec] = [
    ResNet(kind="preact-resnet-164", width=4, depths=(5, 4, 1)),
    ResNet(kind="cifar-resnet-56", width=4),
    ResNet(kind="resnet-50", width=4, dropout=0.5),
    ResNet(kind="plain-20", width=4, normalization="group"),
    ConvNet(width=8, convs_per_stage=3),
    DenseNet(kind="densenet-bc-100-12", depths=(3, 2, 2), growth=4, dropout=0.2),
    MLP(width=8, depth=9, dropout=0.1, normalization="batch"),
]


@pytest.mark.parametrize("spec", DEEP, ids=lambda spec: spec.kind)
def test_gradients_and_statistics_are_the_same(spec: NetSpec) -> None:
    net = spec.build((3, 16, 16), 10).train()
    twin = copy.deepcopy(net)
    checkpoint_activations(twin)
    assert any(isinstance(module, Checkpointed | CheckpointedDense) for module in twin.modules())
    assert list(twin.state_dict()) == list(net.state_dict())
    for step in range(2):
        for each in (net, twin):
            torch.manual_seed(step)
            nn.functional.cross_entropy(each(torch.randn(4, 3, 16, 16)), torch.arange(4)).backward()
    for (name, a), (_, b) in zip(net.named_parameters(), twin.named_parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        assert torch.allclose(a.grad, b.grad, rtol=1e-4, atol=1e-7), name
    for (name, a), (_, b) in zip(net.named_buffers(), twin.named_buffers(), strict=True):
        assert torch.equal(a, b), name
    assert torch.equal(net.eval()(torch.ones(1, 3, 16, 16)), twin.eval()(torch.ones(1, 3, 16, 16)))


def kept_bytes(net: nn.Module, inputs: torch.Tensor) -> int:
    """What autograd holds on to after a forward pass."""
    seen = dict[int, int]()

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        kept = net(inputs)
    del kept
    return sum(seen.values())


def test_less_is_kept() -> None:
    net = ResNet(kind="preact-resnet-164", width=4).build((3, 16, 16), 10).train()
    inputs = torch.randn(8, 3, 16, 16)
    before = kept_bytes(net, inputs)
    checkpoint_activations(net)
    assert kept_bytes(net, inputs) < before / 10


@pytest.mark.parametrize("spec", [Perceptron(), AlexNet(width=8, head_width=8)], ids=lambda spec: spec.kind)
def test_a_net_without_stages(spec: NetSpec) -> None:
    with pytest.raises(SpecError, match="activation_checkpointing is on, but the net has no stage of blocks in a row"):
        checkpoint_activations(spec.build((3, 64, 64), 2))


def test_a_training_is_the_same(tmp_path: Path) -> None:
    from markone.recipe import Recipe
    from markone.training.loop import fit

    recipe = Recipe.from_dict(
        {
            "data": {"kind": "shapes", "samples": 60, "size": 16},
            "net": {"kind": "cifar-resnet-20", "width": 4},
            "optimizer": {"kind": "momentum", "lr": 0.05},
            "batch_size": 16,
            "epochs": 2,
            "precision": "float32",
        }
    )
    plain, checkpointed = (
        fit(recipe.edit("activation_checkpointing", on), folder=tmp_path / str(on)) for on in (False, True)
    )
    a, b = (run.scalars("loss", "batch").values for run in (plain, checkpointed))
    assert a == pytest.approx(b, rel=1e-4)
