"""Segmentation: metrics against scikit-learn, void pixels, augmentation of masks, and trainings from data to test."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from sklearn.metrics import confusion_matrix, jaccard_score

from markone.cli import main
from markone.data.augment import Augmentation, move, move_both
from markone.data.batches import Batches, Store
from markone.data.dataset import Dataset
from markone.data.masks import palette
from markone.data.normalize import Standardize
from markone.data.shapes import draw_shapes
from markone.data.synthetic import Shapes
from markone.diagnosis.diagnose import diagnose
from markone.errors import DataError, SpecError
from markone.losses import VOID, CrossEntropy
from markone.metrics import mean_iou, pixel_accuracy, pixel_counts
from markone.recipe import Recipe
from markone.seeds import torch_generator
from markone.tasks import Segmentation
from markone.training.choose import choose_recipe
from markone.training.evaluate import open_test
from markone.training.loop import Training, fit
from markone.training.material import prepare
from markone.training.run import Run

ROWS = np.arange(30)


def masks_and_maps(
    seed: int, *, samples: int = 5, classes: int = 4, void: float = 0.2
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random maps (n, classes, 6, 7) in float64 and masks, some pixels of which are void."""
    random = torch.Generator().manual_seed(seed)
    maps = torch.randn(samples, classes, 6, 7, generator=random, dtype=torch.float64)
    masks = torch.randint(0, classes, (samples, 6, 7), generator=random, dtype=torch.uint8)
    return maps, masks.masked_fill_(torch.rand(masks.shape, generator=random) < void, VOID)


def tiny(**fields: Any) -> Recipe:
    """48 small shapes, a thin U-Net, two epochs."""
    plain = {
        "data": {"kind": "shapes", "samples": 48, "size": 16},
        "task": "segmentation",
        "net": {"kind": "unet", "width": 4, "depth": 2, "normalization": "batch", "dropout": 0.2},
        "augmentation": {"flip": True, "crop": 2, "cutout": 3, "brightness": 0.2},
        "batch_size": 8,
        "epochs": 2,
        "precision": "float32",
        "device": "cpu",
    }
    return Recipe.from_dict({**plain, **fields})


@given(seed=st.integers(0, 2**31), classes=st.integers(2, 6))
@settings(deadline=None, max_examples=30)
def test_metrics_are_scikit_learns(seed: int, classes: int) -> None:
    maps, masks = masks_and_maps(seed, classes=classes)
    known = (masks != VOID).flatten().numpy()
    truth, guess = masks.flatten().numpy()[known], maps.argmax(1).flatten().numpy()[known]
    counts, there = pixel_counts(maps, masks)
    matrix = confusion_matrix(truth, guess, labels=range(classes))
    assert counts[:, 0].sum(0).tolist() == matrix.diagonal().tolist()
    assert counts[:, 1].sum(0).tolist() == matrix.sum(0).tolist()
    assert there.sum(0).tolist() == matrix.sum(1).tolist()
    present = np.union1d(truth, guess)
    wanted = jaccard_score(truth, guess, labels=present, average="macro")
    assert mean_iou(counts, there) == pytest.approx(wanted, rel=1e-12)
    assert pixel_accuracy(counts, there) == pytest.approx((truth == guess).mean(), rel=1e-12)


def test_a_class_that_is_nowhere_has_no_share_in_the_mean() -> None:
    masks = torch.tensor([[[0, 0, 1, 1]]], dtype=torch.uint8)
    maps = torch.nn.functional.one_hot(torch.tensor([[[0, 1, 1, 1]]]), 5).movedim(3, 1).float()
    assert mean_iou(*pixel_counts(maps, masks)) == pytest.approx((1 / 2 + 2 / 3) / 2)


