"""Every number that a check compares with, and where it comes from. No check holds one inline.

"Calibration" is ``bench/calibrate.py``: healthy and ill trainings over data, nets, optimizers, learning rates and seeds. Where a
number in a message is only spoken (a percentage), it is none.
"""


class Threshold(float):
    """A number with its origin: a formula, a paper or a calibration."""

    origin: str

    def __new__(cls, value: float, origin: str) -> "Threshold":
        threshold = super().__new__(cls, value)
        threshold.origin = origin
        return threshold


# How much must be known before anything is said.
LEAST_SAMPLES = Threshold(8, "sampled steps: after 8 that agree, the rule of succession expects the next to by 9/10")
LEAST_STEPS = Threshold(20, "steps: 2 / (1 - beta1) of Adam, before which its running mean is not yet a mean")
LEAST_EPOCHS = Threshold(4, "evaluations: two in each half, so that halves can be compared")
LEAST_LAYERS = Threshold(3, "layers with weights: between two there is one factor, and no product")
LEAST_VALIDATION = Threshold(30, "samples: below, the 95 % interval of an accuracy of 1/2 is wider than +-18 points")

# What is called the present.
RECENT = Threshold(0.5, "share of the sampled steps: the later half")
RECENT_LOSSES = Threshold(0.1, "share of the steps whose median loss is the loss at present")
EARLY_SAMPLES = Threshold(5, "sampled steps that show the state the net began in; vitals are dense at first")
MOSTLY = Threshold(0.9, "share of the samples from a step on that agree, so that it holds since that step")
FALL = Threshold(
    2, "standard errors that the loss fell by lately: 1 in 40 by chance, and 1 in 40 trainings waits for nothing"
)
FULL_RATE = Threshold(0.5, "of the largest learning rate so far: steps at less say little of that rate")

# How much was learned: 1 - loss / blind guess, or (accuracy - blind) / (1 - blind), whichever is more.
NOTHING_LEARNED = Threshold(0.1, "calibration: trainings that are stuck end at -0.3 to 0.08")
LITTLE_LEARNED = Threshold(0.5, "half of what a blind guess misses; healthy trainings on learnable data end above it")
WELL_LEARNED = Threshold(0.9, "a tenth of what a blind guess misses is left: then nothing in the net is worth an alarm")

# input-unnormalized
INPUT_SCALE = Threshold(
    10, "root mean square; initializations take 1 for it (LeCun et al. 1998), curvature goes by its square"
)
INPUT_SPREAD = Threshold(
    100, "largest over smallest scale; its square is the condition number of the first layer's Hessian"
)
CONSTANT = Threshold(1e-6, "standard deviation over size of a feature: what float32 rounding alone gives a constant")

# vanishing-gradient, exploding-gradient: |dL/d outputs| of the first layer with weights over that of the last
GRADIENT_DECAY = Threshold(5e-3, "calibration: nets of 4 to 31 layers that learned lie in 0.011 to 12")
GRADIENT_GROWTH = Threshold(50, "calibration: as above; those that are stuck by it begin at 98 (AutoTrainer takes 70)")

# dead-relu, saturated-activation
DEAD = Threshold(
    0.7, "of a layer's units, with little learned; calibration: 67 of 77 stuck nets have it; good ones may have 0.94"
)
SATURATED = Threshold(
    0.5, "of a layer's outputs, with little learned; calibration: healthy ones learn in spite of 0.97"
)
SATURATED_AT_FIRST = Threshold(
    0.9, "of a layer's outputs at the first steps: it passes no more gradient than a cut does"
)

# lr-too-high. Along a step a parabola gives gain / predicted = 1 - a/2, a the step's length over that to its floor. A rise of
# the loss counts in losses of a blind guess, times the share that is not learned.
THROWN_DOWN = Threshold(0.5, "where nothing is learned; calibration: rates that are too low reach 0.11")
THROWN = Threshold(
    1.5, "where up to a third is learned; calibration: right rates reach 1.2 with something left to learn"
)
THROWN_WELL = Threshold(5, "where more is learned: four times what right rates reach")
OVERSHOOT = Threshold(
    0.35, "gain / predicted, a = 1.3; calibration: 0.36 and more in 35 of 36 trainings at the right rate with loss left"
)
FLOOR_DEPTH = Threshold(
    0.1,
    "of the blind guess's loss, from a batch down to the floor along its step; under it, steps at the edge of stability"
    " (Cohen et al. 2021) are usual; calibration: 0.04 in the median at the right rate",
)
RISING_FAST = Threshold(0.1, "skill won in the later half; calibration: 20 layers with batch norm at their best rate")
REWRITE = Threshold(
    0.5, "|change| / |weights| of one overshooting step; calibration: medians 0.03 at right rates, 0.9 at too high ones"
)
LOST = Threshold(0.15, "of the blind guess's loss, won and lost again; calibration: right rates lose 0.014 at most")
UPHILL = Threshold(0.5, "share of the sampled steps that raised their own batch's loss: more often than not")
NOISE = Threshold(5, "standard deviations of the batch losses: a rise of their running median below that may be chance")

# lr-too-low
SHORT = Threshold(0.95, "gain / predicted, a = 0.1: a step ten times longer would just reach the floor")
SMALL_UPDATE = Threshold(1e-3, "|change| / |weights| of a step that is about right (Karpathy, CS231n notes, 2015)")
SMALL_PATH = Threshold(
    0.1, "sum of |change| / |weights| over all steps: the weights moved by a tenth of their size at most"
)
UNMOVED_LEARNED = Threshold(
    0.35, "calibration: learned by nets that moved so little; noisy data that is all learned is over 0.4"
)
STILL_RISING = Threshold(0.05, "skill won in the later half of the training; calibration")

# overfitting, underfitting
GAP_ERRORS = Threshold(3, "standard errors between training and validation: 1 in 700 by chance")
GAP_SHARE = Threshold(0.05, "of a blind guess's error: the least gap that is worth a word")
VARIANCE_SHARE = Threshold(
    0.5, "of the validation error that is gap, not error on training data as well: the larger part"
)
LOSS_RISE = Threshold(0.1, "of the blind guess's loss that the validation loss has risen from its least; calibration")
SQUARE_KURTOSIS = Threshold(5, "variance of e^2 over (mean e^2)^2: 2 for Gaussian errors, 5 for Laplace's")
UNEXPLAINED = Threshold(
    0.15, "share of the blind guess's loss that is gone; calibration: healthy noisy data is above it"
)

# The loop and the outputs of watched trainings. What is proven needs no number; these say from when on it matters.
COLLAPSED = Threshold(
    1e-3, "of the largest learning rate: steps at less change float16 and bfloat16 weights by nothing"
)
CLIPPED = Threshold(100, "times smaller by clipping, in the median; sound trainings are clipped 1 to 10 times")
LEAST_KEPT = Threshold(3, "looked-at steps whose graph is kept: one may be the variable of the last iteration")
TINY_BATCH = Threshold(2, "samples: their variance has one degree of freedom")
CROSS_TALK = Threshold(1e-5, "of a row's own influence: a hundred times the rounding of float32")
