"""Checks of the loop itself, from the events of a watched training: what is not done, done twice, or in the wrong order. Exact.

Each speaks of one slug; the numbers they need are in thresholds.py.
"""

from collections.abc import Iterator

from markone.diagnosis import thresholds as limit
from markone.diagnosis.evidence import log_ratio
from markone.diagnosis.finding import Finding, Severity
from markone.diagnosis.seen import listed, mostly, often, proven, seen
from markone.diagnosis.wording import share, times
from markone.training.run import Run


def zero_grad_missing(run: Run) -> Iterator[Finding]:
    """Gradients that a step has used are added to those of the next."""
    for one in mostly(run, "zero-grad-missing"):
        yield proven(
            one,
            Severity.SEVERE,
            f"The gradients of earlier steps are never cleared: at {often(one)} the backward pass added to"
            f" gradients that {one.subject} had"
            " already used. Call optimizer.zero_grad() before every backward pass.",
            where=one.subject,
        )


def accumulation_not_divided(run: Run) -> Iterator[Finding]:
    """Gradients of several batches are added up and not averaged."""
    for one in mostly(run, "accumulation-not-divided"):
        passes, adaptive = one.details["passes"], one.details["adaptive"]
        effect = "Adam and its like hardly notice" if adaptive else f"the steps are {passes} times longer"
        yield proven(
            one,
            Severity.NOTE if adaptive else Severity.WARNING,
            f"The gradients of {passes} batches are added up before each step, and the loss is not divided by"
            f" {passes}: {effect}. Write"
            f" (loss / {passes}).backward().",
            where=one.subject,
            measured=one.details["weight"],
            reference=1.0,
        )


def optimizer_missing_parameters(run: Run) -> Iterator[Finding]:
    """Parameters get gradients and no optimizer changes them."""
    for one in seen(run, "optimizer-missing-parameters"):
        names = one.details["names"]
        yield proven(
            one,
            Severity.WARNING,
            f"{listed(names)} get a gradient in every step and no optimizer holds them: they stay as they were"
            " initialized. Give the optimizer"
            " all parameters, or freeze these with requires_grad_(False).",
            where=str(names[0]),
            measured=float(len(names)),
        )


def optimizer_stale_parameters(run: Run) -> Iterator[Finding]:
    """The optimizer holds layers that have been replaced since it was made."""
    for one in seen(run, "optimizer-stale-parameters"):
        names, stale = one.details["names"], len(one.details["shapes"])
        yield proven(
            one,
            Severity.SEVERE,
            f"{one.subject} holds {stale} parameters that no net has any more, and not {listed(names)}, which"
            " took their place: layers were"
            " replaced after it was made. Make the optimizer last.",
            where=str(names[0]),
            measured=float(stale),
        )


def frozen_parameters_trained_for_nothing(run: Run) -> Iterator[Finding]:
    """The optimizer was given parameters that are frozen."""
    for one in seen(run, "frozen-parameters-trained-for-nothing"):
        names, total = one.details["names"], one.details["total"]
        every = len(names) == total
        yield proven(
            one,
            Severity.SEVERE if every else Severity.NOTE,
            f"{'All' if every else len(names)} of the {total} parameters that {one.subject} holds are frozen"
            " (requires_grad is False), such as"
            f" {names[0]}: it never changes them.",
            where=str(names[0]),
            measured=len(names) / total,
        )


def unregistered_parameters(run: Run) -> Iterator[Finding]:
    """Layers in a plain list or dict, where parameters() does not find them."""
    for one in seen(run, "unregistered-parameters"):
        path = one.details["path"]
        yield proven(
            one,
            Severity.SEVERE,
            f"{path} stands in a plain list or dict: net.parameters(), the optimizer and the state dict do not"
            " know it, and it is never trained,"
            " though the loss reaches it. Use nn.ModuleList or nn.ModuleDict.",
            where=str(path),
            measured=1.0,
        )


