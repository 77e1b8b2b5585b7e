"""Losses: what a training makes small, and the least of it that a blind guess reaches.

Scores are (n, outputs) as the net gives them, never passed through a sigmoid or softmax before. Targets are int64 (n,)
classes or float32 (n, outputs) numbers. Every loss is a mean over the samples, in float32 at least, under autocast too.

Maps of scores are (n, outputs, height, width), their targets masks uint8 (n, height, width); the mean is over all pixels
but those of the value VOID.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from markone.errors import SpecError
from markone.spec import KIND, Spec

if TYPE_CHECKING:
    from torch import Tensor

    LossFunction = Callable[[Tensor, Tensor], Tensor]


VOID = 255  # a mask's pixel that is of no class: the value of PASCAL VOC's masks (Everingham et al. 2010)


class LossSpec(Spec):
    """A loss; ``build`` gives a function of (scores, targets)."""

    kind: str
    tasks: ClassVar[frozenset[str]]

    @abstractmethod
    def outputs(self, classes: int) -> int:
        """How many scores the net must give for so many classes (classification) or target columns (regression)."""

    @abstractmethod
    def build(self, *, label_smoothing: float = 0.0) -> "LossFunction":
        """A function of scores (n, outputs) and targets that gives the mean loss, a scalar.

        Raises SpecError where label smoothing has no meaning.
        """

    @abstractmethod
    def probabilities(self, scores: "Tensor") -> "Tensor":
        """Class probabilities (n, classes) from scores (n, outputs). Raises SpecError for a loss of regression."""

    @abstractmethod
    def blind_guess(self, targets: "Tensor", outputs: int, *, label_smoothing: float = 0.0) -> float:
        """The least mean loss that any constant output reaches on these targets."""

    def require_task(self, task: str) -> None:
        """Raises SpecError if the loss is not made for the task."""
        if task not in self.tasks:
            fit = [loss.model_fields["kind"].default for loss in LOSSES if task in loss.tasks]
            allowed = f"Allowed: {', '.join(fit)}." if fit else f"Tasks that have losses: {', '.join(_all_tasks())}."
            raise SpecError("loss-task", f"loss {self.kind} is not made for {task}. {allowed}")


def blind_guess(loss: LossSpec, targets: "Tensor", outputs: int, *, label_smoothing: float = 0.0) -> float:
    """The least mean loss that any constant output of ``loss`` reaches on ``targets``: a net that sees nothing."""
    return loss.blind_guess(targets, outputs, label_smoothing=label_smoothing)


class CrossEntropy(LossSpec):
    """loss = mean -sum_k t_k log softmax(s)_k, t_k = (1 - smoothing) [k = y] + smoothing / K.

    Label smoothing: Szegedy et al. 2016. The blind guess is the entropy of the mean t: ln K for balanced classes. Takes maps
    and masks as well; where every pixel is void, the loss is 0.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"classification", "segmentation"})
    kind: Literal["cross-entropy"] = "cross-entropy"

    def outputs(self, classes: int) -> int:
        return classes

    def build(self, *, label_smoothing: float = 0.0) -> "LossFunction":
        from torch.nn.functional import cross_entropy

        _require_smoothing(label_smoothing)

        def loss(scores: "Tensor", targets: "Tensor") -> "Tensor":
            if scores.ndim == 2:
                return cross_entropy(_wide(scores), targets, label_smoothing=label_smoothing)
            each = cross_entropy(
                _wide(scores), targets.long(), ignore_index=VOID, label_smoothing=label_smoothing, reduction="none"
            )  # summed here: its own sum over maps has no fixed order on CUDA
            return each.sum() / (targets != VOID).sum().clamp_min(1)

        return loss

    def probabilities(self, scores: "Tensor") -> "Tensor":
        return _wide(scores).softmax(dim=1)

    def blind_guess(self, targets: "Tensor", outputs: int, *, label_smoothing: float = 0.0) -> float:
        import torch

        shares = (1 - label_smoothing) * _shares(targets, outputs) + label_smoothing / outputs
        return float(torch.special.entr(shares).sum())


