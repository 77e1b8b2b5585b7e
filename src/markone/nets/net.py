"""NetSpec: the contract of every net, and the checks that all share."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from markone.errors import SpecError
from markone.spec import Spec

if TYPE_CHECKING:
    from torch import nn

IMAGENET, CIFAR = (3, 224, 224), (3, 32, 32)
SMALL_SIDE = 64  # a stem made for 224 pixels leaves a map of 2x2 of such an image; at most this gets the small stem

NormalizationName = Literal["none", "batch", "layer", "group"]


@dataclass(frozen=True)
class Variant:
    """One kind of net: the paper that it is from, what it was made for, and its own defaults of the spec's fields."""

    paper: str
    year: int
    input_shape: tuple[int, ...] = IMAGENET
    outputs: int = 1000
    fields: Mapping[str, Any] = field(default_factory=dict)


class NetSpec(Spec):
    """An architecture; ``build`` gives the module for one shape of input."""

    kind: str
    weights: str | None = Field(
        None,
        description="weights to begin with: a file (.safetensors), torchvision, timm, or a Hugging Face repository as hf:OWNER/NAME",
    )

    variants: ClassVar[Mapping[str, Variant]]
    """Every kind that the spec goes by, in the order in which they are listed."""

    images_only: ClassVar[bool] = True
    """Whether inputs must be (channels, height, width); else rows (columns,) will do as well."""

    gives: ClassVar[Literal["scores", "maps"]] = "scores"
    """Scores (n, outputs) of each input, or maps (n, outputs, height, width) with scores for each of its pixels."""

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_kind(cls, data: Any) -> Any:
        """A kind comes with its own defaults, so that a written recipe has them all."""
        if not isinstance(data, Mapping):
            return data
        variant = cls.variants.get(data.get("kind", cls.model_fields["kind"].default))
        return {**variant.fields, **data} if variant else data

    @abstractmethod
    def make(self, input_shape: tuple[int, ...], outputs: int) -> "nn.Module":
        """The module, for a shape that ``build`` has checked. Raises SpecError that names fields that do not fit."""

    def build(self, input_shape: tuple[int, ...], outputs: int) -> "nn.Module":
        """The net for inputs (n, *input_shape), giving scores (n, outputs), or maps of them.

        ``input_shape`` is (channels, height, width) for images and (columns,) for tables. The weights are torch's
        defaults until an Initialization has drawn them. Raises SpecError that names a shape the net cannot take, the
        layer at which it fails, and the next larger image that works.
        """
        from markone.nets.fit import require_fit

        _require_shape(self, input_shape)
        if outputs < 1:
            raise SpecError("output-count", f"a net needs at least 1 output, and {outputs} were asked for.")
        net = self.make(input_shape, outputs)
        require_fit(self, net, input_shape, outputs)
        return net


def has_small_stem(stem: str | None, input_shape: tuple[int, ...], *, most: int = SMALL_SIDE) -> bool:
    """Whether a net gets the stem for small images: asked for, or left open with at most ``most`` pixels on the shorter side."""
    return stem == "small" or (stem is None and min(input_shape[1:]) <= most)


def _require_shape(spec: NetSpec, shape: tuple[int, ...]) -> None:
    """Raises SpecError unless the shape is one of an image or, where allowed, of a table row."""
    ranks = (3,) if spec.images_only else (1, 3)
    if len(shape) in ranks and all(size >= 1 for size in shape):
        return
    allowed = "(channels, height, width)" if spec.images_only else "(columns,) or (channels, height, width)"
    table = " For a table take mlp or perceptron." if spec.images_only and len(shape) == 1 else ""
    raise SpecError("input-shape", f"net {spec.kind} cannot take inputs of shape {shape}; it takes {allowed}.{table}")