def graph_detached(run: Run) -> Iterator[Finding]:
    """The way back from the loss to the parameters is cut."""
    for one in seen(run, "graph-detached"):
        names = one.details.get("names", [])
        what = listed(names) if names and one.details.get("given") else "any parameter"
        how = (
            "backward() raised: the loss has no graph"
            if one.details.get("raised")
            else f"no gradient comes back to {what}"
        )
        yield proven(
            one,
            Severity.SEVERE,
            f"The loss is cut off from the net: {how}. Look for detach(), .data, .item(), numpy(),"
            " torch.no_grad() or a tensor made anew between"
            " the net and the loss.",
            where=str(names[0]) if names else None,
            measured=1.0,
        )


def no_gradient(run: Run) -> Iterator[Finding]:
    """Parameters that the optimizer holds never get a gradient, or one that is exactly zero."""
    for one in seen(run, "no-gradient"):
        facts = one.details
        if facts.get("raised"):
            yield proven(
                one,
                Severity.SEVERE,
                "backward() raised: nothing that the loss depends on requires a gradient, as all parameters are"
                " frozen.",
                measured=1.0,
            )
            continue
        names, none_at_all = facts["names"], not facts["given"]
        because = f" by {listed(facts['because'])}, whose slope is zero" if facts["because"] else ""
        what = f"have a gradient of exactly zero at every step{because}" if facts["zero"] else "never get a gradient"
        advice = "" if facts["zero"] else " They are not used, or nothing of what they give reaches the loss."
        yield proven(
            one,
            Severity.SEVERE if none_at_all else Severity.WARNING,
            f"{listed(names)} {what}: {one.subject} does not train them.{advice}",
            where=str(names[0]),
            measured=len(names) / facts["total"],
        )


def eval_mode_missing(run: Run) -> Iterator[Finding]:
    """The net is evaluated in training mode."""
    for one in seen(run, "eval-mode-missing"):
        yield proven(
            one,
            Severity.WARNING,
            f"{one.subject} has dropout or batch normalization and was evaluated in training mode ({one.hits} of"
            f" {one.of} passes without a"
            " graph): units are dropped, batches set the statistics, and the figure is not that of the net. Call"
            " model.eval() before.",
            where=one.subject,
        )


def stuck_in_eval_mode(run: Run) -> Iterator[Finding]:
    """The net is trained in evaluation mode."""
    for one in mostly(run, "stuck-in-eval-mode"):
        yield proven(
            one,
            Severity.WARNING,
            f"{one.subject} is trained in evaluation mode ({often(one)}): dropout does nothing, and batch"
            " normalization uses statistics that"
            " never change. Call model.train() before the loop.",
            where=one.subject,
        )


def train_mode_after_validation_missing(run: Run) -> Iterator[Finding]:
    """After an evaluation the net stays in evaluation mode."""
    for one in seen(run, "train-mode-after-validation-missing"):
        yield proven(
            one,
            Severity.WARNING,
            f"{one.subject} was in training mode at first, and from step {one.first_step} on it is trained in"
            " evaluation mode: model.train() is"
            " missing after the evaluation.",
            where=one.subject,
        )


def step_without_backward(run: Run) -> Iterator[Finding]:
    """The optimizer steps and there is no gradient to step along."""
    for one in mostly(run, "step-without-backward"):
        why = (
            "the gradients are cleared between the backward pass and the step"
            if one.details.get("cleared")
            else "there was no backward pass since the step before"
        )
        yield proven(
            one, Severity.SEVERE, f"{one.subject} steps without a gradient: {why} ({often(one)}).", where=one.subject
        )


def backward_without_step(run: Run) -> Iterator[Finding]:
    """Gradients are computed and nobody uses them."""
    for one in seen(run, "backward-without-step"):
        passes = one.details["passes"]
        yield proven(
            one,
            Severity.SEVERE,
            f"{passes} backward passes and not one step of {one.subject}: the weights are still those of the"
            " beginning. Call"
            " optimizer.step(), with its brackets.",
            where=one.subject,
            measured=float(passes),
        )


