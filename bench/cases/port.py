"""A case as a plain PyTorch loop under ``markone.watch``, within a budget; its healthy twin; and how well what it trained really is."""

import contextlib
import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import markone
from cases.data import Parts, load_parts, original_rows
from cases.description import Case, Descent, NotPortable
from cases.nets import build_net, is_left_to_loss, narrowed, operations

MOST_STEPS, MOST_STEPS_OF_PICTURES, LEAST_STEPS = 1000, 300, 100
MOST_ROWS, LEAST_ROWS = 3200, 640
SECONDS = 4.0  # of one thread for one training, as the two numbers below foresee it: every machine takes the same steps
OPERATIONS_PER_SECOND, SECONDS_PER_MODULE, SECONDS_PER_STEP = 25e9, 6e-5, 5e-4
DEAR = 0.3e9  # operations of a step over which a port is made smaller
EVALUATIONS = 40  # at most
HASTE = 10  # times the learning rate of momentum on CIFAR-10, where a port takes a hundredth of the steps, and nothing would be learned
CHECKPOINTS = (10, 25, 50, 100, 200, 400, 800)
AUGMENTED = {"[-0.5,0.5]": 0.5, "[-0.1,0.1]": 0.1}  # noise, by the words that say how much

Look = Callable[["Moment"], None]


@dataclass(frozen=True)
class Plan:
    """What of a case is trained: the case as it fits in the budget, rows of its data, steps, and by what its pictures are divided."""

    case: Case
    rows: int
    steps: int
    pool: int = 1
    cut: bool = False  # it ends before the program would
    said: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Moment:
    """The training after a backward pass, before the step that ``step`` counts."""

    step: int
    net: nn.Module
    x: torch.Tensor
    loss: float
    lr: float
    watching: "markone.Watch"
    evaluations: list[tuple[int, float]]


@dataclass(frozen=True)
class Outcome:
    """skill: share of a blind guess's error that is gone, of the last weights in eval mode on sound validation data.

    reported: the same, by step, as the program itself measured it.
    """

    skill: float
    reported: list[tuple[int, float]]
    steps: int
    seconds: float
    cut: bool = False  # the budget ended it, and not the program
    said: tuple[str, ...] = ()


# --- how large ------------------------------------------------------------------------------------------------------------------------