@given(seed=st.integers(0, 2**31), smoothing=st.sampled_from((0.0, 0.1, 0.7)))
@settings(deadline=None, max_examples=30)
def test_loss_is_that_of_the_known_pixels_as_samples(seed: int, smoothing: float) -> None:
    """The second implementation is the loss of classification, on a list of pixels."""
    maps, masks = masks_and_maps(seed)
    known = masks != VOID
    loss = CrossEntropy().build(label_smoothing=smoothing)
    wanted = loss(maps.movedim(1, 3)[known], masks[known].long())
    assert float(loss(maps, masks)) == pytest.approx(float(wanted), rel=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_void_pixels_have_no_gradient(smoothing: float) -> None:
    maps, masks = masks_and_maps(0)
    maps.requires_grad_()
    CrossEntropy().build(label_smoothing=smoothing)(maps, masks).backward()
    assert maps.grad is not None
    assert torch.equal(maps.grad.any(dim=1), masks != VOID)


def test_loss_of_void_pixels_alone_is_zero() -> None:
    maps, masks = masks_and_maps(0, void=2.0)
    maps.requires_grad_()
    loss = CrossEntropy().build()(maps, masks)
    loss.backward()
    assert float(loss.detach()) == 0
    assert maps.grad is not None
    assert not maps.grad.any()


def test_loss_passes_the_gradient_check() -> None:
    maps, masks = masks_and_maps(0, samples=2)
    loss = CrossEntropy().build(label_smoothing=0.1)
    assert torch.autograd.gradcheck(lambda scores: loss(scores, masks), maps.requires_grad_())


def test_blind_guess_is_what_the_best_constant_maps_get() -> None:
    _, masks = masks_and_maps(3, classes=3)
    shares = masks[masks != VOID].bincount().double() / (masks != VOID).sum()
    constant = shares.log().view(1, 3, 1, 1).expand(len(masks), 3, 6, 7)
    assert CrossEntropy().blind_guess(masks, 3) == pytest.approx(float(CrossEntropy().build()(constant, masks)))
    found = Segmentation().blind_guess(masks, Segmentation().code(shapes(), ROWS))
    counts = pixel_counts(constant, masks)
    assert found == pytest.approx({"mean_iou": mean_iou(*counts), "pixel_accuracy": pixel_accuracy(*counts)})


def shapes(**changes: Any) -> Dataset:
    return dataclasses.replace(draw_shapes(samples=30, size=16, noise=8, seed=0), **changes)


def with_masks(masks: np.ndarray[Any, Any], **changes: Any) -> Dataset:
    return shapes(extras={"mask": masks}, **changes)


def test_classes_are_the_background_and_those_of_the_data() -> None:
    names = ("background", "circle", "square", "triangle", "cross", "ring")
    assert Segmentation().code(shapes(), ROWS).classes == names
    numbers = shapes(mask_classes=None)
    assert Segmentation().code(numbers, ROWS).classes == tuple(f"class {k}" for k in range(6))


def test_a_chosen_value_is_void() -> None:
    task = Segmentation(ignore=0)
    masks = task.targets(shapes(), task.code(shapes(), ROWS))
    assert torch.equal(masks == VOID, torch.from_numpy(shapes().extras["mask"] == 0))


@pytest.mark.parametrize(
    ("data", "slug", "words"),
    [
        (shapes(extras={}), "task-mismatch", "shapes has no masks.*set task.kind=classification"),
        (with_masks(np.zeros((30, 8, 8), np.uint8)), "data-mask-shape", r"\(30, 8, 8\).*\(30, 16, 16\)"),
        (with_masks(np.zeros((30, 16, 16))), "data-mask-shape", "are float64"),
        (with_masks(np.full((30, 16, 16), 7, np.uint8)), "data-mask-class", "value 7.*end with 5.*task.ignore=7"),
        (with_masks(np.full((30, 16, 16), VOID, np.uint8)), "data-masks-void", "every pixel"),
    ],
)
def test_masks_that_do_not_fit_are_named(data: Dataset, slug: str, words: str) -> None:
    with pytest.raises((SpecError, DataError), match=words) as caught:
        Segmentation().code(data, ROWS)
    assert caught.value.slug == slug


@pytest.mark.parametrize(
    ("fields", "slug", "words"),
    [
        ({"net": "convnet"}, "task-net", "net convnet gives them for the whole picture; set net.kind to .* unet"),
        ({"task": "classification"}, "task-net", "net unet gives scores for every pixel.*set task.kind=segmentation"),
        ({"augmentation": {"mixup": 0.2}}, "augmentation-mixup", "set augmentation.mixup=none"),
        ({"loss": "hinge"}, "loss-task", "not made for segmentation. Allowed: cross-entropy"),
    ],
)
def test_what_does_not_go_together_is_named(fields: dict[str, Any], slug: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=words) as caught:
        fit(tiny(**fields), folder=tmp_path / "run")
    assert caught.value.slug == slug
    assert not (tmp_path / "run").exists()


def test_a_mask_moves_with_its_picture() -> None:
    """Pictures whose channels are their own masks are still so, and the picture moves as it would without a mask."""
    spec, random = Augmentation(flip=True, crop=3), np.random.default_rng(0)
    masks = torch.from_numpy(random.integers(0, 200, (20, 9, 7), dtype=np.uint8))
    pictures = masks.unsqueeze(3).repeat(1, 1, 1, 2)
    moved, also = move_both(pictures, masks, spec, torch_generator(0, "augment"))
    assert torch.equal(moved, also.unsqueeze(3).expand_as(moved))
    assert not torch.equal(also, masks)
    assert torch.equal(moved, move(pictures, spec, torch_generator(0, "augment")))


def test_colour_and_cutout_leave_the_mask_alone() -> None:
    data = shapes()
    masks = torch.from_numpy(data.extras["mask"])
    store = Store(data, masks, Standardize().fit(data, ROWS), device=torch.device("cpu"))
    spec = Augmentation(cutout=4, brightness=0.5, contrast=0.5, colour=0.5)
    batches = Batches(store, ROWS, batch_size=30, augmentation=spec, seed=0)
    plain = Batches(store, ROWS, batch_size=30, augmentation=Augmentation(), seed=0)
    varied, untouched = next(batches.epoch(0)), next(plain.epoch(0))
    assert torch.equal(varied.targets, untouched.targets)
    assert not torch.equal(varied.inputs, untouched.inputs)


@pytest.mark.parametrize("net", ["unet", "fcn-8", "encoder-decoder"])
def test_every_kind_of_net_trains(net: str, tmp_path: Path) -> None:
    fields = {"fcn-8": {"hidden": 8, "depths": (1, 1, 1)}, "encoder-decoder": {"depths": (1, 1)}}.get(net, {"depth": 2})
    run = fit(tiny(net={"kind": net, "width": 4, **fields}), folder=tmp_path / "run")
    assert run.status == "finished"
    assert set(run.metrics()["validation"]) == {"loss", "mean_iou", "pixel_accuracy"}
    assert set(run.facts["blind_guess"]) == {"loss", "batch_loss", "mean_iou", "pixel_accuracy"}
    assert isinstance(diagnose(run), list)


@pytest.mark.parametrize("labels", [False, True])
def test_pictures_of_ones_own_with_masks_train(labels: bool, tmp_path: Path) -> None:
    """Without labels the masks say what to do; with labels a net that gives maps does."""
    data = shapes()
    arrays = {"images": data.inputs, "masks": data.extras["mask"]} | ({"labels": data.targets} if labels else {})
    np.savez(tmp_path / "pictures.npz", **arrays)  # type: ignore[arg-type]
    sets = ["net.width=4", "net.depth=1", "precision=float32", *(["net.kind=unet"] if labels else [])]
    options = [part for edit in sets for part in ("--set", edit)]
    run = tmp_path / "run"
    command = ["train", str(tmp_path / "pictures.npz"), "--epochs", "1", "--folder", str(run), *options]
    assert main(command) == 0
    recipe, card = Run(run).recipe, Run(run).meta["data"]
    assert recipe is not None
    assert (recipe.task.kind, recipe.net.kind) == ("segmentation", "unet")
    assert card["target_code"]["classes"] == [f"class {k}" for k in range(6)]
    assert 0 < Run(run).metrics()["validation"]["mean_iou"] < 1


def test_void_alone_is_worth_nothing() -> None:
    maps, masks = masks_and_maps(0, void=2.0)
    counts = pixel_counts(maps, masks)
    assert (pixel_accuracy(*counts), mean_iou(*counts)) == (0.0, 0.0)


def test_a_training_part_of_void_alone_is_refused() -> None:
    masks = shapes().extras["mask"].copy()  # type: ignore[attr-defined]
    masks[:20] = VOID
    with pytest.raises(DataError, match="training part is void"):
        Segmentation().code(with_masks(masks), np.arange(20))


def test_evaluation_in_batches_is_that_of_all_at_once(tmp_path: Path) -> None:
    """The loss of all pixels is not the mean of the batches' losses where some have more void pixels than others."""
    from markone.training.evaluate import evaluate
    from markone.training.learner import Learner

    data = draw_shapes(samples=48, size=16, noise=8, seed=0)
    masks = data.extras["mask"].copy()  # type: ignore[attr-defined]
    masks[:20, :, :12] = VOID
    data = dataclasses.replace(data, extras={"mask": masks})
    material = prepare(tiny(), dataset=data)
    net = Learner(material).net.eval()
    rows = np.arange(48)
    found = evaluate(net, material, rows)
    with torch.no_grad():
        maps = net(material.store.standardized(material.store.rows(rows)))
    targets = torch.from_numpy(masks)
    assert found["loss"] == pytest.approx(float(CrossEntropy().build()(maps, targets)), rel=1e-6)
    assert found["mean_iou"] == pytest.approx(mean_iou(*pixel_counts(maps, targets)), rel=1e-12)


def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path: Path) -> None:
    recipe = tiny(regularization={"ema": 0.9})
    whole = fit(recipe, folder=tmp_path / "whole")
    training = Training.begin(recipe, folder=tmp_path / "parts")
    for step in training.steps():
        if step.index == 7:
            break
    resumed = fit(recipe, folder=tmp_path / "parts", resume=True)
    assert resumed.status == "finished"
    a, b = (load_file(run.folder / "net.safetensors") for run in (whole, resumed))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_the_sealed_part_is_judged_with_intervals(tmp_path: Path) -> None:
    run = fit(tiny(), folder=tmp_path / "run")
    found = open_test(run)["metrics"]
    assert set(found) == {"mean_iou", "pixel_accuracy"}
    assert all(0 <= metric["low"] <= metric["value"] <= metric["high"] <= 1 for metric in found.values())


