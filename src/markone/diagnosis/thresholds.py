"""Every number that a check compares with, and where it comes from. No check holds one inline.

"Calibration" is ``bench/calibrate.py``: healthy and ill trainings over data, nets, optimizers, learning rates and seeds. Where a
number in a message is only spoken (a percentage), it is none.
"""


class Threshold(float):
    """A number with its origin: a formula, a paper, a calibration, or said to be a judgement."""

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
EQUAL_ROWS = Threshold(0.1, "of the evaluated samples; public tables hold a few percent of equal rows, iris 2 of 30")
LEAST_KEPT = Threshold(3, "looked-at steps whose graph is kept: one may be the variable of the last iteration")
TINY_BATCH = Threshold(2, "samples: their variance has one degree of freedom")
CROSS_TALK = Threshold(1e-5, "of a row's own influence: a hundred times the rounding of float32")

# What the net is made of.
PLAIN_DEPTH = Threshold(
    30, "layers in a row with no way past them: plain nets of 34 train worse than those of 18 (He et al. 2016, table 2)"
)
CLASSES_PER_UNIT = Threshold(
    2,
    "a layer of k units spans scores of rank k; calibration: half as many units as classes is where digits begin to fail",
)
PLAIN_TO_SEE = Threshold(
    0.95, "confidence of what the graph shows and few mean; judgement: one net in twenty may want it so"
)
PART_OF_A_NET = Threshold(
    0.7, "confidence where only some layers are concerned; judgement: two in three are oversights"
)

# How the steps were set up: optimizer-arguments, weights-unchanged, the batch size, epochs-too-few
EPSILON_USUAL = Threshold(
    1e-6, "defaults lie between 1e-10 and 1e-7; smaller ones rule only where the gradient is lost"
)
EPSILON_SHARE = Threshold(9, "of the gradients' root mean square: lr g / (g + eps) is then a tenth of lr")
EPSILON_LEAST = Threshold(1e-12, "a ten-thousandth of Adam's 1e-8 (Kingma and Ba 2015)")
LONG_MOMENTUM = Threshold(0.99, "the largest that is usual (Sutskever et al. 2013); steps are 100 times the gradient's")
MEMORY = Threshold(0.25, "of all steps that the running mean 1 / (1 - momentum) spans: it never forgets the beginning")
ROUNDING = Threshold(2**-24, "half the distance of float32 numbers, relative to their size: w + d is w again")
SMALL_BATCH = Threshold(4, "samples: above, one sample is at most a fifth of the gradient")
GAIN_KEPT = Threshold(
    0.02, "of the gain on a step's own batch; batches of 1 keep that where B_noise is 49 (McCandlish 2018)"
)
LARGE_BATCH = Threshold(0.25, "of the training part: an epoch is four steps at most")
FEW_STEPS = Threshold(100, "steps: at updates of 1e-3 the weights move by a tenth of their size at most, SMALL_PATH")
STILL_FALLING = Threshold(
    0.1, "of the blind guess's loss in as many steps again; calibration: converged ones lie under 0.03"
)
HALF_LEFT = Threshold(
    0.5, "of the loss that is left, in as many steps again: more than steps that are shorter would bring"
)

# Trends
SWING = Threshold(
    0.1, "of the blind guess's loss, the samples being the same; judgement: a tenth of all there is to learn"
)
SAME_OUTPUT = Threshold(
    1e-3, "of how much outputs differed between samples at first; judgement: a tenth of a percent is no answer"
)
POOR_START = Threshold(10, "blind guesses' losses; calibration: initializations at unit gain begin at 0.9 to 6")
DRIFT = Threshold(
    20, "times the standard deviation of the first step; calibration: nets that learned grow 12 times at most"
)

