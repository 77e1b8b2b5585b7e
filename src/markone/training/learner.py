"""Learner: the net and all that changes it. One call of ``step`` is one optimizer step; nothing here waits for the device."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from markone.data.batches import Batch
from markone.errors import SpecError
from markone.fine_tuning import still
from markone.optimizers import trainable
from markone.seeds import derive, torch_generator
from markone.training.evaluate import autocast
from markone.training.material import Material
from markone.training.monitor import Monitor, Row

if TYPE_CHECKING:
    import torch
    from torch import nn

    from markone.losses import LossFunction
    from markone.nets.blocks import WithAuxiliary
    from markone.nets.weights import Loaded
    from markone.rules import LocalRule

    Scores = torch.Tensor | WithAuxiliary


def build_net(material: Material, *, weights: str | None = None) -> "tuple[nn.Module, Loaded | None]":
    """The net of a recipe for its data, on the device: drawn from the stream "init", or begun with published weights.

    Raises SpecError, or DataError for weights that cannot be had.
    """
    import torch

    recipe = material.recipe
    with torch.random.fork_rng([]):  # torch's layers draw default weights from the process's generator
        try:
            net = recipe.net.build(material.dataset.input_shape, material.outputs)
        except RuntimeError as error:
            if "allocate" not in str(error):
                raise
            raise SpecError(
                "net-too-big", f"net {recipe.net.kind} of this size does not fit into memory; lower its width or depth."
            ) from None
    recipe.initialization.build()(net, torch_generator(recipe.seed, "init"))
    loaded = None
    if weights is not None:
        from markone.nets.weights import load_weights

        loaded = load_weights(net, recipe.net, weights, outputs=material.outputs)
    recipe.fine_tuning.freeze(net)
    if recipe.activation_checkpointing:
        from markone.nets.checkpointing import checkpoint_activations

        checkpoint_activations(net)
    if material.dataset.is_images:
        net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net.to(material.device), loaded


class Learner:
    """Net, loss, optimizer, regularizer, average of the weights and schedule, as one recipe names them.

    ``fresh``: the net begins with the published weights that the recipe names; else a checkpoint will fill it.
    """

    def __init__(self, material: Material, *, fresh: bool = True) -> None:
        import torch
        from torch.nn.modules.dropout import _DropoutNd

        recipe = material.recipe
        self.material, self.seed = material, recipe.seed
        self.net, self.loaded = build_net(material, weights=recipe.net.weights if fresh else None)
        self.loss = _with_auxiliary(recipe.loss.build(label_smoothing=recipe.regularization.label_smoothing or 0.0))
        self.optimizer = recipe.optimizer.build(self.net, lr_factor=recipe.fine_tuning.lr_factor)
        self.rule = recipe.rule.build(
            self.net,
            task=recipe.task.kind,
            optimizer=recipe.optimizer.kind,
            mixup=recipe.augmentation.mixup is not None,
        )
        self.regularizer = recipe.regularization.build(
            self.net, samples=len(material.batches.rows), lr_factor=recipe.fine_tuning.lr_factor
        )
        self.average = recipe.regularization.build_average(self.net)
        self.steps_per_epoch = len(material.batches) // recipe.accumulation
        if self.steps_per_epoch == 0:
            raise SpecError(
                "accumulation-too-long",
                f"accumulation = {recipe.accumulation} is more than the {len(material.batches)} batches of an epoch;"
                " lower accumulation or batch_size.",
            )
        self.total_steps = self.steps_per_epoch * recipe.epochs
        self.pace = recipe.schedule.build(total_steps=self.total_steps, steps_per_epoch=self.steps_per_epoch)
        self._has_dropout = any(isinstance(module, _DropoutNd) for module in self.net.modules())
        self._still = [*still(self.net)]
        self._lr = recipe.optimizer.lr
        self._plain = material.dtype == torch.float32

    @property
    def judged_net(self) -> "nn.Module":
        """The net that is evaluated and kept: the average of the weights where one is taken."""
        return self.average.module if self.average else self.net

    @property
    def sentences(self) -> list[str]:
        """What there is to say of the net before it trains: where its weights are from, and what of it stays still."""
        said = [self.loaded.sentence] if self.loaded else []
        counts = [parameter.numel() for parameter in self.net.parameters()]
        frozen = sum(counts) - sum(parameter.numel() for parameter in trainable(self.net))
        return [*said, f"{frozen:,} of {sum(counts):,} parameters are frozen."] if frozen else said

    def train(self) -> None:
        """Training mode, but for normalization that is frozen with its statistics."""
        self.net.train()
        for module in self._still:
            module.eval()

    @property
    def lr(self) -> float:
        """The learning rate now, where no factor slows it."""
        return self._lr

    def step(self, group: tuple[Batch, ...], step: int, monitor: Monitor | None) -> "tuple[torch.Tensor, list[Row]]":
        """Forward, backward, update with the batches of one group, after ``step`` steps; the loss, and vitals if they were due."""
        sample = monitor.sample() if monitor and monitor.pace.due(step) else None
        self._set_lr(step)
        loss = self.backward(group, step)
        if sample:
            sample.after_backward()
        self.regularizer.add_gradients()
        self.regularizer.clip()
        self.regularizer.decay(self.lr)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average:
            self.average.update_parameters(self.net)
        return loss, sample.finish(step + 1, loss, self._repeat(group, step)) if sample else []

    def backward(self, group: tuple[Batch, ...], step: int) -> "torch.Tensor":
        """The mean loss of the group's batches; its gradient, or what the rule has instead, is added to the parameters'."""
        if self.rule:
            return self._learn(self.rule, group, step)
        if len(group) == 1:
            loss = self.forward(group[0], step)
            loss.backward()
            return loss.detach()
        total = None
        for number, batch in enumerate(group):
            loss = self.forward(batch, step, number) / len(group)
            loss.backward()
            total = loss.detach() if total is None else total + loss.detach()
        assert total is not None
        return total

    def _learn(self, rule: "LocalRule", group: tuple[Batch, ...], step: int) -> "torch.Tensor":
        losses = [
            rule.learn(partial(self.forward, batch, step, number), batch.targets, share=1 / len(group))
            for number, batch in enumerate(group)
        ]
        return sum(losses[1:], start=losses[0])

    def forward(self, batch: Batch, step: int, number: int = 0) -> "torch.Tensor":
        """The loss of one batch. Dropout masks are a function of (seed, step, the batch's number in its group)."""
        if self._has_dropout:
            self._seed_dropout(step, number)
        with nullcontext() if self._plain else autocast(self.material.device, self.material.dtype):
            scores = self.net(batch.inputs)
        if batch.mix is None:
            return self.loss(scores, batch.targets)
        share, partner = batch.mix.share, batch.targets[batch.mix.partner]
        return share * self.loss(scores, batch.targets) + (1 - share) * self.loss(scores, partner)

    def _repeat(self, group: tuple[Batch, ...], step: int) -> "Callable[[], torch.Tensor]":
        return lambda: sum(self.forward(batch, step, n) for n, batch in enumerate(group)) / len(group)  # type: ignore[return-value]

    def _set_lr(self, step: int) -> None:
        factor = self.pace.factor(step)
        self._lr = self.material.recipe.optimizer.lr * factor
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = parameters["initial_lr"] * factor

    def _seed_dropout(self, step: int, number: int) -> None:
        import torch

        seed = derive(self.seed, "dropout", step, number)
        torch.default_generator.manual_seed(seed)
        if self.material.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def state_dict(self) -> dict[str, Any]:
        """Net, optimizer, rule and average, as ``checkpoint.take`` copies them. The pace's few numbers go with the counters."""
        state: dict[str, Any] = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        if self.rule:
            state["rule"] = self.rule.state_dict()
        return {**state, "average": self.average.state_dict()} if self.average else state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.rule:
            self.rule.load_state_dict(state["rule"])
        if self.average:
            self.average.load_state_dict(state["average"])


def _with_auxiliary(loss: "LossFunction") -> "Callable[[Scores, torch.Tensor], torch.Tensor]":
    """The same loss of a net that also has auxiliary scores while it trains: a mean in which theirs have their weight."""
    import torch

    from markone.nets.blocks import WithAuxiliary

    def total(scores: "Scores", targets: "torch.Tensor") -> "torch.Tensor":
        if not isinstance(scores, WithAuxiliary):
            return loss(scores, targets)
        beside = torch.stack([loss(auxiliary, targets) for auxiliary in scores.auxiliary])
        return (loss(scores.scores, targets) + scores.weight * beside.sum()) / (1 + scores.weight * len(beside))

    return total
