"""Extras that may not be there: timm's nets, the Hugging Face hub."""

import sys

import pytest
import torch

from markone.errors import InputError, SpecError
from markone.nets import ResNet
from markone.nets.timm import Timm
from markone.nets.weights import load_weights


def timm_works() -> bool:
    try:
        import timm  # noqa: F401
    except (ImportError, RuntimeError):  # RuntimeError: a torchvision that was built for another torch
        return False
    return True


needs_timm = pytest.mark.skipif(
    not timm_works(), reason="needs the extra timm, with a torchvision that fits this torch"
)


@needs_timm
@pytest.mark.parametrize("channels", [1, 3])
def test_any_of_its_nets(channels: int) -> None:
    net = Timm(name="convnext_atto", dropout=0.1).build((channels, 64, 64), 7)
    assert net(torch.randn(2, channels, 64, 64)).shape == (2, 7)


@needs_timm
def test_a_near_name_is_offered() -> None:
    with pytest.raises(SpecError, match=r"timm has no net 'convnext_ato'\. Did you mean convnext_atto\?"):
        Timm(name="convnext_ato").build((3, 64, 64), 7)


def test_without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match=r"net timm needs timm; install it with: pip install 'markone\[timm\]'"):
        Timm().build((3, 64, 64), 7)


def test_without_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    spec = ResNet(kind="resnet-18")
    net = spec.build((3, 64, 64), 7)
    with pytest.raises(
        InputError, match=r"hf:timm/resnet18 need huggingface_hub; install it with: pip install 'markone\[hub\]'"
    ):
        load_weights(net, spec, "hf:timm/resnet18", outputs=7)
