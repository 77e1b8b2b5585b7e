"""Nets that give maps: size, gradient and parameters of each, and that their maps lie where the picture's pixels do."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from markone.errors import SpecError
from markone.nets import FCN, EncoderDecoder, NetSpec, UNet
from markone.nets.initializers import HeNormal
from markone.nets.maps import cropped, padded
from markone.seeds import torch_generator

SPECS: list[NetSpec] = [
    *(UNet(width=4, depth=2, normalization=kind) for kind in ("none", "batch", "layer", "group")),
    UNet(width=4, depth=3, upsampling="resize", dropout=0.5),
    *(FCN.from_dict({"kind": f"fcn-{n}", "width": 2, "hidden": 8, "dropout": 0.0}) for n in (32, 16, 8)),
    *(
        FCN(depths=(1, 1, 1), width=4, hidden=8, upsampling=up, normalization="batch")
        for up in ("transposed", "resize")
    ),
    *(EncoderDecoder(depths=(1, 2), width=4, upsampling=up) for up in ("transposed", "resize", "unpooling")),
    EncoderDecoder.from_dict({"kind": "segnet", "width": 2, "dropout": 0.3}),
]
SHAPES = [(3, 32, 32), (1, 33, 47), (2, 5, 3)]

each = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.kind}-{spec.digest[:4]}")


def made(spec: NetSpec, shape: tuple[int, ...], outputs: int = 5) -> nn.Module:
    net = spec.build(shape, outputs)
    HeNormal().build()(net, torch_generator(0, "init"))
    return net


def pictures(shape: tuple[int, ...], samples: int = 2) -> torch.Tensor:
    return torch.randn(samples, *shape, generator=torch_generator(0, "data"))


def parameters(spec: NetSpec, channels: int, outputs: int) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in spec.make((channels, 64, 64), outputs).parameters())


@each
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
def test_maps_have_the_pictures_size(spec: NetSpec, shape: tuple[int, ...]) -> None:
    assert spec.gives == "maps"
    net = made(spec, shape).eval()
    for outputs, samples in ((5, 2), (5, 1)):
        assert net(pictures(shape, samples)).shape == (samples, outputs, *shape[1:])


@each
def test_gradient_reaches_every_parameter(spec: NetSpec) -> None:
    net = made(spec, (3, 33, 40))
    net(pictures((3, 33, 40), 4)).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_parameters_are_the_published_ones() -> None:
    """milesial's Pytorch-UNet as torchsummary counts it; FCN's 134 M of VGG-16 (Long et al., table 1); SegNet's 29.5 M."""
    assert parameters(UNet(normalization="batch"), 3, 1) == 31_037_633
    assert round(parameters(FCN(kind="fcn-32"), 3, 21), -6) == 134e6
    assert parameters(EncoderDecoder.from_dict({"kind": "segnet"}), 3, 11) == pytest.approx(29.45e6, rel=2e-3)


def test_fcn_without_its_scores_is_vgg_16() -> None:
    """VGG-16 has 138,357,544 parameters for 1000 classes (Simonyan and Zisserman 2015); its last layer is the score."""
    assert parameters(FCN(kind="fcn-32"), 3, 1000) == 138_357_544


@given(height=st.integers(1, 40), width=st.integers(1, 40), multiple=st.sampled_from((1, 2, 4, 8, 32)))
@settings(deadline=None)
def test_cropped_undoes_padded(height: int, width: int, multiple: int) -> None:
    x = torch.arange(float(height * width)).view(1, 1, height, width)
    large = padded(x, multiple)
    assert all(size % multiple == 0 for size in large.shape[2:])
    assert all(0 <= big - small < multiple for big, small in zip(large.shape[2:], x.shape[2:], strict=True))
    assert torch.equal(cropped(large, x, multiple), x)


def test_a_map_lies_where_the_picture_does() -> None:
    """A stage that hands pixels on as they are, and joins that take the fine map alone, give the picture itself."""
    net = UNet(width=1, depth=2).build((1, 13, 18), 1)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.zero_()
            if name.endswith("conv.weight"):
                parameter[0, 0, 1, 1] = 1  # the first input channel of a join is the map from the way down
            elif name == "head.weight":
                parameter.fill_(1)
    x = pictures((1, 13, 18)).abs()
    assert torch.equal(net(x), x)


def test_resize_begins_without_the_checkerboard_of_uneven_overlap() -> None:
    """A transposed kernel of 3 with stride 2 gives a constant map a grid; resizing and convolving does not (Odena 2016)."""
    flat = torch.ones(1, 1, 8, 8)
    transposed = nn.ConvTranspose2d(1, 1, 3, 2, bias=False)
    resized = UNet(width=1, depth=1, upsampling="resize").build((1, 8, 8), 1).up[0]  # type: ignore[union-attr, index]
    with torch.no_grad():
        transposed.weight.fill_(1)
        grid = transposed(flat)[0, 0, 2:-2, 2:-2]
        smooth = resized(flat.expand(1, 2, 8, 8))[0, 0, 2:-2, 2:-2]
    assert grid.unique().numel() == 3
    assert torch.allclose(smooth, smooth[0, 0].expand_as(smooth), atol=1e-6)


def test_unpooling_puts_values_back_to_where_they_were() -> None:
    net = made(EncoderDecoder(depths=(1,), width=4, upsampling="unpooling"), (1, 8, 8)).eval()
    seen: list[torch.Tensor] = []
    net.decode[0].register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))  # type: ignore[union-attr, index]
    x = pictures((1, 8, 8), 1)
    net(x)
    features = net.down[0](x)  # type: ignore[union-attr, index]
    assert torch.equal(seen[-1][seen[-1] != 0], features[seen[-1] != 0])


def test_too_many_skips_are_named() -> None:
    with pytest.raises(SpecError, match=r"net\.skips = 2 needs more stages .* net\.depths has 2; take net\.skips = 1"):
        FCN(depths=(1, 1), width=4).build((3, 32, 32), 5)


@each
def test_bfloat16_is_close(spec: NetSpec) -> None:
    if getattr(spec, "upsampling", None) == "unpooling":
        return  # a rounding there moves a maximum, and with it a whole value
    net = made(spec, (3, 32, 32)).eval()
    exact = net(pictures((3, 32, 32)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = net(pictures((3, 32, 32)))
    assert torch.allclose(rough.float(), exact, atol=0.08 * float(exact.detach().abs().max()))


def test_a_kind_brings_its_skips() -> None:
    assert [FCN.from_dict({"kind": f"fcn-{n}"}).skips for n in (32, 16, 8)] == [0, 1, 2]
