"""Any net of timm, where that library is installed."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from markone.errors import InputError, SpecError, did_you_mean
from markone.nets.net import NetSpec, Variant

if TYPE_CHECKING:
    from torch import nn


class Timm(NetSpec):
    """A net of timm by its name there, for images (n, channels, height, width) -> (n, outputs).

    ``net.weights = "timm"`` begins with the weights that timm has for it. timm is an extra: pip install 'markone[timm]'.
    """

    kind: Literal["timm"] = "timm"
    name: str = Field("resnet18", description="timm's name of the net, such as convnext_tiny.fb_in1k")
    dropout: float = Field(
        0.0, ge=0.0, lt=1.0, description="fraction of features before the head set to zero while training"
    )

    variants: ClassVar = {"timm": Variant("Wightman, PyTorch image models", 2019)}

    def make(self, input_shape: tuple[int, ...], outputs: int) -> "nn.Module":
        timm = load_timm()
        if not timm.is_model(self.name):
            near = did_you_mean(self.name, timm.list_models())
            raise SpecError("timm-unknown", f"timm has no net {self.name!r}.{near} List them with: timm.list_models().")
        net: nn.Module = timm.create_model(
            self.name, num_classes=outputs, in_chans=input_shape[0], drop_rate=self.dropout
        )
        return net


def load_timm() -> Any:
    """The library. Raises InputError where it is not installed or does not work."""
    try:
        import timm
    except ImportError:
        raise InputError(
            "extra-missing", "net timm needs timm; install it with: pip install 'markone[timm]'."
        ) from None
    except RuntimeError as error:  # torchvision, which it needs, was built for another torch
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(
            "extra-broken",
            f"timm is installed but cannot be loaded: {reason}; install a torchvision that fits this torch.",
        ) from None
    return timm
