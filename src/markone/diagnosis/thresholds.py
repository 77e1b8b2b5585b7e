"""Every number that a check compares with, and where it comes from. No check holds one inline.

"Calibration" is ``bench/calibrate.py``: healthy and ill trainings over data, nets, optimizers, learning rates and seeds.
"""


class Threshold(float):
    """A number with its origin: a formula, a paper or a calibration."""

    origin: str

    def __new__(cls, value: float, origin: str) -> "Threshold":
        threshold = super().__new__(cls, value)
        threshold.origin = origin
        return threshold


# How much must be known before anything is said.
LEAST_SAMPLES = Threshold(8, "sampled steps: of 8 that agree, Laplace's rule of succession gives the next one 9/10")
LEAST_STEPS = Threshold(20, "steps: 2 / (1 - beta1) of Adam, before which its running mean is not yet a mean")
LEAST_VALIDATION = Threshold(30, "samples: below, the 95 % interval of an accuracy of 1/2 is wider than +-18 points")
RECENT = Threshold(0.5, "share of the sampled steps that count as the present: the later half")
RECENT_LOSSES = Threshold(0.1, "share of the steps whose median loss is the loss at present")
FULL_RATE = Threshold(0.5, "of the largest learning rate so far: below, a step says little of that rate")

# How much was learned: 1 - loss / blind guess, or (accuracy - blind) / (1 - blind), whichever is more.
NOTHING_LEARNED = Threshold(0.1, "calibration: stuck trainings end in -0.1 to 0.08, the slowest healthy one at 0.2")
LITTLE_LEARNED = Threshold(0.5, "half of what a blind guess misses")
WELL_LEARNED = Threshold(0.9, "a tenth of what a blind guess misses is left: nothing above a note is worth saying")

# lr-too-high, lr-too-low. Along a step a parabola gives gain / predicted = 1 - a/2, a the length in steps to its floor.
THROWN = Threshold(1.0, "of the blind guess's loss: a rise by all that there was to learn")
OVERSHOOT = Threshold(0.35, "gain / predicted at a = 1.3; calibration: healthy medians with loss left are 0.39 to 1")
LOSS_LEFT = Threshold(0.1, "of the blind guess's loss: below, low ratios are the edge of stability (Cohen et al. 2021)")
LOST = Threshold(0.25, "of the blind guess's loss, gained and lost again; calibration")
SHORT = Threshold(0.95, "gain / predicted at a = 0.1: a step ten times longer would just reach the floor")
SMALL_UPDATE = Threshold(1e-3, "|change| / |weights| of a step that is about right (Karpathy, CS231n notes, 2015)")
SMALL_PATH = Threshold(0.1, "sum of |change| / |weights| over the training: the weights moved by a tenth at most")
STILL_RISING = Threshold(0.05, "skill won in the later half of the training; calibration")