# The rows that a net is fed (fact ``datasheet``).
INPUT_TINY = Threshold(
    0.02,
    "standard deviation: initializations take 1; [0, 1] pictures vary by 0.1 to 0.4, divided by 255 again by 0.001",
)
TABLE = Threshold(
    50, "columns: rows of more are flattened pictures, counts of words or codes, where still columns are usual"
)
TARGET_SIZE = Threshold(100, "times the first outputs: Adam at 1e-3 takes 100,000 steps to move a bias there")
SHIFT_RATIO = Threshold(
    3,
    "of standard deviations: ImageNet's normalization makes 4, a division by 255 makes 255; halves of one set 0.9 to 1.1",
)
SHIFT_DEVIATIONS = Threshold(1.5, "standard deviations between means, in the median feature; ImageNet's makes 1.8")
SHIFT_ERRORS = Threshold(10, "standard errors between means: no chance over any number of features")
SMOOTH = Threshold(0.3, "1 - correlation of neighbouring pixels; photos 0.07, digits 0.20, clothes 0.13, noise 1")
ROUGHER = Threshold(2, "times; calibration: viewed for permuted 5.6 to 8.8, photos laid out rightly 0.25 to 0.3")
NEAREST = Threshold(
    0.7, "correlation of a pixel with the one that goes best with it; calibration: 0.83 to 0.96, noise 0.2"
)
SHUFFLED = Threshold(0.9, "of the roughness of permuted pixels; calibration: as given 0.10 to 0.21, permuted 0.98 to 1")
IGNORED = Threshold(1e-6, "relative difference of two losses: ten roundings of float32")

# Labels against rows. Skill is the share of a blind guess's error that is gone.
LABEL_SIGNAL = Threshold(
    0.3, "skill of the probes, below which they know too little to contradict; photos by pixels 0.25"
)
LABEL_DOUBT = Threshold(
    0.12,
    "skill that is missing; calibration: clean data where a probe is surest miss 0 to 0.07, 15 % wrong labels 0.17",
)
LABEL_EVEN = Threshold(
    0.72, "skill on all rows over that on the surest; calibration: wrong labels 0.75 to 1, hard clean data 0.15 to 0.67"
)
LABEL_NOISE = Threshold(0.1, "of the labels: fewer cost little (Rolnick et al. 2017)")
STRUCTURE = Threshold(
    1.5, "times the variance in few directions that permuted columns have; real sets 2.1 to 7, noise 1.2"
)
IMBALANCE = Threshold(10, "largest class over smallest: what Amazon SageMaker Debugger's rule takes")
NAMED_CLASSES = Threshold(20, "classes whose counts a finding carries along")
COPIES = Threshold(0.05, "of the validation rows: they move an accuracy by as much as a set of 400 moves by chance")
BEYOND_CHANCE = Threshold(3, "times the copies that permuted columns give: rows of few values meet by chance")
GIVEN_AWAY = Threshold(
    0.95,
    "skill of one column by itself; calibration: iris 0.92, breast cancer 0.79, columns made from the answer 0.97 to 1",
)
APART = Threshold(0.05, "standard deviations between values of two classes: a border drawn through rows leaves 0.001")
FAR = Threshold(0.7, "of the distance to another picture; half of it is the border between two pictures")
ALIKE = Threshold(0.9, "of a layer's units that equal another one: random ones never do, and one may be set apart")
INIT_SMALL = Threshold(
    0.1, "times the signal per hidden layer; torch's own initialization has 0.58, N(0, 0.02) over 64 inputs 0.16"
)
INIT_LARGE = Threshold(5, "times the signal per hidden layer; He's has 1.4, N(0, 1) over 25 inputs 5")
DROPOUT_NOISE = Threshold(
    4, "times the signal's power, p / (1 - p) at p = 0.8: what dropout of 0.2 is when p is taken for the kept share"
)
MOST_DROPPED = Threshold(0.7, "in one layer; published nets drop half at most (Srivastava et al. 2014)")
SHRUNK = Threshold(0.5, "of the weights' norm at first; calibration: nets that learn keep 0.86 and more")
LEAST_TARGETS = Threshold(
    16, "rows: that each of so many has one label by chance has odds under 2^-16 where labels are free"
)
LEAST_CLASSES = Threshold(3, "classes: of two, the numbers have no order to get wrong")
MOST_CLASSES = Threshold(20, "classes; judgement: more whole numbers than that in a row are counts or ages more often")
EVEN = Threshold(0.2, "the rarest over the most frequent; judgement: counts and ratings are rare at their ends")

# What a watched loop does around its steps.
PADDING = Threshold(0.5, "of the targets: more of the loss is about padding than about anything else")
PADDING_WORTH_A_WORD = Threshold(0.1, "of the targets: rows that are a tenth shorter than the longest of their batch")
LEAST_WAIT = Threshold(1, "second in all: what nobody notices")
STARVED = Threshold(0.5, "of the time: more of it goes into waiting than into training")
NUMERICS = Threshold(1e-2, "of the outputs' size: 10^5 roundings of float32, and the rounding of bfloat16")
UNDERFLOW = Threshold(0.5, "of the gradient's norm: most of the step is lost")
