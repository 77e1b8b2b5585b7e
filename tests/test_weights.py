"""Published weights: what fits is put in, the head of another number of classes begins anew, what differs is named."""

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from markone.errors import DataError, InputError, SpecError
from markone.nets import ResNet, weights
from markone.nets.densenet import DenseNet
from markone.nets.weights import load_weights, statistics_of

SPEC = ResNet(kind="resnet-18", width=4)
SHAPE = (3, 64, 64)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Weights of a thin ResNet-18 for 1000 classes, with the stem for large pictures."""
    torch.manual_seed(1)
    path = tmp_path / "thin.safetensors"
    save_file(SPEC.edit("stem", "imagenet").build(SHAPE, 1000).state_dict(), path)
    return path


def test_the_same_classes_load_whole(published: Path) -> None:
    spec = SPEC.edit("stem", "imagenet")
    net, twin = spec.build(SHAPE, 1000), spec.build(SHAPE, 1000)
    loaded = load_weights(net, spec, str(published), outputs=1000)
    load_weights(twin, spec, str(published), outputs=1000)
    assert loaded.new == ()
    assert loaded.tensors == len(net.state_dict())
    inputs = torch.randn(2, *SHAPE)
    assert torch.equal(net.eval()(inputs), twin.eval()(inputs))


def test_the_head_of_other_classes_begins_anew(published: Path) -> None:
    spec = SPEC.edit("stem", "imagenet")
    net = spec.build(SHAPE, 5)
    head = net.get_parameter("fc.weight").clone()
    loaded = load_weights(net, spec, str(published), outputs=5)
    assert loaded.new == ("fc",)
    assert torch.equal(net.get_parameter("fc.weight"), head)
    assert loaded.sentence.endswith("fc begins anew, for another number of classes.")


def test_grey_pictures_see_the_sum_of_the_colours(published: Path) -> None:
    spec = SPEC.edit("stem", "imagenet")
    grey, colour = spec.build((1, 64, 64), 1000).eval(), spec.build(SHAPE, 1000).eval()
    for net in (grey, colour):
        load_weights(net, spec, str(published), outputs=1000)
    picture = torch.randn(2, 1, 64, 64)
    assert torch.allclose(grey(picture), colour(picture.expand(-1, 3, -1, -1)), atol=1e-4)


def test_a_torch_file_is_read_without_unpickling_code(published: Path, tmp_path: Path) -> None:
    path = tmp_path / "thin.pth"
    spec = SPEC.edit("stem", "imagenet")
    net = spec.build(SHAPE, 1000)
    torch.save(net.state_dict(), path)
    assert load_weights(spec.build(SHAPE, 1000), spec, str(path), outputs=1000).new == ()
    torch.save({"evil": Path("x")}, path)
    with pytest.raises(DataError, match=r"thin\.pth is no readable file of weights"):
        load_weights(net, spec, str(path), outputs=1000)


def test_what_differs_is_named(published: Path) -> None:
    with pytest.raises(
        SpecError, match=r"conv1\.weight is 4x3x7x7 there and 4x3x3x3 in the net.*net\.stem = \"imagenet\""
    ):
        load_weights(SPEC.build(SHAPE, 5), SPEC, str(published), outputs=5)
    deeper = SPEC.edit_all({"kind": "resnet-34", "width": 4, "stem": "imagenet"})
    with pytest.raises(
        SpecError, match=r"do not fit net resnet-34: layer1\.2\.conv1\.weight is missing there.*such differences"
    ):
        load_weights(deeper.build(SHAPE, 5), deeper, str(published), outputs=5)


def test_old_names_of_densenet(tmp_path: Path) -> None:
    spec = DenseNet(kind="densenet-121", width=8, growth=4, depths=(1, 1))
    net = spec.build(SHAPE, 5)
    path = tmp_path / "old.safetensors"
    old = {
        name.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): value
        for name, value in net.state_dict().items()
    }
    assert set(old) != set(net.state_dict())
    save_file(old, path)
    assert load_weights(spec.build(SHAPE, 5), spec, str(path), outputs=5).new == ()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "absent.safetensors",
            r"there is no file absent\.safetensors with weights; give a \.safetensors file, torchvision, or",
        ),
        ("timm", r'net\.weights = "timm" is for net timm; for net resnet-18 give another source'),
    ],
)
def test_sources_that_are_none(source: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_weights(SPEC.build(SHAPE, 5), SPEC, source, outputs=5)


def test_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(b"\0" * 100)
    with pytest.raises(DataError, match=r"damaged\.safetensors is no readable file of weights: "):
        load_weights(SPEC.build(SHAPE, 5), SPEC, str(path), outputs=5)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A real HTTP server over a folder."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/", folder
        running.shutdown()
        thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def test_download_with_checksum(server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address, folder = server
    spec = SPEC.edit("stem", "imagenet")
    net = spec.build(SHAPE, 1000)
    torch.save(net.state_dict(), folder / "file.pth")
    digest = hashlib.sha256((folder / "file.pth").read_bytes()).hexdigest()
    good, bad = f"thin-{digest[:8]}.pth", "thin-00000000.pth"
    for name in (good, bad):
        (folder / name).write_bytes((folder / "file.pth").read_bytes())
    monkeypatch.setattr(weights, "SERVER", address)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(weights, "FILES", {"resnet-18": good})
    twin = spec.build(SHAPE, 1000)
    load_weights(twin, spec, "torchvision", outputs=1000)
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), twin.state_dict().values(), strict=True))
    for name, reason in ((bad, "invalid hash value"), ("thin-11111111.pth", "HTTP Error 404")):
        monkeypatch.setattr(weights, "FILES", {"resnet-18": name})
        with pytest.raises(DataError, match=rf"cannot download http.*{name}: .*{reason}.*give its path as net.weights"):
            load_weights(twin, spec, "torchvision", outputs=1000)


def test_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(weights, "SERVER", "http://127.0.0.1:1/")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(DataError, match=r"cannot download .*Connection refused.*; try again with a connection, or"):
        load_weights(SPEC.build(SHAPE, 5), SPEC, "torchvision", outputs=5)


def test_torchvision_has_no_weights_of_a_plain_net() -> None:
    spec = ResNet(kind="plain-20")
    with pytest.raises(SpecError, match=r"torchvision publishes no weights of net plain-20.* It does of alexnet, "):
        load_weights(spec.build((3, 32, 32), 5), spec, "torchvision", outputs=5)


def test_files_are_of_kinds_that_there_are() -> None:
    from markone.nets import NETS

    assert set(weights.FILES) <= {kind for spec in NETS for kind in spec.variants}


def test_statistics() -> None:
    """Of ImageNet, but for the two nets whose weights came from another library."""
    assert statistics_of("resnet-50")[0] == (0.485, 0.456, 0.406)
    assert statistics_of("googlenet") == statistics_of("inception-v3") == ((0.5,) * 3, (0.5,) * 3)
