"""Which of our causes count as right for a label of the corpora: the cause itself, and those whose remedy repairs the same fault."""

import re

from cases.description import Case

LABELS: dict[str, frozenset[str]] = {
    label: frozenset(slugs.split())
    for label, slugs in {
        # data
        "input_unnormalized": "input-unnormalized",
        "input_double_normalized": "input-double-normalized input-unnormalized",
        "input_scale_too_small": "input-double-normalized input-unnormalized",
        "target_unscaled": "target-unscaled",
        "class_imbalance": "class-imbalance",
        "label_noise": "label-noise",
        "label_misaligned": "labels-misaligned label-noise inputs-ignored",
        "features_shuffled_without_labels": "labels-misaligned label-noise inputs-ignored",
        "augmentation_too_strong": "augmentation-too-strong",
        "train_distribution_shift": "augmentation-too-strong preprocessing-mismatch",
        "label_preprocessing_wrong": "preprocessing-mismatch",
        "train_test_preprocessing_mismatch": "preprocessing-mismatch",
        "layout_scrambled": "layout-scrambled",
        "view_instead_of_permute": "layout-scrambled",
        "data_not_shuffled": "order-not-shuffled",
        "data_leakage_preprocessing": "leak-across-parts",
        "data_leakage_val_in_train": "leak-across-parts validation-in-training",
        "duplicate_rows_across_split": "leak-across-parts validation-in-training",
        "data_leakage_target_in_features": "leak-in-features",
        # the net
        "missing_softmax": "missing-softmax",
        "loss_expects_probabilities": "missing-softmax output-range",
        "missing_output_activation": "missing-softmax output-range",
        "double_softmax": "double-softmax",
        "softmax_on_single_unit": "softmax-on-single-unit",
        "softmax_wrong_axis": "softmax-wrong-axis",
        "sigmoid_for_multiclass": "sigmoid-for-multiclass",
        "output_range_mismatch": "output-range target-out-of-range",
        "wrong_output_activation": "output-range",
        "relu_output_classification": "output-range missing-softmax",
        "constant_output": "constant-output",
        "wrong_hidden_activation": "wrong-hidden-activation saturated-activation",
        "hidden_softmax": "wrong-hidden-activation",
        "init_constant": "init-constant",
        "symmetry_not_broken": "init-constant",
        "init_scale_wrong": "init-scale-wrong",
        "too_deep_without_residual": "too-deep-without-residual",
        # without normalization a net of this depth and rate learns slowly: another start, other layers or a larger rate repair it
        "missing_batchnorm": "too-deep-without-residual init-scale-wrong vanishing-gradient lr-too-low",
        "bn_running_stats_not_updated": "batch-norm-stale",
        "batchnorm_small_batch": "batch-norm-tiny-batch batch-size-too-small",
        "missing_regularization": "overfitting",
        "over_regularized": "over-regularized dropout-too-high",
        "weight_collapse": "over-regularized",
        # the loss
        "loss_wrong_for_task": "loss-wrong-for-task loss-not-representative",
        "loss_reduction_wrong": "loss-reduction-sum lr-too-high",
        "loss_axis_wrong": "loss-reduction-sum softmax-wrong-axis",
        "loss_broadcast": "loss-broadcast",
        "loss_sign_flipped": "loss-sign-flipped",
        "gradient_ascent": "loss-sign-flipped",
        "log_of_zero": "log-of-zero",
        "wrong_metric_threshold": "loss-not-representative",
        # the steps
        "lr_too_high": "lr-too-high",
        "lr_too_low": "lr-too-low",
        "missing_warmup": "missing-warmup",
        "adam_epsilon_too_low": "optimizer-arguments lr-too-high",
        "optimizer_config": "optimizer-arguments lr-too-high",
        "batch_size_too_small": "batch-size-too-small",
        "lr_schedule_collapsed": "scheduler-collapsed",
        "gradient_clip_too_small": "clip-too-small",
        # the loop
        "eval_mode_missing": "eval-mode-missing",
        "train_mode_missing": "train-mode-after-validation-missing stuck-in-eval-mode",
        "unregistered_parameters": "unregistered-parameters optimizer-missing-parameters",
        "optimizer_missing_parameters": "optimizer-missing-parameters",
        "stale_optimizer_params": "optimizer-stale-parameters",
        "detached_graph": "graph-detached",
        "no_gradient": "no-gradient",
        "fp16_gradient_underflow": "unscaled-clip skipped-steps weights-unchanged vanishing-gradient",
        # symptoms that the corpora count as faults
        "vanishing_gradient": "vanishing-gradient too-deep-without-residual",
        "exploding_gradient": "exploding-gradient",
        "dead_relu": "dead-relu",
        "nan_loss": "non-finite",
        "loss_oscillation": "loss-oscillating",
        "loss_spike": "loss-oscillating loss-diverging",
        "train_eval_mode_mismatch": "",  # said by the label beside it
    }.items()
}

REPAIRS: tuple[tuple[str, str], ...] = (  # words of a known repair, and the cause that it is the remedy of
    (r"\bhe init\b|glorot init|he_normal", "init-scale-wrong"),
    (r"\b(lower|smaller) lr\b|\blr 0\.0|\blr 1e-[34]|or lr 0\.0", "lr-too-high"),
    (r"larger batch", "batch-size-too-small"),
    (r"fewer layers", "too-deep-without-residual"),
    (r"scale (x|inputs)", "input-unnormalized"),
    (r"smaller l2", "over-regularized"),
    (r"mean (loss|reduction)", "loss-reduction-sum"),
)

PROVABLE = frozenset(  # wrong whatever they cost
    {
        "data_leakage_preprocessing", "data_leakage_val_in_train", "duplicate_rows_across_split",
        "data_leakage_target_in_features", "train_mode_missing", "eval_mode_missing",
    }
)  # fmt: skip


def right_causes(case: Case) -> frozenset[str]:
    """The slugs that name what is wrong with a case: by its labels, and by its known repair."""
    found = frozenset().union(*(LABELS[label] for label in case.labels))
    if "lr_too_low" in case.labels or not case.labels:
        return found
    return found | {slug for words, slug in REPAIRS if re.search(words, case.known_fix)}
