"""Evaluation, prediction, and the one opening of the sealed test part."""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from markone.data.batches import Batch, in_order
from markone.data.dataset import Column, Part
from markone.data.normalize import Normalizer, Statistics
from markone.data.progress import Progress
from markone.data.split import SplitResult
from markone.device import choose_device, choose_precision
from markone.errors import InputError, RunError
from markone.recipe import Recipe
from markone.tasks.task import TargetCode
from markone.training.material import Material, prepare
from markone.training.record import add_event, write_json
from markone.training.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import nn

    Keep = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]

EVALUATION_BATCH = 256
EVALUATION_BYTES = 2**24  # of a batch's inputs in float32; the first maps of a net are some twenty times as large


def autocast(device: "torch.device", dtype: "torch.dtype") -> "torch.autocast":
    """Computes in ``dtype`` where that is exact enough; does nothing for float32."""
    import torch

    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


@contextmanager
def evaluation_mode(net: "nn.Module") -> Iterator[None]:
    """Every module in evaluation mode, and afterwards each in its own mode again: frozen normalization never trains."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def scores_of(
    net: "nn.Module", batches: Iterable[Batch], dtype: "torch.dtype", *, keep: "Keep | None" = None
) -> "tuple[torch.Tensor, torch.Tensor]":
    """Scores (n, outputs) in float32 and targets (n, ...), or what ``keep`` makes of each batch's; in evaluation mode."""
    import torch

    scores, targets = [], []
    with evaluation_mode(net), torch.inference_mode():
        for batch in batches:
            with autocast(batch.inputs.device, dtype):
                given = net(batch.inputs).float()
            kept = keep(given, batch.targets) if keep else (given, batch.targets)
            scores.append(kept[0])
            targets.append(kept[1])
    return torch.cat(scores), torch.cat(targets)


def evaluate(net: "nn.Module", material: Material, rows: NDArray[np.int64]) -> dict[str, float]:
    """Loss and metrics of the net on some rows, unaugmented."""
    loss, scores, targets = judge(net, material, rows)
    return {"loss": loss, **material.recipe.task.metrics(scores, targets, material.code)}


