"""McCulloch-Pitts units: logic with threshold units, from one gate to a net for any truth table.

McCulloch and Pitts, A logical calculus of the ideas immanent in nervous activity, 1943. Values are 0 and 1 in float32,
in which all counts here are exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from markone.errors import SpecError

MOST_INPUTS = 13  # of a whole truth table: its minterms, 2^13 rows x 2^13 units of float32, are 256 MiB


@dataclass(frozen=True)
class Unit:
    """Fires when so many excitatory inputs are active as the threshold says, and no inhibitory one is.

    Inputs are numbered from 0. A unit of threshold 0 fires unless it is inhibited: the paper has a neuron for it that is
    always active.
    """

    threshold: int
    excitatory: tuple[int, ...] = ()
    inhibitory: tuple[int, ...] = ()


class Units(nn.Module):
    """A layer of units: (n, inputs) -> (n, units), of 0 and 1."""

    excitatory: Tensor
    inhibitory: Tensor
    threshold: Tensor

    def __init__(self, inputs: int, units: Sequence[Unit]) -> None:
        super().__init__()
        for unit in units:
            _require_wires(unit, inputs)
        self.register_buffer("excitatory", _wires([unit.excitatory for unit in units], inputs))
        self.register_buffer("inhibitory", _wires([unit.inhibitory for unit in units], inputs))
        self.register_buffer("threshold", torch.tensor([float(unit.threshold) for unit in units]))

    def forward(self, x: Tensor) -> Tensor:
        """Inhibition is absolute: one active inhibitory input silences the unit."""
        excited = x @ self.excitatory.T >= self.threshold
        inhibited = x @ self.inhibitory.T > 0
        return (excited & ~inhibited).to(x.dtype)


def logic_net(inputs: int, *layers: Sequence[Unit]) -> nn.Sequential:
    """Units in layers, each taking what the layer before gives: (n, inputs) -> (n, units of the last)."""
    sizes = [inputs, *(len(layer) for layer in layers)]
    return nn.Sequential(*(Units(size, layer) for size, layer in zip(sizes, layers, strict=False)))


def and_net(inputs: int = 2) -> nn.Sequential:
    """1 where all inputs are 1."""
    return logic_net(inputs, [Unit(inputs, tuple(range(inputs)))])


def or_net(inputs: int = 2) -> nn.Sequential:
    """1 where any input is 1."""
    return logic_net(inputs, [Unit(1, tuple(range(inputs)))])


def not_net() -> nn.Sequential:
    """1 where the one input is 0."""
    return logic_net(1, [Unit(0, inhibitory=(0,))])


def xor_net() -> nn.Sequential:
    """(a and not b) or (b and not a): no single unit computes it (Minsky and Papert, Perceptrons, 1969)."""
    return logic_net(2, [Unit(1, (0,), (1,)), Unit(1, (1,), (0,))], [Unit(1, (0, 1))])


def compile_truth_table(outputs: Sequence[bool | int]) -> nn.Sequential:
    """A two-layer net for a table of 2^n outputs, the rows in the order of ``all_inputs``.

    One hidden unit stands for each row that is 1: its ones excite, its zeros inhibit, and the threshold is the number of
    its ones, so that it fires for that row alone. The output unit is their or. Raises SpecError for any other length.
    """
    inputs = len(outputs).bit_length() - 1
    if len(outputs) != 1 << max(inputs, 0) or inputs < 1:
        raise SpecError(
            "truth-table", f"a truth table has 2, 4, 8, ... outputs, one for each row, and {len(outputs)} are given."
        )
    rows = [row for row, output in enumerate(outputs) if output]
    ones = [tuple(place for place in range(inputs) if row >> (inputs - 1 - place) & 1) for row in rows]
    minterms = [Unit(len(on), on, tuple(set(range(inputs)) - set(on))) for on in ones]
    return logic_net(inputs, minterms, [Unit(1, tuple(range(len(minterms))))])


def all_inputs(inputs: int) -> Tensor:
    """Every row of a truth table, (2^inputs, inputs): row i holds the bits of i, the highest first."""
    if not 1 <= inputs <= MOST_INPUTS:
        raise SpecError(
            "truth-table", f"a truth table of {inputs} inputs is asked for, and 1 to {MOST_INPUTS} are allowed."
        )
    rows = torch.arange(1 << inputs).unsqueeze(1)
    return (rows >> torch.arange(inputs - 1, -1, -1) & 1).float()


def truth_table(net: nn.Module, inputs: int) -> list[int]:
    """What a net with one output gives for every input there is, found in one forward pass."""
    outputs: list[int] = net(all_inputs(inputs))[:, 0].long().tolist()
    return outputs


def _wires(inputs_of_units: Sequence[tuple[int, ...]], inputs: int) -> Tensor:
    """(units, inputs), 1 where there is a wire."""
    wires = torch.zeros(len(inputs_of_units), inputs)
    for unit, places in enumerate(inputs_of_units):
        wires[unit, list(places)] = 1
    return wires


def _require_wires(unit: Unit, inputs: int) -> None:
    wires = [*unit.excitatory, *unit.inhibitory]
    if len(set(wires)) < len(wires) or any(not 0 <= place < inputs for place in wires):
        raise SpecError(
            "unit-wires", f"{unit} does not fit {inputs} inputs: each of 0 to {inputs - 1} may have one wire to it."
        )
