"""The modules of a watched training: which of them the script calls, and what their parameters are called."""

import gc
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from markone.training.places import name_of

if TYPE_CHECKING:
    import torch
    from torch import nn

MOST_ROOTS = 32
WHOLE = "net"  # in vitals: all layers together, so that none of them may be called so
WRAPPERS = ("_orig_mod.", "module.", "_forward_module.")  # torch.compile's, DistributedDataParallel's, Fabric's


class Modules:
    """The nets that hold the parameters of a training. ``given`` by the user, or found among all that live."""

    def __init__(self, given: "Iterable[nn.Module] | None" = None) -> None:
        self.given = given is not None
        self.roots: dict[str, nn.Module] = {}
        self._names: dict[int, str] = {}
        self._parameters: dict[int, torch.Tensor] = {}
        for net in given or ():
            self._add(net)
        self.refresh()

    def _add(self, net: "nn.Module") -> None:
        if any(net is known for known in self.roots.values()) or len(self.roots) >= MOST_ROOTS:
            return
        name = name_of(net) or type(net).__name__
        taken = [name, *(f"{name}_{number}" for number in range(2, MOST_ROOTS + 2))]
        self.roots[next(one for one in taken if one not in self.roots)] = net

    def search(self, wanted: "Iterable[torch.Tensor]") -> None:
        """Finds the nets that hold any of these parameters, among all that live in this process and are no part of another one."""
        from torch import nn

        keys = {id(one) for one in wanted}
        alive = [thing for thing in gc.get_objects() if issubclass(type(thing), nn.Module)]
        inner = {id(child) for net in alive for child in net.__dict__.get("_modules", {}).values()}
        inner |= {id(item) for net in alive for _, item in _in_plain_containers(net)}
        for net in alive:
            if id(net) not in inner and any(id(one) in keys for one in net.parameters()):
                self._add(net)
        self.refresh()

    def refresh(self) -> None:
        """Reads the names of all parameters anew: layers may have been replaced, frozen or added."""
        self._names, self._parameters = {}, {}
        single = len(self.roots) == 1
        for root, net in self.roots.items():
            for name, parameter in net.named_parameters():
                plain = bare(name)
                self._names.setdefault(id(parameter), plain if single else f"{root}.{plain}")
                self._parameters[id(parameter)] = parameter

    def knows(self, parameter: "torch.Tensor") -> bool:
        return self._parameters.get(id(parameter)) is parameter

    def name(self, parameter: "torch.Tensor") -> str:
        """Its path in its net; else what the script calls it, or its shape."""
        if self.knows(parameter):
            return self._names[id(parameter)]
        return name_of(parameter) or f"a tensor of shape {tuple(parameter.shape)}"

    def parameters(self) -> "Iterator[tuple[str, torch.Tensor]]":
        for key, parameter in self._parameters.items():
            yield self._names[key], parameter

    def layers(self) -> "Iterator[tuple[str, nn.Module]]":
        """Every module of every net with its path."""
        single = len(self.roots) == 1
        for root, net in self.roots.items():
            for name, module in _walk(net):
                plain = bare(name)
                path = plain if single else f"{root}.{plain}".rstrip(".")
                yield path if path not in ("", WHOLE) else root if root != WHOLE else type(net).__name__, module

    def root_of(self, parameter: "torch.Tensor") -> "tuple[str, nn.Module] | None":
        for root, net in self.roots.items():
            if any(parameter is one for one in net.parameters()):
                return root, net
        return None

    def hidden(self, parameter: "torch.Tensor") -> str | None:
        """The path of a parameter whose layer stands in a plain list, tuple or dict of a net, where no net finds it."""
        for path, module in self.layers():
            for place, item in _in_plain_containers(module):
                if any(parameter is one for one in _parameters_in(item)):
                    return f"{path}.{place}" if path not in self.roots else place
        return None


def bare(name: str) -> str:
    """A parameter's or a module's path without what wrappers put in front of it."""
    name = name.rpartition("_torch_params.")[2]  # Keras keeps all parameters of a net there, by their paths
    for wrapper in WRAPPERS:
        name = name.removeprefix(wrapper)
        if name == wrapper.rstrip("."):
            return ""
    return name


def is_compiled(net: "nn.Module") -> bool:
    """Whether torch.compile has taken it, so that hooks inside it would change what is compiled."""
    return type(net).__name__ == "OptimizedModule" or getattr(net, "_compiled_call_impl", None) is not None


def switches(net: "nn.Module") -> "Iterator[tuple[str, nn.Module]]":
    """The modules that do in training what they do not do in evaluation: dropout, and batch normalization."""
    from torch import nn
    from torch.nn.modules.batchnorm import _BatchNorm
    from torch.nn.modules.dropout import _DropoutNd

    for name, module in net.named_modules():
        if (
            (isinstance(module, _DropoutNd) and module.p > 0)
            or (isinstance(module, _BatchNorm) and module.track_running_stats)
            or (isinstance(module, nn.RNNBase) and module.dropout > 0)
        ):
            yield bare(name), module


def own_parameters(module: "nn.Module") -> "Iterator[torch.Tensor]":
    """The parameters that a module has itself, and none of its parts."""
    keras = vars(module).get("_trainable_variables")
    yield from module.parameters(recurse=False) if keras is None else (one.value for one in keras)


def _walk(net: "nn.Module") -> "Iterator[tuple[str, nn.Module]]":
    """All modules of a net with their paths; those of Keras hold their layers where torch does not look for them."""
    flat = getattr(net, "_flatten_layers", None)
    if flat is None:
        yield from net.named_modules()
    else:
        yield from (("" if layer is net else layer.name, layer) for layer in flat())


def _in_plain_containers(module: "nn.Module") -> "Iterator[tuple[str, Any]]":
    """What a module holds in its lists, tuples and dicts, where torch does not look, each with its place such as ``blocks[0]``."""
    for attribute, value in list(vars(module).items()):
        if not attribute.startswith("_") and isinstance(value, list | tuple | dict):
            items = list(value.items()) if isinstance(value, dict) else enumerate(value)
            yield from ((f"{attribute}[{key!r}]", item) for key, item in items)


def _parameters_in(item: Any) -> "Iterable[torch.Tensor]":
    from torch import nn

    if isinstance(item, nn.Module):
        return item.parameters()
    return (item,) if isinstance(item, nn.Parameter) else ()