def plan(case: Case) -> Plan:
    """Raises NotPortable."""
    small, pool, factor = case, 1, 1
    if len(case.shape) == 3:
        for pool, factor in ((1, 1), (2, 1), (2, 2), (2, 4)):
            try:
                small = narrowed(
                    replace(case, shape=(case.shape[0] // pool, case.shape[1] // pool, case.shape[2])), factor
                )
                cost = operations(small)
            except NotPortable:  # a window that does not fit on the smaller picture
                small, pool = narrowed(case, factor), 1
                cost = operations(small)
            if cost <= DEAR:
                break
    wanted, steps = steps_wanted(case), _affordable(small, operations(small))
    cut = wanted is None or wanted > steps
    if wanted is not None and not cut:
        steps = max(wanted, LEAST_STEPS)
    rows = min(MOST_ROWS, max(LEAST_ROWS, steps * case.batch_size // 4))  # so that there are some epochs
    said = [*case.assumed]
    if "CIFAR" in case.data and case.descent.kind == "sgd":
        small = replace(small, descent=replace(small.descent, lr=HASTE * small.descent.lr))
        said += [f"{HASTE} times the learning rate, in a hundredth of the steps"]
    said += [f"{steps} steps instead of {wanted}"] if wanted is not None and wanted < steps else []
    said += [f"pictures averaged to 1/{pool} of their side"] if pool > 1 else []
    said += [f"1/{factor} of the filters and hidden units"] if factor > 1 else []
    return Plan(replace(small, shape=case.shape), rows, steps, pool, cut, tuple(said))


def steps_wanted(case: Case) -> int | None:
    """As many as the program takes; None where its description does not say."""
    rows = original_rows(case) or 700
    return None if case.epochs is None else case.epochs * math.ceil(rows / case.batch_size)


def _affordable(case: Case, cost: float) -> int:
    seconds = SECONDS_PER_STEP + SECONDS_PER_MODULE * 2 * len(case.layers) + cost / OPERATIONS_PER_SECOND
    most = MOST_STEPS if len(case.shape) < 3 else MOST_STEPS_OF_PICTURES
    return min(most, max(LEAST_STEPS, round(SECONDS / seconds)))


# --- the twin -------------------------------------------------------------------------------------------------------------------------


def twin_of(case: Case, cases: Mapping[str, Case]) -> Case | None:
    """The healthy counterpart, or the case with its known fix; None where the fix is not said."""
    if case.counterpart is not None:
        return cases.get(case.counterpart)
    fixed = _fixed(case)
    if fixed == case:
        return None
    same = [one for one in cases.values() if one.healthy and _program(one) == _program(fixed)]
    ill = [one for one in cases.values() if not one.healthy and one.counterpart is None]
    alike = [one for one in ill if _program(_fixed(one)) == _program(fixed)] or [case]
    return same[0] if same else replace(fixed, id=f"{alike[0].id}+fix", labels=(), healthy=True)


def _program(case: Case) -> Case:
    """Without what is said about it."""
    return replace(case, id="", labels=(), known_fix="", healthy=True, counterpart=None, assumed=())


def _fixed(case: Case) -> Case:
    """What we take of the known fix, by the families of cases that share one."""
    if case.twists:
        weights = {"weight_decay": 0.0}
        case = replace(case, twists=frozenset(), descent=replace(case.descent, **weights))
    fix = case.known_fix
    if fix.startswith("he init, selu"):
        return _shallow(_hidden(case, init="he_normal"))
    if "hidden activations" in fix or fix.startswith("selu"):
        case = _hidden(case, activation="selu", init="lecun_normal", bias_init="zeros")
        if case.layers[-1].activation == "sigmoid" and case.task == "classes":
            return _last(case, activation="softmax")
    elif "Adam, lower lr, or larger batch" in fix:
        return replace(case, batch_size=32, descent=Descent("adam", 1e-3))
    elif fix.startswith("lower lr / normalization"):
        return replace(case, descent=replace(case.descent, lr=1e-4))
    elif fix.startswith("lower lr (1e-3)"):
        return _shallow(replace(case, descent=replace(case.descent, lr=1e-3)))
    elif fix.startswith(("use the logits cross-entropy", "softmax cross-entropy with logits")):
        return replace(case, loss="categorical cross-entropy")
    elif fix.startswith("he / glorot init"):
        return replace(case, layers=tuple(replace(one, init="he_normal", bias_init="zeros") for one in case.layers))
    elif fix.startswith("lower lr (0.01)"):
        return replace(case, descent=replace(case.descent, lr=0.01))
    elif fix.startswith("mean loss"):
        return replace(case, loss="squared error")
    elif fix.startswith("scale x"):
        return replace(case, preprocessing="per-column min-max")
    elif fix.startswith("sigmoid cross-entropy with logits"):
        layers = tuple(replace(one, init="glorot_uniform") for one in case.layers)  # its labels name the start, too
        return replace(case, loss="cross-entropy of scores", layers=layers)
    elif fix.startswith(("no activation on the logits", "return logits")):
        return _last(case, activation=None)
    elif fix.startswith("softmax output"):
        return _last(case, activation="softmax")
    elif fix.startswith("scale inputs"):
        fixed = replace(case, preprocessing="standardized", descent=replace(case.descent, lr=0.01))
        return _last(fixed, l2=1e-4)
    elif fix.startswith("same shapes"):
        return replace(case, loss="squared error")
    elif fix.startswith("warmup or lr"):
        return replace(case, descent=replace(case.descent, lr=1e-3))
    elif fix.startswith("GroupNorm or larger batch"):
        return replace(case, batch_size=64)
    return case


def _hidden(case: Case, **changes: Any) -> Case:
    inner = tuple(replace(one, **changes) if one.kind in ("dense", "conv2d") else one for one in case.layers[:-1])
    return replace(case, layers=(*inner, case.layers[-1]))


def _last(case: Case, **changes: Any) -> Case:
    return replace(case, layers=(*case.layers[:-1], replace(case.layers[-1], **changes)))


def _shallow(case: Case, most: int = 4) -> Case:
    """With the first few of its dense layers only."""
    kept, dense = [], 0
    for layer in case.layers[:-1]:
        dense += layer.kind == "dense"
        if layer.kind != "dense" or dense < most:
            kept.append(layer)
    return replace(case, layers=(*kept, case.layers[-1]))


# --- loss and optimizer ---------------------------------------------------------------------------------------------------------------


def loss_of(case: Case, scores: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """As the program writes it. scores: what the net gives; y: classes (n,), or numbers and binary labels (n, 1)."""

    def hot() -> torch.Tensor:
        return functional.one_hot(y, scores.shape[1]).float()

    match case.loss:
        case "cross-entropy of scores":
            if "view_instead_of_permute" in case.twists and scores.ndim == 3:
                return functional.cross_entropy(scores.reshape(len(scores), scores.shape[2], scores.shape[1]), y)
            return functional.cross_entropy(scores.transpose(1, 2) if scores.ndim == 3 else scores, y)
        case "categorical cross-entropy":
            if is_left_to_loss(case):
                return functional.cross_entropy(scores, y)
            shares = (scores / scores.sum(1, keepdim=True)).clamp(1e-7, 1 - 1e-7)
            return functional.nll_loss(shares.log(), y)
        case "double softmax":
            return functional.cross_entropy(scores.softmax(1), y)
        case "probability cross-entropy of scores":
            return -(hot() * scores.clamp(1e-32, 1 - 1e-32).log()).sum(1).mean()
        case "sum of means":
            return -(hot() * scores.log_softmax(1)).mean(1).sum()
        case "softmax over the batch":
            return -(hot() * scores.log_softmax(0)).sum(1).mean()
        case "squared error of probabilities":
            return functional.mse_loss(scores.softmax(1), hot())
        case "summed cross-entropy by hand":
            return -(hot() * scores.log()).sum()
        case "binary cross-entropy of scores by hand":
            return -(hot() * scores.log() + (1 - hot()) * (1 - scores).log()).sum(1).mean()
        case "binary cross-entropy of scores":
            return functional.binary_cross_entropy_with_logits(scores, hot() if case.task == "classes" else y)
        case "binary cross-entropy":
            return functional.binary_cross_entropy(scores, y)
        case "cross-entropy of numbers":
            return -(y * scores.clamp(1e-10, 1).log()).sum(1).mean()
        case "spread squared error":
            return ((scores - y[:, 0]) ** 2).mean()
        case "sum of squares":
            return ((scores - y) ** 2).sum()
        case "half squared error":
            return ((scores - y) ** 2).mean() / 2
        case "squared error":
            return functional.mse_loss(scores, y)
    raise NotPortable(f"no port of the loss {case.loss!r}")


def make_optimizer(case: Case, net: nn.Module) -> torch.optim.Optimizer:
    """The penalty on kernels as weight decay: the gradient of l2 |w|^2 is that of a decay of 2 l2."""
    descent = case.descent
    own = net.features if "optimizer_missing_parameters" in case.twists else net
    assert isinstance(own, nn.Module)
    groups = _groups(case, own)
    if "weight_collapse" in case.twists:
        return torch.optim.AdamW(groups, lr=descent.lr, weight_decay=10.0)
    match descent.kind:
        case "adam":
            return torch.optim.Adam(groups, lr=descent.lr, betas=descent.betas, eps=descent.eps)
        case "sgd":
            return torch.optim.SGD(groups, lr=descent.lr, momentum=descent.momentum)
        case "rmsprop":
            return torch.optim.RMSprop(
                groups, lr=descent.lr, alpha=descent.rho, eps=descent.eps, momentum=descent.momentum
            )
    return torch.optim.Adagrad(groups, lr=descent.lr, initial_accumulator_value=0.1, eps=descent.eps)


def _groups(case: Case, net: nn.Module) -> list[dict[str, Any]]:
    l2 = max((layer.l2 for layer in case.layers), default=0.0)
    if l2 == 0:
        return [{"params": list(net.parameters())}]
    kernels = [one for one in net.parameters() if one.ndim > 1]
    others = [one for one in net.parameters() if one.ndim <= 1]
    return [{"params": kernels, "weight_decay": 2 * l2}, {"params": others, "weight_decay": 0.0}]


# --- the loop -------------------------------------------------------------------------------------------------------------------------


def train(made: Plan, *, seed: int, folder: Path, look: Look | None = None) -> Outcome:
    """Trains it once, watched, into a run folder; ``look`` is called at some of the steps."""
    case = made.case
    parts = load_parts(case, rows=made.rows, pool=made.pool, seed=seed)
    torch.manual_seed(seed)
    net = build_net(replace(case, shape=_shape(parts)))
    if "bn_running_stats_not_updated" in case.twists:
        for module in net.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.momentum = 0.0
    optimizer = make_optimizer(case, net)
    if "stale_optimizer_params" in case.twists:
        assert isinstance(net, nn.Sequential)
        net[-1] = copy.deepcopy(net[-1])
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.1) if "lr_schedule_collapsed" in case.twists else None
    reported: list[tuple[int, float]] = []
    per_epoch = math.ceil(len(parts.x) / case.batch_size)
    pause = max(1, math.ceil(made.steps / per_epoch / EVALUATIONS))  # epochs from one evaluation to the next
    step, epoch, began = 0, 0, time.perf_counter()
    with ended_by_nan() as error, markone.watch(net, optimizer, folder=folder) as watching:
        while step < made.steps:
            if epoch == 0 or "train_mode_missing" not in case.twists:
                net.train()
            for x, y in _loader(case, parts):
                if "augmentation_too_strong" in case.twists:
                    x = augmented(x, case.preprocessing)
                optimizer.zero_grad()
                with torch.autocast("cpu", torch.float16, enabled="fp16_gradient_underflow" in case.twists):
                    loss = loss_of(case, net(x), y)
                loss.backward()
                if "gradient_ascent" in case.twists:
                    for parameter in net.parameters():
                        assert parameter.grad is not None
                        parameter.grad.neg_()
                if "gradient_clip_too_small" in case.twists:
                    nn.utils.clip_grad_norm_(net.parameters(), max_norm=1e-4)
                if look is not None and (step % 10 == 0 or step in CHECKPOINTS):
                    rate = optimizer.param_groups[0]["lr"]
                    look(Moment(step, net, x, loss.item(), rate, watching, reported))
                optimizer.step()
                if schedule is not None:
                    schedule.step()
                step += 1
                if step >= made.steps:
                    break
            epoch += 1
            if epoch % pause == 0 or step >= made.steps:
                loss_then, skill_then, metrics = evaluate(case, net, parts)
                watching.validation(loss=loss_then, **metrics)
                reported.append((step, skill_then))
    seconds = time.perf_counter() - began
    net.eval()
    with torch.no_grad():
        scores = torch.cat([net(x) for x in _tensor(case, parts.x_validation).split(256)])
    skill, _ = _skill(replace(case, twists=frozenset()), scores, torch.from_numpy(parts.y_validation))
    said = (*made.said, *([parts.stand_in] if parts.stand_in else []), *error)
    return Outcome(skill, reported, step, seconds, made.cut, said)


@contextlib.contextmanager
def ended_by_nan() -> Iterator[list[str]]:
    """A binary cross-entropy refuses what is no number, which ends the program; it gives the message."""
    said: list[str] = []
    try:
        yield said
    except RuntimeError as error:
        if "between 0 and 1" not in str(error):
            raise
        said.append(f"ended by {error}")


def _shape(parts: Parts) -> tuple[int, ...]:
    """Of one input, channels last."""
    shape = parts.x.shape[1:]
    return (shape[1], shape[2], shape[0]) if len(shape) == 3 else shape


def _loader(case: Case, parts: Parts) -> DataLoader[tuple[torch.Tensor, ...]]:
    x, y = _tensor(case, parts.x), torch.from_numpy(parts.y)
    if "features_shuffled_without_labels" in case.twists:
        x = x[torch.randperm(len(x))]
    ordered = "data_not_shuffled" in case.twists
    return DataLoader(TensorDataset(x, y), batch_size=case.batch_size, shuffle=not ordered)


def _tensor(case: Case, x: Any) -> torch.Tensor:
    found = torch.from_numpy(x)
    return found.long() if case.layers[0].kind == "embedding" else found


def augmented(x: torch.Tensor, words: str) -> torch.Tensor:
    """Noise on half of the pixels, then in half of the pictures a box of 0.4 to 0.8 of the area is erased."""
    most = next(value for sign, value in AUGMENTED.items() if sign in words)
    x = x + (torch.rand_like(x) < 0.5) * most * (2 * torch.rand_like(x) - 1)
    for picture in x:
        if torch.rand(()) < 0.5:
            side = round(picture.shape[1] * math.sqrt(float(0.4 + 0.4 * torch.rand(()))))
            top, left = (int(torch.randint(picture.shape[1] - side + 1, ())) for _ in range(2))
            picture[:, top : top + side, left : left + side] = torch.rand(picture.shape[0], side, side)
    return x


def evaluate(case: Case, net: nn.Module, parts: Parts) -> tuple[float, float, dict[str, float]]:
    """Loss, skill and metrics on the validation data, as the program takes them."""
    if "eval_mode_missing" not in case.twists:
        net.eval()
    x, y = _tensor(case, parts.x_validation), torch.from_numpy(parts.reported_y)
    losses, found = [], []
    with torch.no_grad():
        for given, wanted in DataLoader(TensorDataset(x, y), batch_size=256):
            scores = net(given)
            losses.append(loss_of(case, scores, wanted).item())
            found.append(scores)
    skill, metrics = _skill(case, torch.cat(found), y)
    return sum(losses) / len(losses), skill, metrics


def _skill(case: Case, scores: torch.Tensor, y: torch.Tensor) -> tuple[float, dict[str, float]]:
    """(accuracy - blind) / (1 - blind) or R^2, no less than -1, which no number at all counts as, too."""
    if case.task == "numbers":
        spread = ((y - y.mean()) ** 2).sum()
        r2 = float(1 - ((scores - y) ** 2).sum() / spread)
        return max(-1.0, r2) if math.isfinite(r2) else -1.0, {"r2": r2}
    if case.task == "binary":
        bound = 0.5 if case.loss == "binary cross-entropy" or "wrong_metric_threshold" in case.twists else 0.0
        right = ((scores > bound) == (y > 0.5)).float().mean().item()
        blind = max(float(y.mean()), 1 - float(y.mean()))
    else:
        right = (scores.argmax(-1) == y).float().mean().item()
        blind = float(y.flatten().bincount().max()) / y.numel()
    worth = (right - blind) / (1 - blind) if bool(torch.isfinite(scores).all()) else -1.0
    return worth, {"accuracy": right}