def test_command_line_from_data_to_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sets = ["task.kind=segmentation", "net.kind=unet", "data.samples=60", "data.size=16", "net.width=4"]
    options = [part for pair in sets for part in ("--set", pair)]
    assert main(["train", "shapes", *options, "--epochs", "1", "--folder", str(tmp_path / "run")]) == 0
    assert "validation mean IoU" in capsys.readouterr().out
    assert "Mean IoU" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("net", ["unet", "fcn-16", "segnet"])
def test_a_chosen_net_is_thin(net: str) -> None:
    source = Shapes(samples=30)
    recipe = choose_recipe(source, source.build(), wishes={"net.kind": net}).edit("net.kind", net)
    assert (recipe.task.kind, recipe.net.kind) == ("segmentation", net)
    assert sum(p.numel() for p in recipe.net.build((3, 32, 32), 6).parameters()) < 1_000_000


def test_a_chosen_recipe_fits_the_size() -> None:
    sizes = {12: 1, 16: 2, 32: 3, 64: 4, 128: 4}
    for size, depth in sizes.items():
        source = Shapes(samples=30, size=size)
        recipe = choose_recipe(source, source.build(), wishes={"task": "segmentation"})
        assert (recipe.task.kind, recipe.net.kind, recipe.net.depth) == ("segmentation", "unet", depth)  # type: ignore[union-attr]


