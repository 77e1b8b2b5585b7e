"""What the exception that ended a script says of its training: the values are read from the frames that it passed through."""

from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

from markone.training.places import is_users, place

if TYPE_CHECKING:
    from markone.training.witness import Witness


def see_exception(witness: "Witness", error: BaseException) -> None:
    """Notes the sightings that an exception proves."""
    text, frames = str(error), list(_frames(error))
    line = next((place(one.f_code.co_filename, number) for one, number in reversed(frames) if _is_theirs(one)), None)
    step = witness.step + 1
    loss = next((one for one, _ in reversed(frames) if one.f_code.co_name in ("cross_entropy", "nll_loss")), None)
    if loss is not None and ("out of bounds" in text or "device-side assert" in text):
        witness.sightings.saw("target-out-of-range", line, True, step=step, place=line, **_classes(loss))
    if "binary_cross_entropy" in " ".join(one.f_code.co_name for one, _ in frames) and "between 0 and 1" in text:
        kind = "target-out-of-range" if "target" in text else "missing-softmax"
        given = next((one.f_locals.get("input") for one, _ in reversed(frames) if "input" in one.f_locals), None)
        if given is not None and not bool(given.isfinite().all()):
            witness.not_finite_outputs(place=line)
            return
        details: dict[str, Any] = {"loss": "BCELoss"}
        target = next((one.f_locals.get("target") for one, _ in reversed(frames) if "target" in one.f_locals), None)
        if target is not None:
            details |= {"smallest": float(target.min()), "largest": float(target.max())}
        witness.sightings.saw(kind, line, True, step=step, place=line, **details)
    if "Expected more than 1 value per channel" in text:
        witness.sightings.saw("batch-norm-tiny-batch", None, True, step=step, place=line, rows=1, values=1, raised=True)
    if "backward through the graph a second time" in text or "modified by an inplace operation" in text:
        witness.sightings.saw("memory-growth", "old", True, step=step, place=line, nodes=0, of=0, raised=True)


def _classes(frame: FrameType) -> dict[str, Any]:
    """The outputs and the labels of a cross-entropy that refused."""
    scores, labels = frame.f_locals.get("input"), frame.f_locals.get("target")
    if scores is None or labels is None:
        return {}
    outputs = scores.shape[1] if scores.ndim > 1 else scores.shape[0]
    return {"outputs": int(outputs), "smallest": int(labels.min()), "largest": int(labels.max())}


def _frames(error: BaseException) -> "Iterator[tuple[FrameType, int]]":
    traceback = error.__traceback__
    while traceback is not None:
        yield traceback.tb_frame, traceback.tb_lineno
        traceback = traceback.tb_next


def _is_theirs(frame: FrameType) -> bool:
    return is_users(frame.f_code.co_filename)
