"""Checks of the optimizer's steps: non-finite, lr-too-high, lr-too-low."""

import math
from collections.abc import Iterator

import numpy as np

from markone.diagnosis import thresholds as limit
from markone.diagnosis.evidence import (
    Learning,
    Steps,
    blind_loss,
    confidence,
    ended_finite,
    enough_vitals,
    first_step,
    is_over,
    learning,
    log_ratio,
    sampled_steps,
    skill,
)
from markone.diagnosis.finding import Finding, Severity
from markone.training.run import Run


def lr_too_high(run: Run) -> Iterator[Finding]:
    state = learning(run)
    if state is None: return
    blind = blind_loss(run)
    batch = run.scalars("loss", "batch")
    v = batch.values[np.isfinite(batch.values)]
    if len(v)>=5: v=np.median(np.lib.stride_tricks.sliding_window_view(v,5),axis=1)
    low = np.minimum.accumulate(v)
    rise = float((v-low).max()/blind) if len(v) else 0.
    s = sampled_steps(run)
    fg=s.gain[np.isfinite(s.gain)]
    if len(fg): rise=max(rise,float((-fg).max())/blind)
    late = s.at_full_rate.recent
    if len(late) and len(s)>=8:
        med = float(np.nanmedian(late.ratio)) if np.isfinite(late.ratio).any() else math.nan
    else: med=math.nan
    over = float(np.mean(s.gain<0)) if len(s) else 0.
    why=None
    if not ended_finite(run):
        if run.steps>1 and (rise>=limit.THROWN or over>=.5): why="diverged"
    elif rise*(1-min(1,state.learned))>=limit.THROWN and state.learned<=.9: why="thrown"
    elif med<=limit.OVERSHOOT and state.now>=limit.LOSS_LEFT: why="hover"
    elif state.now-state.best>=limit.LOST and rise>=limit.LOST: why="lost"
    if why:
        sev = Severity.SEVERE if state.learned<=.1 else Severity.WARNING if state.learned<=.9 else Severity.NOTE
        yield Finding("lr-too-high",sev,why,0,0,0,evidence=dict(rise=rise,med=med,over=over))

def path_length(run):
    u=run.vitals("update_ratio").get("net")
    if u is None or len(u)<2: return math.nan
    return float(np.interp(np.arange(1,run.steps+1),u.steps,u.values).sum())

def lr_too_low(run):
    state=learning(run)
    if state is None or not enough_vitals(run): return
    s=sampled_steps(run); late=s.at_full_rate
    med=float(np.nanmedian(late.ratio)); U=float(np.median(late.update_ratio)); path=path_length(run)
    if not med>=limit.SHORT or state.learned>=.9: return
    sk=skill(run,"validation") or skill(run,"training")
    rising=0.
    if sk and len(sk)>=4:
        n=len(sk)//2; rising=float(np.mean(sk.values[-2:])-np.mean(sk.values[max(0,n-2):n]))
    why=None
    if path<=limit.SMALL_PATH and (state.learned<=.25 or rising>=limit.STILL_RISING): why="still"
    elif rising>=limit.STILL_RISING: why="slow"
    if why:
        sev=Severity.SEVERE if state.learned<=.1 else Severity.WARNING if why=='still' or U<=limit.SMALL_UPDATE else Severity.NOTE
        yield Finding("lr-too-low",sev,why,0,0,0,evidence=dict(med=med,U=U,path=path,rising=rising))