def scheduler_collapsed(run: Run) -> Iterator[Finding]:
    """The schedule has taken the learning rate away long before the end."""
    for one in seen(run, "scheduler-collapsed"):
        largest, now = one.details["largest"], one.details["now"]
        yield proven(
            one,
            Severity.SEVERE,
            f"The learning rate fell from {largest:.3g} under a thousandth of it by step {one.first_step} and is"
            f" {now:.3g}: {one.hits} of"
            f" {one.of} steps changed next to nothing. A schedule that counts epochs is most likely stepped with"
            " every batch.",
            where=one.subject,
            measured=now / largest,
            reference=float(limit.COLLAPSED),
        )


def scheduler_before_optimizer(run: Run) -> Iterator[Finding]:
    """The schedule steps before the optimizer has."""
    for one in seen(run, "scheduler-before-optimizer"):
        yield proven(
            one,
            Severity.NOTE,
            f"scheduler.step() was called before the first step of {one.subject}: the first value of the schedule"
            " is skipped. Call it after"
            " optimizer.step().",
            where=one.subject,
        )


def clip_too_small(run: Run) -> Iterator[Finding]:
    """Clipping decides the length of nearly every step."""
    for one in mostly(run, "clip-too-small", least=limit.MOSTLY):
        factor, adaptive = float(one.details["factor"]), one.details["adaptive"]
        if factor < limit.CLIPPED:
            continue
        effect = "Adam and its like undo the scale" if adaptive else "the steps are that much shorter"
        yield proven(
            one,
            Severity.NOTE if adaptive else Severity.WARNING,
            f"Clipping makes the gradient {times(factor)} times smaller in the median, at {share(one.share)} of"
            f" the steps: {effect}, and all"
            " of one length. Raise max_norm to what the gradient's norm usually is.",
            where=one.subject,
            measured=factor,
            reference=float(limit.CLIPPED),
        )


def unscaled_clip(run: Run) -> Iterator[Finding]:
    """Gradients are clipped while a gradient scaler still multiplies them."""
    for one in mostly(run, "unscaled-clip"):
        yield proven(
            one,
            Severity.SEVERE,
            f"Gradients are clipped to {one.details['most']:g} while GradScaler still multiplies them, and"
            " divided by its scale after: they end"
            " tens of thousands of times too small. Call scaler.unscale_(optimizer) before clipping.",
            where=one.subject,
        )


def skipped_steps(run: Run) -> Iterator[Finding]:
    """A gradient scaler leaves out steps, because gradients overflow."""
    for one in mostly(run, "skipped-steps"):
        if one.of < limit.LEAST_SAMPLES:
            continue
        yield proven(
            one,
            Severity.WARNING,
            f"GradScaler skipped {one.hits} of {one.of} steps: gradients overflow in half precision again and"
            " again, which lowering the scale"
            " does not mend. Look for a loss or an activation that is far too large, or use bfloat16.",
            where=one.subject,
        )


def validation_never_ran(run: Run) -> Iterator[Finding]:
    """Nobody has looked at data that was not trained on."""
    if run.status not in ("finished", "interrupted"):
        return
    for one in seen(run, "validation-never-ran"):
        yield proven(
            one,
            Severity.NOTE,
            f"The net was not evaluated once in {one.details['steps']:,} steps: whether it learned or remembered"
            " cannot be told.",
            measured=0.0,
            reference=1.0,
        )


def validation_in_training(run: Run) -> Iterator[Finding]:
    """The samples that judge the net have been trained on."""
    for one in seen(run, "validation-in-training"):
        yield proven(
            one,
            Severity.NOTE if one.share < limit.EQUAL_ROWS else Severity.WARNING,
            f"{one.hits:,} of {one.of:,} different samples that {one.subject} was evaluated on were seen in"
            " training too: its figure is no estimate"
            " for new data. Split before training, and evaluate on the part that is left out.",
            where=one.subject,
        )


