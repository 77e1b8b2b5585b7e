"""Every net: its class in NETS and in the union Net."""

from typing import Annotated

from markone.nets.alexnet import AlexNet
from markone.nets.convnet import ConvNet
from markone.nets.densenet import DenseNet
from markone.nets.encoder_decoder import EncoderDecoder
from markone.nets.fcn import FCN
from markone.nets.inception import Inception
from markone.nets.mlp import MLP
from markone.nets.net import NetSpec
from markone.nets.perceptron import MarkOne, Perceptron
from markone.nets.resnet import ResNet
from markone.nets.squeezenet import SqueezeNet
from markone.nets.timm import Timm
from markone.nets.unet import UNet
from markone.nets.vgg import VGG
from markone.spec import KIND

NETS: tuple[type[NetSpec], ...] = (
    Perceptron,
    MarkOne,
    MLP,
    ConvNet,
    AlexNet,
    VGG,
    SqueezeNet,
    Inception,
    ResNet,
    DenseNet,
    EncoderDecoder,
    FCN,
    UNet,
    Timm,
)
Net = Annotated[
    Perceptron
    | MarkOne
    | MLP
    | ConvNet
    | AlexNet
    | VGG
    | SqueezeNet
    | Inception
    | ResNet
    | DenseNet
    | EncoderDecoder
    | FCN
    | UNet
    | Timm,
    KIND,
]

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
