"""Activation checkpointing: stages of a net keep what enters a few of their blocks, and compute the rest again for the gradient."""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from markone.errors import SpecError
from markone.nets import dense


class Checkpointed(nn.Sequential):
    """Blocks in segments of about the root of their number, so that for n blocks about 2 sqrt(n) are in memory.

    Chen, Xu, Zhang and Guestrin, Training deep nets with sublinear memory cost, 2016. The gradients are those of the plain
    sequence; running statistics see each batch once.
    """

    def forward(self, x: Tensor) -> Tensor:
        blocks = [*self.children()]
        if not (self.training and torch.is_grad_enabled()):
            return cast(Tensor, nn.Sequential(*blocks)(x))
        length = math.isqrt(len(blocks))
        for start in range(0, len(blocks), length):
            segment = nn.Sequential(*blocks[start : start + length])
            x = checkpoint(segment, x, use_reentrant=False, context_fn=partial(_contexts, segment))
        return x


class CheckpointedDense(dense.Block):
    """A dense block that keeps its maps but computes what each layer makes of them again.

    Pleiss, Chen, Huang, Li, van der Maaten and Weinberger, Memory-efficient implementation of DenseNets, 2017.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and torch.is_grad_enabled()):
            return super().forward(x)
        for layer in self:
            x = torch.cat([x, checkpoint(layer, x, use_reentrant=False, context_fn=partial(_contexts, layer))], 1)
        return x


def checkpoint_activations(net: nn.Module) -> None:
    """Makes every stage, an nn.Sequential of blocks of several layers or a dense block, a checkpointed one, in place.

    Names, parameters and results stay the same. Raises SpecError if the net has no such stage.
    """
    stages = [module for module in net.modules() if type(module) is nn.Sequential and _is_stage(module)]
    dense_blocks = [module for module in net.modules() if type(module) is dense.Block]
    if not stages and not dense_blocks:
        raise SpecError(
            "no-stages",
            "activation_checkpointing is on, but the net has no stage of blocks in a row; it is for deep nets such as resnet-50.",
        )
    for stage in stages:
        stage.__class__ = Checkpointed
    for block in dense_blocks:
        block.__class__ = CheckpointedDense


def _is_stage(module: nn.Sequential) -> bool:
    """Whether it has two blocks or more that hold layers themselves, and is nothing but blocks."""
    blocks = [*module.children()]
    return len(blocks) > 1 and all(len([*block.modules()]) > 2 for block in blocks)


def _contexts(segment: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Around the first pass, and around the one that is computed again."""
    return nullcontext(), _without_statistics(segment)


@contextmanager
def _without_statistics(segment: nn.Module) -> Iterator[None]:
    """Batch normalization as before, by the batch, but the running statistics do not move a second time."""
    norms = [module for module in segment.modules() if isinstance(module, _BatchNorm) and module.training]
    tracking = [module for module in norms if module.track_running_stats]
    kept = [(module.momentum, module.get_buffer("num_batches_tracked").clone()) for module in tracking]
    for module in tracking:
        module.momentum = 0.0  # switching the tracking off would save other tensors than the first pass did
    try:
        yield
    finally:
        for module, (momentum, batches) in zip(tracking, kept, strict=True):
            module.momentum = momentum
            module.get_buffer("num_batches_tracked").copy_(batches)
