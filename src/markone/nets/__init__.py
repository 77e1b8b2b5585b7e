"""Nets: architectures as specs; ``build`` gives the torch module.

A new net is a new file beside the others, its class in NETS and in the union Net.
"""

from typing import Annotated

from markone.nets.convnet import ConvNet
from markone.nets.mlp import MLP
from markone.nets.net import NetSpec
from markone.nets.perceptron import Perceptron
from markone.nets.resnet import ResNet
from markone.spec import KIND

NETS: tuple[type[NetSpec], ...] = (Perceptron, MLP, ConvNet, ResNet)
Net = Annotated[Perceptron | MLP | ConvNet | ResNet, KIND]

__all__ = ["MLP", "NETS", "ConvNet", "Net", "NetSpec", "Perceptron", "ResNet"]