def judge(net: "nn.Module", material: Material, rows: NDArray[np.int64]) -> "tuple[float, torch.Tensor, torch.Tensor]":
    """The mean loss on some rows, and what the task keeps of scores and targets for its metrics."""
    recipe, task = material.recipe, material.recipe.task
    loss = recipe.loss.build()
    if task.gives == "scores":
        batches = in_order(material.store, rows, batch_size=_batch_size(recipe, material.dataset.input_shape))
        scores, targets = scores_of(net, batches, material.dtype)
        return float(loss(scores, targets)), scores, targets
    losses = []

    def keep(scores: "torch.Tensor", targets: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
        kept = task.kept(scores, targets)
        losses.append(loss(scores, targets).double() * kept[1].sum())
        return kept

    batches = in_order(material.store, rows, batch_size=recipe.batch_size)  # maps are large: as many as fit in training
    counts, there = scores_of(net, batches, material.dtype, keep=keep)
    return float(sum(losses) / there.sum().clamp_min(1)), counts, there


def _batch_size(recipe: Recipe, input_shape: Sequence[int]) -> int:
    """As many as in training, and more where they are small."""
    return max(recipe.batch_size, min(EVALUATION_BATCH, EVALUATION_BYTES // (4 * math.prod(input_shape))))


def load_net(run: Run, *, input_shape: Sequence[int], outputs: int) -> "nn.Module":
    """The net of a run with its kept weights. Raises RunError if there are none yet."""
    from safetensors.torch import load_file

    path = run.folder / "net.safetensors"
    if not path.exists():
        raise RunError(
            "run-no-weights", f"{run.folder} has no weights yet; go on with: markone train --resume {run.folder}"
        )
    net = recipe_of(run).net.build(tuple(input_shape), outputs)
    net.load_state_dict(load_file(path))
    return net.eval()


def recipe_of(run: Run) -> Recipe:
    """The recipe. Raises RunError for a training that was only watched."""
    if run.recipe is None:
        raise RunError("run-no-recipe", f"{run.folder} was watched, not trained from a recipe; this needs a recipe.")
    return run.recipe


def open_test(run: Run, *, progress: Progress | None = None) -> dict[str, Any]:
    """Opens the sealed test part: the estimate with its 95 % interval, and the count of openings, in the record and in ``test.json``.

    The first opening is the estimate; later ones are counted, for what was chosen after looking is no longer unseen.
    """
    recipe = recipe_of(run)
    kept = SplitResult.load(run.folder / "split.npz")
    rows = kept.indices(Part.TEST)
    if len(rows) == 0:
        raise RunError("run-no-test", f"{run.folder} has no test part; split.test was 0.")
    if not (run.folder / "net.safetensors").exists():
        load_net(run, input_shape=(1,), outputs=1)
    material = prepare(recipe, kept=kept, digest=run.data_digest, progress=progress)
    net = load_net(run, input_shape=material.dataset.input_shape, outputs=material.outputs).to(material.device)
    loss, scores, targets = judge(net, material, rows)
    opened = [event.value["at"] for event in Run(run.folder).events if event.kind == "test-opened"]
    opened.append(datetime.now(UTC).isoformat(timespec="seconds"))
    add_event(run.folder, "test-opened", {"at": opened[-1]}, step=run.steps)
    intervals = recipe.task.intervals(scores, targets, material.code, seed=recipe.seed)
    found = {
        "run": run.id,
        "samples": len(rows),
        "metrics": {name: interval.to_dict() for name, interval in intervals.items()},
        "loss": loss,
        "openings": len(opened),
        "opened": opened,
    }
    write_json(run.folder / "test.json", found)
    return found


class Predictor:
    """A trained net with everything that its inputs and scores need: decoding, statistics, classes, units."""

    def __init__(self, run: Run) -> None:
        self.recipe = recipe_of(run)
        card = run.meta.get("data")
        if card is None:
            raise RunError("run-unfinished", f"{run.folder} stopped before its first step; start it again.")
        self.card: dict[str, Any] = card
        self.code = TargetCode.from_dict(card["target_code"])
        self.device = choose_device(self.recipe.device)
        self.dtype = choose_precision(self.recipe.precision, self.device)
        self.net = load_net(
            run,
            input_shape=card["input_shape"],
            outputs=self.recipe.task.outputs(self.code, self.recipe.loss),
        ).to(self.device)

    @staticmethod
    def load(run: Run) -> "Predictor":
        return Predictor(run)

    @cached_property
    def normalizer(self) -> Normalizer:
        statistics = Statistics.from_dict(self.card["statistics"])
        return Normalizer(statistics, images=self.card["images"], device=self.device)

    @property
    def columns(self) -> tuple[Column, ...]:
        return tuple(Column(**column) for column in self.card["columns"])

    def images(self, paths: Sequence[Path], *, masks: Sequence[Path] | None = None) -> list[dict[str, Any]]:
        """Predictions for image files; a file that cannot be read has ``error`` in its place.

        masks: where the mask of each file is written, by a net that gives maps; it is of the size that the net sees.
        """
        if not self.card["images"]:
            raise InputError("predict-needs-table", "this run was trained on a table; give a CSV or Parquet file.")
        from markone.data.pack import decode_for

        decoded = decode_for(self.recipe.data, paths, input_shape=tuple(self.card["input_shape"]))
        scale = self.card["white"] / 255
        readable = [np.rint(picture * scale).astype(np.uint8) for picture in decoded if not isinstance(picture, str)]
        places = [
            path for path, picture in zip(masks or (), decoded, strict=bool(masks)) if not isinstance(picture, str)
        ]
        found = iter(self.arrays(np.stack(readable), masks=places) if readable else [])
        return [
            {"input": str(path), **({"error": picture} if isinstance(picture, str) else next(found))}
            for path, picture in zip(paths, decoded, strict=True)
        ]

    def require_masks(self) -> None:
        """Raises InputError unless the net gives a class for every pixel."""
        kind = self.recipe.task.kind
        if self.recipe.task.gives != "maps":
            raise InputError(
                "predict-no-masks", f"this run was trained for {kind}, which gives no masks; leave out --masks."
            )

    def table(self, path: Path) -> list[dict[str, Any]]:
        """Predictions for the rows of a CSV or Parquet file with the columns of the training's table."""
        from markone.data.table import encode

        if self.card["images"]:
            raise InputError("predict-needs-images", f"this run was trained on images; {path} is a table.")
        inputs, names = encode(path, self.columns)
        return [{"input": name, **row} for name, row in zip(names, self.arrays(inputs), strict=True)]

    def arrays(
        self, inputs: "NDArray[np.uint8] | NDArray[np.float32]", *, masks: Sequence[Path] = ()
    ) -> list[dict[str, Any]]:
        """Predictions for inputs as a Dataset holds them: uint8 (n, height, width, channels), or float32 (n, columns).

        masks: where the mask of each input is written, if at all.
        """
        from markone.data.masks import write_mask

        task, found = self.recipe.task, list[dict[str, Any]]()
        size = self.recipe.batch_size if task.gives == "maps" else _batch_size(self.recipe, self.card["input_shape"])
        for start in range(0, len(inputs), size):
            scores = self.scores(inputs[start : start + size])
            rows = task.present(scores, self.code, self.recipe.loss)
            if masks:
                for row, path, mask in zip(rows, masks[start:], scores.argmax(dim=1).cpu().numpy(), strict=False):
                    write_mask(path, mask.astype(np.uint8))
                    row["mask"] = str(path)
            found += rows
        return found

    def scores(self, inputs: "NDArray[np.uint8] | NDArray[np.float32]") -> "torch.Tensor":
        """Scores (n, outputs) for the same inputs."""
        import torch

        expected = tuple(self.card["input_shape"])
        got = (inputs.shape[3], *inputs.shape[1:3]) if self.card["images"] and inputs.ndim == 4 else inputs.shape[1:]
        if tuple(got) != expected:
            raise InputError("predict-shape", f"inputs have shape {tuple(got)}, but the net was trained on {expected}.")
        pieces = torch.split(
            torch.from_numpy(np.ascontiguousarray(inputs)), _batch_size(self.recipe, self.card["input_shape"])
        )
        none = torch.zeros(0)
        batches = [Batch(self.normalizer(piece.to(self.device)), none) for piece in pieces]
        return scores_of(self.net, batches, self.dtype)[0]