class BinaryCrossEntropy(LossSpec):
    """loss = mean -[t log p + (1 - t) log(1 - p)], p = sigmoid(s), t = (1 - smoothing) [y = 1] + smoothing / 2.

    Two classes have one score. More classes have one each, told apart from all others, and the loss is the mean over
    them; their probabilities are the sigmoids divided by their sum.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})
    kind: Literal["binary-cross-entropy"] = "binary-cross-entropy"

    def outputs(self, classes: int) -> int:
        return 1 if classes == 2 else classes

    def build(self, *, label_smoothing: float = 0.0) -> "LossFunction":
        from torch.nn.functional import binary_cross_entropy_with_logits

        _require_smoothing(label_smoothing)

        def loss(scores: "Tensor", targets: "Tensor") -> "Tensor":
            scores = _wide(scores)
            wanted = _indicator(targets, scores.shape[1]).to(scores.dtype)
            if label_smoothing:
                wanted = wanted * (1 - label_smoothing) + label_smoothing / 2
            return binary_cross_entropy_with_logits(scores, wanted)

        return loss

    def probabilities(self, scores: "Tensor") -> "Tensor":
        return _from_sigmoids(scores)

    def blind_guess(self, targets: "Tensor", outputs: int, *, label_smoothing: float = 0.0) -> float:
        import torch

        on = _indicator(targets, outputs).double().mean(dim=0) * (1 - label_smoothing) + label_smoothing / 2
        return float((torch.special.entr(on) + torch.special.entr(1 - on)).mean())


class MarginLoss(LossSpec):
    """A loss of the margin by which the right class leads.

    margin = +s or -s with one score for two classes, else s_y - max_{k != y} s_k. Sigmoid or softmax of the scores are
    given as probabilities, but are not calibrated.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})

    @abstractmethod
    def of_margins(self, margins: "Tensor") -> "Tensor":
        """The loss of each margin."""

    def outputs(self, classes: int) -> int:
        return 1 if classes == 2 else classes

    def build(self, *, label_smoothing: float = 0.0) -> "LossFunction":
        _refuse_smoothing(self.kind, label_smoothing)
        return lambda scores, targets: self.of_margins(_margins(_wide(scores), targets)).mean()

    def probabilities(self, scores: "Tensor") -> "Tensor":
        return _from_sigmoids(scores) if scores.shape[1] == 1 else _wide(scores).softmax(dim=1)


class Hinge(MarginLoss):
    """loss = mean max(0, 1 - margin). The blind guess is min(1, 2 (1 - share of the largest class)).

    Cortes and Vapnik, Support-vector networks, 1995; many classes: Crammer and Singer 2001.
    """

    kind: Literal["hinge"] = "hinge"

    def of_margins(self, margins: "Tensor") -> "Tensor":
        return (1 - margins).clamp_min(0)

    def blind_guess(self, targets: "Tensor", outputs: int, *, label_smoothing: float = 0.0) -> float:
        _refuse_smoothing(self.kind, label_smoothing)
        return min(1.0, 2 * (1 - float(_shares(targets, max(outputs, 2)).max())))


class PerceptronCriterion(MarginLoss):
    """loss = mean max(0, -margin); at margin 0 the gradient is that of a mistake.

    A step of plain SGD on one sample is then Rosenblatt's rule: w + lr y x after a mistake, w otherwise (Rosenblatt
    1962; the criterion: Duda and Hart 1973). Equal scores have loss 0, so the blind guess is 0: this loss cannot tell
    it.
    """

    kind: Literal["perceptron-criterion"] = "perceptron-criterion"

    def of_margins(self, margins: "Tensor") -> "Tensor":
        return -margins * (margins <= 0)

    def blind_guess(self, targets: "Tensor", outputs: int, *, label_smoothing: float = 0.0) -> float:
        _refuse_smoothing(self.kind, label_smoothing)
        return 0.0


class RegressionLoss(LossSpec):
    """A loss of the errors s - t, averaged over samples and outputs."""

    tasks: ClassVar[frozenset[str]] = frozenset({"regression"})

    @abstractmethod
    def of_numbers(self, scores: "Tensor", targets: "Tensor") -> "Tensor":
        """The mean loss of scores and targets of one shape (n, outputs)."""

    @abstractmethod
    def best_constant(self, targets: "Tensor") -> "Tensor":
        """The constant of least loss on float64 targets (n, outputs): (outputs,)."""

    def outputs(self, classes: int) -> int:
        return classes

    def build(self, *, label_smoothing: float = 0.0) -> "LossFunction":
        _refuse_smoothing(self.kind, label_smoothing)
        return lambda scores, targets: self.of_numbers(_like(scores, targets), targets)

    def probabilities(self, scores: "Tensor") -> "Tensor":
        raise SpecError("loss-task", f"loss {self.kind} is one of regression: its scores are no probabilities.")

    def blind_guess(self, targets: "Tensor", outputs: int, *, label_smoothing: float = 0.0) -> float:
        _refuse_smoothing(self.kind, label_smoothing)
        exact = targets.double()
        return float(self.of_numbers(self.best_constant(exact).expand_as(exact), exact))


class Squared(RegressionLoss):
    """loss = mean (s - t)^2. The blind guess is the mean of the outputs' variances."""

    kind: Literal["squared"] = "squared"

    def of_numbers(self, scores: "Tensor", targets: "Tensor") -> "Tensor":
        from torch.nn.functional import mse_loss

        return mse_loss(scores, targets)

    def best_constant(self, targets: "Tensor") -> "Tensor":
        return targets.mean(dim=0)