@pytest.mark.slow
def test_shapes_are_learned(tmp_path: Path) -> None:
    """By the recipe that is chosen, in about a minute of one core; the mean IoU was 96 %, a blind guess has 14 %."""
    source = Shapes()
    data = source.build()
    recipe = choose_recipe(source, data, wishes={"task": "segmentation"}).edit("device", "cpu")
    run = fit(recipe, folder=tmp_path / "run", dataset=data)
    assert run.metrics()["validation"]["mean_iou"] > 0.9
    assert [finding.slug for finding in diagnose(run)] == []


def test_predicted_masks_are_written_beside_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    from markone.training.evaluate import Predictor

    run = fit(tiny(), folder=tmp_path / "run")
    data, folder = shapes(), tmp_path / "pictures"
    folder.mkdir()
    for place in range(10):  # more than one batch
        Image.fromarray(data.inputs[place]).save(folder / f"{place}.png")
    (folder / "3.png").write_bytes(b"no picture")
    arguments = ["predict", str(tmp_path / "run"), str(folder), "--format", "json", "--masks"]
    assert main([*arguments, str(tmp_path / "masks")]) == 1, "one picture cannot be read"
    rows = json.loads(capsys.readouterr().out)
    predictor = Predictor.load(run)
    for place, row in enumerate(rows):
        assert row["input"] == str(folder / f"{place}.png")
        if place == 3:
            assert "error" in row
            continue
        with Image.open(row["mask"]) as picture:
            assert picture.mode == "P"
            mask = np.array(picture)
        wanted = Segmentation.decide(predictor.scores(data.inputs[place : place + 1]))[0]
        assert mask.tolist() == wanted.tolist()
        assert row["shares"]["background"] == pytest.approx((mask == 0).mean())
    assert not (tmp_path / "masks" / "3.png").exists()
    assert main([*arguments, str(folder)]) == 2
    assert "would replace it" in capsys.readouterr().err


def test_masks_need_a_segmentation(small_recipe: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(small_recipe({"data.kind": "digits", "epochs": 1}), folder=tmp_path / "run")
    np.savez(tmp_path / "x.npz", inputs=np.zeros((1, 8, 8, 1), np.uint8))
    masks = tmp_path / "masks"
    assert main(["predict", str(tmp_path / "run"), str(tmp_path / "x.npz"), "--masks", str(masks)]) == 2
    assert "classification, which gives no masks" in capsys.readouterr().err
    assert not masks.exists()


def test_the_palette_is_pascal_vocs() -> None:
    colours = palette().tolist()
    assert colours[:5] == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]]
    assert (colours[15], colours[20], colours[VOID]) == ([192, 128, 128], [0, 64, 128], [224, 224, 192])
    assert len({tuple(colour) for colour in colours}) == 256
