"""Rounds: looking after a training while it runs, so seldom that it costs next to nothing; and the conclusion at its end."""

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markone.diagnosis.finding import Finding
    from markone.training.loop import Step, Training
    from markone.training.run import Run

SHARE = 0.01  # of the time that diagnoses may cost while the training runs
FIRST = 2.0  # seconds before the first one: a training that is over by then is diagnosed once, at its end


class Rounds:
    """Diagnoses at epoch ends; after one that took t seconds the next is due 100 t later."""

    def __init__(self, training: "Training") -> None:
        self._training = training
        self._due = time.monotonic() + FIRST

    def after_epoch(self, step: "Step") -> "list[Finding] | None":
        """The findings as of this step, recorded; None where no diagnosis is due, or the last one comes next."""
        began = time.monotonic()
        if began < self._due or self._training.status is not None:
            return None
        from markone.diagnosis.diagnose import diagnose

        recorder = self._training.recorder
        recorder.flush()
        found = diagnose(self._training.run)
        recorder.findings([finding.to_dict() for finding in found], step=step.index)
        ended = time.monotonic()
        self._due = ended + (ended - began) / SHARE
        return found


def conclude(run: "Run") -> "list[Finding]":
    """The last diagnosis of a training that has ended, kept in its record and its report."""
    from markone.diagnosis.diagnose import diagnose
    from markone.report.html import write_report
    from markone.training.record import Recorder

    found = diagnose(run)
    recorder = Recorder(run.folder)
    recorder.findings([finding.to_dict() for finding in found], step=run.steps)
    recorder.close(run.status)
    write_report(run, found)
    return found