class Absolute(RegressionLoss):
    """loss = mean |s - t|. The blind guess is the mean distance from each output's median."""

    kind: Literal["absolute"] = "absolute"

    def of_numbers(self, scores: "Tensor", targets: "Tensor") -> "Tensor":
        from torch.nn.functional import l1_loss

        return l1_loss(scores, targets)

    def best_constant(self, targets: "Tensor") -> "Tensor":
        return targets.median(dim=0).values


class Huber(RegressionLoss):
    """loss = mean h(s - t), h(e) = e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2).

    Huber, Robust estimation of a location parameter, 1964. The best constant is found by bisection of the slope, which
    rises with the constant.
    """

    kind: Literal["huber"] = "huber"
    delta: float = Field(1.0, gt=0, description="error up to which the loss is quadratic, in scaled target units")

    def of_numbers(self, scores: "Tensor", targets: "Tensor") -> "Tensor":
        from torch.nn.functional import huber_loss

        return huber_loss(scores, targets, delta=self.delta)

    def best_constant(self, targets: "Tensor") -> "Tensor":
        low, high = targets.amin(dim=0), targets.amax(dim=0)
        for _ in range(60):  # 2^-60 of the range: below float64's own rounding
            guess = (low + high) / 2
            rising = (guess - targets).clamp(-self.delta, self.delta).sum(dim=0) > 0
            low, high = low.where(rising, guess), guess.where(rising, high)
        return (low + high) / 2


LOSSES: tuple[type[LossSpec], ...] = (
    CrossEntropy,
    BinaryCrossEntropy,
    Squared,
    Absolute,
    Huber,
    Hinge,
    PerceptronCriterion,
)

Loss = Annotated[CrossEntropy | BinaryCrossEntropy | Squared | Absolute | Huber | Hinge | PerceptronCriterion, KIND]


def _all_tasks() -> list[str]:
    return sorted(set().union(*(loss.tasks for loss in LOSSES)))


def _wide(scores: "Tensor") -> "Tensor":
    """Half-precision scores as float32; float32 and float64 as they are."""
    return scores.float() if scores.element_size() < 4 else scores


def _like(scores: "Tensor", targets: "Tensor") -> "Tensor":
    """Wide scores, once they have the targets' shape: torch would broadcast (n, 1) against (n,) to (n, n)."""
    if scores.shape != targets.shape:
        raise SpecError(
            "target-shape",
            f"scores of shape {tuple(scores.shape)} need targets of the same shape, not {tuple(targets.shape)}.",
        )
    return _wide(scores)


def _indicator(targets: "Tensor", outputs: int) -> "Tensor":
    """Bool (n, outputs): whether the sample is of the output's class; one output stands for class 1 of two."""
    import torch

    if outputs == 1:
        return (targets == 1).unsqueeze(1)
    return targets.unsqueeze(1) == torch.arange(outputs, device=targets.device)


def _margins(scores: "Tensor", targets: "Tensor") -> "Tensor":
    """By how much the right class leads, (n,): +s or -s for one score, else s_y - max_{k != y} s_k."""
    if scores.shape[1] == 1:
        return scores.squeeze(1) * (2 * targets - 1)
    right = targets.unsqueeze(1)
    rivals = scores.scatter(1, right, -float("inf")).amax(dim=1)
    return scores.gather(1, right).squeeze(1) - rivals


def _from_sigmoids(scores: "Tensor") -> "Tensor":
    import torch

    on = _wide(scores).sigmoid()
    if on.shape[1] == 1:
        return torch.cat((1 - on, on), dim=1)
    return on / on.sum(dim=1, keepdim=True).clamp_min(torch.finfo(on.dtype).tiny)


def _shares(targets: "Tensor", classes: int) -> "Tensor":
    """The share of each class, float64 (classes,); of a mask's pixels, without the void ones."""
    if targets.ndim > 1:
        targets = targets[targets != VOID]
    return targets.bincount(minlength=classes).double() / targets.numel()


def _require_smoothing(label_smoothing: float) -> None:
    if not 0 <= label_smoothing < 1:
        raise SpecError(
            "label-smoothing", f"label smoothing is {label_smoothing:g}; it must be at least 0 and under 1."
        )


def _refuse_smoothing(kind: str, label_smoothing: float) -> None:
    if label_smoothing:
        raise SpecError(
            "label-smoothing",
            f"label smoothing {label_smoothing:g} has no meaning with loss {kind}; set it to none, or take cross-entropy "
            "or binary-cross-entropy.",
        )
