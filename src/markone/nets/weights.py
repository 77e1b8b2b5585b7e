"""Published weights: read from a file, torchvision's server or the Hugging Face hub, and put into a net."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markone.data.normalize import Fixed
from markone.errors import DataError, InputError, SpecError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor, nn

    from markone.nets.net import NetSpec

Tensors = Mapping[str, "Tensor"]

SERVER = "https://download.pytorch.org/models/"

FILES: Mapping[str, str] = {
    "alexnet": "alexnet-owt-7be5be79.pth",
    "vgg-11": "vgg11-8a719046.pth",
    "vgg-13": "vgg13-19584684.pth",
    "vgg-16": "vgg16-397923af.pth",
    "vgg-19": "vgg19-dcbb9e9d.pth",
    "vgg-11-bn": "vgg11_bn-6002323d.pth",
    "vgg-13-bn": "vgg13_bn-abd245e5.pth",
    "vgg-16-bn": "vgg16_bn-6c64b313.pth",
    "vgg-19-bn": "vgg19_bn-c79401a0.pth",
    "googlenet": "googlenet-1378be20.pth",
    "inception-v3": "inception_v3_google-0cc3c7bd.pth",
    "resnet-18": "resnet18-f37072fd.pth",
    "resnet-34": "resnet34-b627a593.pth",
    "resnet-50": "resnet50-11ad3fa6.pth",
    "resnet-101": "resnet101-cd907fc2.pth",
    "resnet-152": "resnet152-f82ba261.pth",
    "resnext-50-32x4d": "resnext50_32x4d-1a0047aa.pth",
    "resnext-101-32x8d": "resnext101_32x8d-110c445d.pth",
    "wide-resnet-50-2": "wide_resnet50_2-9ba9bcbe.pth",
    "wide-resnet-101-2": "wide_resnet101_2-d733dc28.pth",
    "densenet-121": "densenet121-a639ec97.pth",
    "densenet-161": "densenet161-8d451a50.pth",
    "densenet-169": "densenet169-b2777c0a.pth",
    "densenet-201": "densenet201-c1103571.pth",
    "squeezenet-1.0": "squeezenet1_0-b66bff10.pth",
    "squeezenet-1.1": "squeezenet1_1-b8a52dc0.pth",
}
"""torchvision's files by our kinds; the digits before the ending begin the file's SHA-256, which is checked."""


@dataclass(frozen=True)
class Loaded:
    """What came of it: the layers that begin anew because they have another number of outputs here."""

    source: str
    sha256: str
    tensors: int
    new: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "new": list(self.new)}

    @property
    def sentence(self) -> str:
        anew = f"; {', '.join(self.new)} begins anew, for another number of classes" if self.new else ""
        return f"The net begins with the weights {self.source}{anew}."


def load_weights(net: "nn.Module", spec: "NetSpec", source: str, *, outputs: int) -> Loaded:
    """Puts published weights into a net that was built from the spec.

    A layer that differs in its number of outputs alone, and has as many as the net has here, is the head of another
    number of classes: it keeps the weights that it has. A first convolution for grey pictures gets the sum over the
    colours. Auxiliary heads that the net does not have are left out. Raises SpecError where anything else differs, DataError
    where the file cannot be had.
    """
    import torch

    found = _read(source, spec)
    wanted = net.state_dict()
    taken, new, wrong = dict[str, torch.Tensor](), list[str](), list[str]()
    for name, own in wanted.items():
        given = found.get(name)
        if given is not None and given.shape == own.shape:
            taken[name] = given
        elif given is not None and _is_grey_of(own, given):
            taken[name] = given.sum(1, keepdim=True)
        elif given is not None and own.ndim and given.shape[1:] == own.shape[1:] and len(own) == outputs:
            new.append(name)
        elif not name.endswith("num_batches_tracked"):
            wrong.append(f"{name} is {_size(given)} there and {_size(own)} in the net")
    wrong += [
        f"{name} is not in the net" for name in found if name not in wanted and not name.lower().startswith("aux")
    ]
    if wrong or not taken:
        more = f" ({len(wrong):,} such differences)" if len(wrong) > 1 else ""
        stem = ', such as net.stem = "imagenet"' if getattr(spec, "stem", "imagenet") != "imagenet" else ""
        raise SpecError(
            "weights-differ",
            f"the weights {source} do not fit net {spec.kind}: {wrong[0] if wrong else 'they are empty'}{more}; take the kind"
            f" and the fields that they are of{stem}.",
        )
    net.load_state_dict(taken, strict=False)
    return Loaded(source, _digest(found), len(taken), tuple(dict.fromkeys(name.rpartition(".")[0] for name in new)))


def statistics_of(kind: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the channels, in shares of white, that a published net was trained with."""
    if kind in ("googlenet", "inception-v3"):
        return (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    imagenet = Fixed()
    return imagenet.mean, imagenet.std


def _read(source: str, spec: "NetSpec") -> Tensors:
    if source == "torchvision":
        return _from_torchvision(spec.kind)
    if source == "timm":
        return _from_timm(spec)
    if source.startswith("hf:"):
        return _from_hub(source.removeprefix("hf:"))
    return _from_file(Path(source))


def _from_file(path: Path) -> Tensors:
    import pickle

    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise DataError(
            "weights-absent",
            f"there is no file {path} with weights; give a .safetensors file, torchvision, or hf:OWNER/NAME.",
        )
    try:
        found = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else "it is empty"
        raise DataError("weights-unreadable", f"{path} is no readable file of weights: {reason}.") from None
    return _renamed(found)


def _from_torchvision(kind: str) -> Tensors:
    from urllib.error import URLError

    from torch import hub

    if kind not in FILES:
        near = did_you_mean(kind, FILES)
        raise SpecError(
            "weights-unpublished",
            f"torchvision publishes no weights of net {kind}.{near} It does of {', '.join(FILES)}.",
        )
    try:
        found = hub.load_state_dict_from_url(
            SERVER + FILES[kind], map_location="cpu", check_hash=True, weights_only=True
        )
    except (URLError, OSError, RuntimeError) as error:
        raise _unreachable(SERVER + FILES[kind], error) from None
    return _renamed(found)


def _from_hub(repository: str) -> Tensors:
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise InputError(
            "extra-missing",
            f"weights from hf:{repository} need huggingface_hub; install it with: pip install 'markone[hub]'.",
        ) from None
    try:
        path = hf_hub_download(repository, "model.safetensors")
    except (OSError, ValueError) as error:  # its own errors are kinds of these two
        raise _unreachable(f"model.safetensors of {repository}", error) from None
    return _from_file(Path(path))


def _from_timm(spec: "NetSpec") -> Tensors:
    from markone.nets.timm import Timm, load_timm

    if not isinstance(spec, Timm):
        raise SpecError(
            "weights-unpublished", f'net.weights = "timm" is for net timm; for net {spec.kind} give another source.'
        )
    try:
        found: Tensors = load_timm().create_model(spec.name, pretrained=True).state_dict()
    except (OSError, RuntimeError, ValueError) as error:
        raise _unreachable(f"timm's weights of {spec.name}", error) from None
    return found


def _unreachable(what: str, error: Exception) -> DataError:
    reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    return DataError(
        "weights-unreachable",
        f"cannot download {what}: {reason}; try again with a connection, or get the file once and give its path as net.weights.",
    )


def _renamed(found: Tensors) -> Tensors:
    """DenseNet's old files say norm.1 where the net now has norm1."""
    import re

    return {re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", name): value for name, value in found.items()}


def _digest(tensors: Tensors) -> str:
    """SHA-256 of all names and values, whatever the file around them."""
    import hashlib

    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _is_grey_of(own: "Tensor", given: "Tensor") -> bool:
    """Whether a convolution sees one channel where the published one saw three."""
    return own.ndim == 4 and own.shape[1] == 1 and given.shape[1] == 3 and own.shape[::2] == given.shape[::2]


def _size(tensor: "Tensor | None") -> str:
    return "missing" if tensor is None else "x".join(map(str, tensor.shape)) or "a number"
