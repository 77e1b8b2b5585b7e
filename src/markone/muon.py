"""Muon for the matrices of a net and AdamW for the rest, as one torch optimizer."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer


class MuonWithAdamW(Optimizer):
    """One optimizer with three groups: matrices by Muon; the last weights, and all vectors, by AdamW.

    torch's Muon takes matrices only, so it works on flat views of the kernels. The state lives here, in the shapes of
    the parameters, and the two inner optimizers share it.
    """

    def __init__(
        self, parameters: list[nn.Parameter], *, lr: float, momentum: float, weight_decay: float, fused: bool
    ) -> None:
        weights = [parameter for parameter in parameters if parameter.ndim >= 2]
        matrices, head = weights[:-1], weights[-1:]
        vectors = [parameter for parameter in parameters if parameter.ndim < 2]
        groups: list[dict[str, Any]] = [
            {"params": matrices, "muon": True, "weight_decay": weight_decay, "momentum": momentum},
            {"params": head, "muon": False, "weight_decay": weight_decay},
            {"params": vectors, "muon": False, "weight_decay": 0.0},
        ]
        super().__init__([group for group in groups if group["params"]], {"lr": lr})
        self._flat = {parameter: nn.Parameter(_flatten(parameter, parameter.detach())) for parameter in matrices}
        self._muon = Muon(self._flat.values(), lr, adjust_lr_fn="match_rms_adamw") if matrices else None
        self._fused = fused

    @cached_property
    def _adamw(self) -> AdamW | None:
        """Made at the first step, for until then groups may be split by learning rate."""
        rest = [{"params": group["params"], **_options(group)} for group in self.param_groups if not group["muon"]]
        return AdamW(rest, self.defaults["lr"], fused=self._fused) if rest else None

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        adamw_groups = iter(self._adamw.param_groups if self._adamw else ())
        for group in self.param_groups:
            if group["muon"]:
                self._step_matrices(group)
            else:
                next(adamw_groups).update(_options(group))
        if self._adamw:
            self._adamw.state = self.state
            self._adamw.step()
        return loss

    def _step_matrices(self, group: dict[str, Any]) -> None:
        assert self._muon is not None
        self._muon.param_groups[0].update(_options(group))
        for parameter in group["params"]:
            flat = self._flat[parameter]
            flat.data = _flatten(parameter, parameter.detach())
            flat.grad = None if parameter.grad is None else _flatten(parameter, parameter.grad)
            if flat.grad is not None:
                state = self.state[parameter]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(parameter)
                self._muon.state[flat]["momentum_buffer"] = _flatten(parameter, state["momentum_buffer"])
        self._muon.step()
        for parameter in group["params"]:
            self._flat[parameter].grad = None  # so that the step of another group leaves it alone


def _options(group: dict[str, Any]) -> dict[str, Any]:
    """What the inner optimizer of a group needs to know."""
    return {name: value for name, value in group.items() if name not in ("params", "muon", "initial_lr")}


def _flatten(parameter: Tensor, values: Tensor) -> Tensor:
    """``values`` (out, in, *places) as a matrix (out, in x places), a view when laid out in memory like the parameter.

    In channels_last the columns come in another order, which orthogonalization does not see: (W P) (W P)^T = W W^T.
    """
    return (values if parameter.is_contiguous() else values.movedim(1, -1)).flatten(1)
