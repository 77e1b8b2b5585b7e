"""The loss of a trained net with its inputs and without them (fact ``zero_input``): whether what it is given matters at all."""

from typing import TYPE_CHECKING

from markone.training import copies, probes

if TYPE_CHECKING:
    import torch

    from markone.training.learner import Learner

ROWS = 64


def zero_input_of(learner: "Learner") -> dict[str, float] | None:
    """Of the first rows of an epoch, unless a rule of its own teaches the net; None where it cannot be said."""
    from markone.nets.blocks import WithAuxiliary

    material = learner.material
    batch = next(material.batches.epoch(0))
    rows = slice(0, ROWS)

    def loss(scores: "torch.Tensor") -> "torch.Tensor":
        return learner.loss(scores, batch.targets[rows])

    def pick(scores: "torch.Tensor | WithAuxiliary") -> "torch.Tensor":
        return scores.scores if isinstance(scores, WithAuxiliary) else scores

    subject = copies.isolate(learner.net, (batch.inputs,), {}, most_rows=ROWS, pick=pick, loss=loss)
    return probes.zero_input(subject) if subject is not None else None
