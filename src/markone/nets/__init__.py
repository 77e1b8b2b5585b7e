"""Nets: architectures as specs; ``build`` gives the torch module.

A new net is a new file beside the others, its class in every.py. The specs load on first use: what only asks after activations, such
as a watched training, does without them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markone.nets.every import (
        FCN,
        MLP,
        NETS,
        VGG,
        AlexNet,
        ConvNet,
        DenseNet,
        EncoderDecoder,
        Inception,
        MarkOne,
        Net,
        NetSpec,
        Perceptron,
        ResNet,
        SqueezeNet,
        Timm,
        UNet,
    )

__all__ = [
    "FCN",
    "MLP",
    "NETS",
    "VGG",
    "AlexNet",
    "ConvNet",
    "DenseNet",
    "EncoderDecoder",
    "Inception",
    "MarkOne",
    "Net",
    "NetSpec",
    "Perceptron",
    "ResNet",
    "SqueezeNet",
    "Timm",
    "UNet",
]


def __getattr__(name: str) -> Any:
    """The public name, from every.py. Raises AttributeError for any other."""
    if name not in __all__:
        raise AttributeError(f"module 'markone.nets' has no attribute {name!r}")
    value = getattr(import_module("markone.nets.every"), name)
    globals()[name] = value
    return value
