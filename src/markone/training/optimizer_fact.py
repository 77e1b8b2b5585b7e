"""The fact ``optimizer``: what the steps of a training are made by, as plain numbers."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from markone.recipe import Recipe

MOST_GROUPS = 16
NUMBERS = ("momentum", "eps", "weight_decay", "dampening", "alpha", "rho")
SQUARES = frozenset({"Adam", "AdamW", "NAdam", "RAdam", "Adamax", "RMSprop", "Adagrad", "Adadelta", "SparseAdam"})


def optimizer_fact(optimizer: "Optimizer", **known: Any) -> dict[str, Any]:
    """Kind and groups of an optimizer, the rate of each as it was given and not as a schedule has made it.

    known: what its user knows besides, such as batch_size, schedule, total_steps; None is left out.
    """
    kind = type(optimizer).__name__
    groups = [_group(one) for one in optimizer.param_groups[:MOST_GROUPS]]
    found = {"kind": kind, "adaptive": not kind.startswith("SGD") and kind != "LBFGS", "groups": groups}
    return {**found, "squares": kind in SQUARES, **{name: value for name, value in known.items() if value is not None}}


def of_recipe(optimizer: "Optimizer", recipe: "Recipe", *, total_steps: int, steps_per_epoch: int) -> dict[str, Any]:
    """That of a recipe, whose regularization decays weights as well; a batch is what makes one step."""
    return optimizer_fact(
        optimizer,
        batch_size=recipe.batch_size * recipe.accumulation,
        schedule=recipe.schedule.kind,
        total_steps=total_steps,
        steps_per_epoch=steps_per_epoch,
        weight_decay=recipe.regularization.weight_decay,
        l2=recipe.regularization.l2,
    )


def _group(group: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"lr": _number(group.get("initial_lr", group["lr"]))}
    found |= {name: _number(group[name]) for name in NUMBERS if isinstance(group.get(name), int | float)}
    if "betas" in group:
        found["betas"] = [_number(one) for one in group["betas"]]
    if group.get("nesterov"):
        found["nesterov"] = True
    found["parameters"] = sum(one.numel() for one in group["params"])
    return found


def _number(value: Any) -> float:
    """A rate may be a tensor."""
    return float(value)
