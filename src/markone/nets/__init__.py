"""Nets: architectures as specs; ``build`` gives the torch module.

A new net is a new file beside the others, its class in NETS and in the union Net.
"""

from typing import TYPE_CHECKING

from markone.nets.convnet import ConvNet
from markone.nets.mlp import MLP
from markone.nets.net import NetSpec
from markone.nets.perceptron import Perceptron
from markone.spec import family

NETS: tuple[type[NetSpec], ...] = (Perceptron, MLP, ConvNet)
if TYPE_CHECKING:
    Net = NetSpec
else:
    Net = family(Perceptron | MLP | ConvNet)

__all__ = ["MLP", "NETS", "ConvNet", "Net", "NetSpec", "Perceptron"]