def order_not_shuffled(run: Run) -> Iterator[Finding]:
    """Samples come class after class, or in one order for ever."""
    found = {one.details["sorted"]: one for one in seen(run, "order-not-shuffled")}
    if one := found.get(True):
        yield proven(
            one,
            Severity.WARNING,
            f"The training data comes sorted by its labels ({one.hits} of {one.of} batches that were looked at"
            " ascend or hold one class): every"
            " batch pulls the net to its own class. Shuffle, with shuffle=True or torch.randperm.",
        )
    elif one := found.get(False):
        yield proven(
            one,
            Severity.NOTE,
            f"The {one.details['period']} batches of an epoch come in the same order with the same samples every"
            " time: shuffle anew for every"
            " epoch.",
        )


def memory_growth(run: Run) -> Iterator[Finding]:
    """Graphs of past steps are kept."""
    for one in mostly(run, "memory-growth", least=limit.UPHILL):
        if one.hits < limit.LEAST_KEPT and not one.details.get("raised"):
            continue
        if one.subject == "held":
            message = (
                f"The graphs of past losses are kept alive ({one.details['graphs']} of them at step"
                f" {one.first_step}), and memory grows with every"
                " step: something adds up or lists the loss itself. Use loss.item() or loss.detach()."
            )
        elif one.details.get("raised"):
            message = (
                "The backward pass went into the graph of an earlier step: a hidden state or a loss is carried over."
                " Call detach() on it."
            )
        else:
            message = (
                f"The graph of step {one.first_step} reaches {one.details['nodes']} nodes of earlier steps:"
                " something that depends on the weights"
                " is carried over, and every backward pass is longer than the last. Call detach() on it."
            )
        yield proven(one, Severity.WARNING, message, measured=float(one.hits))
        return


def dropout_always_on(run: Run) -> Iterator[Finding]:
    """Dropout goes on in evaluation mode."""
    for one in seen(run, "dropout-always-on"):
        yield proven(
            one,
            Severity.WARNING,
            f"{one.subject} drops units in evaluation mode, too: its predictions change from call to call. Write"
            " F.dropout(x, p, training=self.training), or use nn.Dropout.",
            where=one.subject,
        )


def batch_norm_tiny_batch(run: Run) -> Iterator[Finding]:
    """Batch normalization takes its statistics of next to nothing."""
    for one in mostly(run, "batch-norm-tiny-batch"):
        rows, values = one.details["rows"], one.details["values"]
        yield proven(
            one,
            Severity.WARNING,
            f"Batch normalization {one.subject or ''} normalizes {rows} sample{'s' if rows != 1 else ''} at a"
            f" time ({values} values per channel):"
            " its statistics are chance, and not those it uses in evaluation. Use larger batches, or group"
            " normalization.",
            where=one.subject,
            measured=float(rows),
            reference=float(limit.TINY_BATCH),
        )


def cross_talk(run: Run) -> Iterator[Finding]:
    """The output for one sample depends on the others of its batch."""
    for one in seen(run, "cross-talk"):
        influence = float(one.details["influence"])
        if log_ratio(influence, limit.CROSS_TALK) <= 0:
            continue
        yield proven(
            one,
            Severity.WARNING,
            f"The output of {one.subject} for one sample depends on the other samples of its batch, by"
            f" {share(influence)} of how it depends on its"
            " own: a view or reshape mixes axes, batch_first is missing, or something runs over the batch axis.",
            where=one.subject,
            measured=influence,
            reference=float(limit.CROSS_TALK),
        )


CHECKS = (
    zero_grad_missing,
    accumulation_not_divided,
    optimizer_missing_parameters,
    optimizer_stale_parameters,
    frozen_parameters_trained_for_nothing,
    unregistered_parameters,
    graph_detached,
    no_gradient,
    eval_mode_missing,
    stuck_in_eval_mode,
    train_mode_after_validation_missing,
    step_without_backward,
    backward_without_step,
    scheduler_collapsed,
    scheduler_before_optimizer,
    clip_too_small,
    unscaled_clip,
    skipped_steps,
    validation_never_ran,
    validation_in_training,
    order_not_shuffled,
    memory_growth,
    dropout_always_on,
    batch_norm_tiny_batch,
    cross_talk,
)
