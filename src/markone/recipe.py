"""Recipe: everything that decides a training, as plain data."""

from pydantic import Field

from markone.data.augment import Augmentation
from markone.data.normalize import Normalization, Standardize
from markone.data.source import DataSource
from markone.data.split import Split
from markone.device import Precision
from markone.fine_tuning import FineTuning
from markone.losses import CrossEntropy, Loss
from markone.nets import ConvNet, Net
from markone.nets.initializers import HeNormal, Initialization
from markone.optimizers import AdamW, Optimizer
from markone.regularizers import Regularization
from markone.rules import Backpropagation, Rule
from markone.schedules import OneCycle, Schedule
from markone.spec import Spec, members
from markone.tasks import Classification, Task


class Recording(Spec):
    """What a training writes down, and how much of its time that may take."""

    vitals: bool = Field(True, description="per-layer statistics")
    vitals_budget: float = Field(0.02, gt=0, le=1, description="share of the training time that vitals may cost")
    checkpoint_seconds: float = Field(30.0, gt=0, description="a checkpoint at least this often, and at epoch ends")


class Recipe(Spec):
    """Data, split, normalization, augmentation, task, net, initialization, loss, optimizer, schedule, regularization, and how
    long, how exactly and from which seed."""

    data: DataSource = Field(description="where the samples come from")
    split: Split = Field(Split(), description="which samples train, validate and test")
    normalization: Normalization | None = Field(Standardize(), description="how inputs are scaled; none = as stored")
    augmentation: Augmentation = Field(Augmentation(), description="what is varied at random in the training part")
    task: Task = Field(Classification(), description="what the training is for")
    net: Net = Field(ConvNet(), description="the architecture")
    initialization: Initialization = Field(HeNormal(), description="how weights begin")
    fine_tuning: FineTuning = Field(FineTuning(), description="which layers stay as they are or learn more slowly")
    loss: Loss = Field(CrossEntropy(), description="what is minimized")
    rule: Rule = Field(Backpropagation(), description="how a batch changes the weights")
    optimizer: Optimizer = Field(AdamW(), description="how weights follow the gradient")
    schedule: Schedule = Field(OneCycle(), description="how the learning rate changes over the training")
    regularization: Regularization = Field(Regularization(), description="what holds the net back from overfitting")
    batch_size: int = Field(128, ge=1, description="samples in one forward pass")
    accumulation: int = Field(1, ge=1, description="batches whose gradients are averaged into one step")
    epochs: int = Field(20, ge=1, description="passes over the training part")
    seconds: float | None = Field(None, gt=0, description="stop after this training time, whatever the epochs")
    activation_checkpointing: bool = Field(
        False,
        description="compute activations of residual, dense and other stages again in the backward pass: less memory, more time",
    )
    precision: Precision = Field("auto", description="what autocast computes in; auto = bfloat16 where hardware has it")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:1")
    seed: int = Field(0, ge=0, lt=2**31, description="the one seed of all named random streams")
    recording: Recording = Field(Recording(), description="what is written down")


KINDS: dict[str, tuple[type[Spec], ...]] = {
    "data": members(DataSource),
    "normalization": members(Normalization),
    "task": members(Task),
    "net": members(Net),
    "initialization": members(Initialization),
    "loss": members(Loss),
    "rule": members(Rule),
    "optimizer": members(Optimizer),
    "schedule": members(Schedule),
}
"""The one list of all specs, by the recipe's field."""
