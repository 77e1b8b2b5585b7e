"""Novikoff's theorem for a training: whether it holds, and its bound for the weights that were found."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from markone.data.augment import Augmentation
from markone.data.batches import in_order
from markone.data.dataset import Part
from markone.fine_tuning import FineTuning
from markone.nets.initializers import Constant as Constantly
from markone.recipe import Recipe
from markone.regularizers import Regularization
from markone.rules import PerceptronRule, novikoff_bound, target_code
from markone.schedules import Constant
from markone.training.evaluate import EVALUATION_BATCH, evaluation_mode

if TYPE_CHECKING:
    import torch

    from markone.training.learner import Learner


def is_bounded(recipe: Recipe) -> bool:
    """Whether the theorem speaks of this training: the perceptron rule, one fixed sample at a time, at a constant rate, from 0."""
    return (
        recipe.rule == PerceptronRule()
        and recipe.batch_size == recipe.accumulation == 1
        and recipe.initialization == Constantly(value=0.0)
        and recipe.schedule == Constant()
        and recipe.augmentation == Augmentation()
        and recipe.regularization == Regularization()
        and recipe.fine_tuning == FineTuning()
        and recipe.net.weights is None
    )


def bound_of(learner: "Learner") -> float:
    """Novikoff's bound on mistakes for the weights as they are now, from one pass over the training part."""
    import torch

    assert learner.rule is not None
    layer = learner.rule.layer
    W = layer.weight if layer.bias is None else torch.cat((layer.weight, layer.bias.unsqueeze(1)), dim=1)
    return novikoff_bound(_pieces(learner), W.detach())


def _pieces(learner: "Learner") -> "Iterator[tuple[torch.Tensor, torch.Tensor]]":
    """Inputs of the layer that learns, with the 1 of its bias, and the taught outputs: of the whole training part."""
    import torch

    assert learner.rule is not None
    layer, material = learner.rule.layer, learner.material
    seen: list[torch.Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0]))
    rows = material.split.indices(Part.TRAINING)
    try:
        with evaluation_mode(learner.net), torch.no_grad():
            for batch in in_order(material.store, rows, batch_size=EVALUATION_BATCH):
                learner.net(batch.inputs)
                x = seen.pop()
                yield (
                    x if layer.bias is None else torch.cat((x, x.new_ones(len(x), 1)), dim=1),
                    target_code(batch.targets, layer.out_features),
                )
    finally:
        handle.remove()
