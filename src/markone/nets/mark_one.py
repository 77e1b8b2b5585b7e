"""The modules of the Mark I Perceptron; imported only when one is built."""

import torch
from torch import Tensor, nn

from markone.nets.blocks import Threshold


class Light(nn.Module):
    """Photosensors: 1 where the input is above a level, else 0, on (n, ...) -> (n, sensors)."""

    def __init__(self, level: float) -> None:
        super().__init__()
        self.level = level

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1) > self.level).to(x.dtype)


class Wiring(nn.Module):
    """Fixed wires from sensors drawn at random, with replacement, to units: x -> (sum over the unit's wires of +-x) - its threshold.

    Of the wires to a unit the first half, and the odd one, excite (+1), and the others inhibit (-1). ``wires`` is (units,
    sensors): what the wires between a unit and a sensor come to. ``thresholds`` (units) are drawn evenly from threshold
    - spread to threshold + spread.
    """

    wires: Tensor
    thresholds: Tensor

    def __init__(self, sensors: int, units: int, *, connections: int, threshold: float, spread: float) -> None:
        super().__init__()
        self.connections, self.threshold, self.spread = connections, threshold, spread
        self.register_buffer("wires", torch.zeros(units, sensors))
        self.register_buffer("thresholds", torch.zeros(units))
        self.draw(None)

    def draw(self, generator: torch.Generator | None) -> None:
        """Wires and thresholds anew; None takes the process's generator, as torch's layers do until they are initialized."""
        units, sensors = self.wires.shape
        device = self.wires.device if generator is None else generator.device
        ends = torch.randint(sensors, (units, self.connections), generator=generator, device=device)
        sign = torch.ones(units, self.connections, device=device)
        sign[:, (self.connections + 1) // 2 :] = -1
        wires = torch.zeros(units, sensors, device=device).scatter_add_(1, ends, sign)
        self.wires.copy_(wires)
        side = 2 * torch.rand(units, generator=generator, device=device) - 1
        self.thresholds.copy_(self.threshold + self.spread * side)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.wires) - self.thresholds


class MarkOne(nn.Module):
    """Sensors, wiring, association units that fire or not, and weights without a bias to the response units."""

    def __init__(self, sensors: Light, wiring: Wiring, outputs: int) -> None:
        super().__init__()
        self.sensors, self.wiring = sensors, wiring
        self.association = Threshold()
        self.head = nn.Linear(len(wiring.wires), outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.association(self.wiring(self.sensors(x))))
        return scores
