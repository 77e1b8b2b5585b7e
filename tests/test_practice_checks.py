"""What a watched loop does around its steps: what must not be taken for a fault, and arithmetic against plain loops."""

import linecache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from markone.diagnosis.diagnose import diagnose
from markone.diagnosis.finding import Finding
from markone.training.practice import Practice
from markone.training.precision import distance
from markone.training.scores import _halved
from markone.training.script import run_script
from markone.training.sequences import Aligned, misplaced, padding_in
from markone.training.watch import watch

SOUND = {
    "sigmoid": "out = net(x)\np = out.sigmoid() > 0.5",
    "method": "p = net(x).sigmoid() > 0.5",
    "function": "p = torch.sigmoid(net(x)) > 0.5",
    "named": "out = net(x)\nout = torch.sigmoid(out)\np = out > 0.5",
    "in place": "out = net(x)\nout.sigmoid_()\np = out > 0.5",
    "zero": "out = net(x)\np = out > 0",
    "library": "out = model.predict(net, x)\np = out > 0.5",
    "loop": "out = net(x)\nfor out in things:\n    p = out > 0.5",
    "inner": "out = net(x)\ndef decide(out):\n    return out > 0.5\np = decide(out.sigmoid())",
    "pair": "out, rest = net(x)\np = out > 0.5",
    "labels": "out = net(x)\np = y > 0.5",
}
WRONG = {
    "plain": "p = net(x) > 0.5",
    "named": "out = net(x)\np = out > 0.5",
    "shaped": "out = net(x).squeeze(1)\np = (out.detach().cpu()[:10] >= 0.5).float()",
    "through": "out = net(x)\nlast = out.view(-1)\np = last.gt(0.5)",
    "rounded": "out = net(x)\np = torch.round(out)",
    "method": "p = net(x).round()",
    "within": "def judge(out):\n    out = net(x)\n    return out > 0.5",
}


def halved(code: str, tmp_path: Path) -> list[tuple[int, str]]:
    file = tmp_path / "script.py"
    file.write_text(code)
    linecache.checkcache()
    line = next(number for number, text in enumerate(code.splitlines(), 1) if "net" in text)
    return list(_halved(str(file), line, {"net"}))


@pytest.mark.parametrize("code", SOUND.values(), ids=SOUND)
def test_what_may_be_a_probability_is_left_in_peace(code: str, tmp_path: Path) -> None:
    assert halved(code, tmp_path) == []


@pytest.mark.parametrize("code", WRONG.values(), ids=WRONG)
def test_a_logit_is_compared_with_a_half(code: str, tmp_path: Path) -> None:
    assert len(halved(code, tmp_path)) == 1


def padded(rows: int, length: int, *, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, 9, (rows, length), generator=generator)
    lengths = torch.randint(2, length + 1, (rows,), generator=generator)
    for row, count in enumerate(lengths.tolist()):
        tokens[row, count:] = 0
    return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous(), lengths


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("time_first", [False, True])
def test_padding_is_counted_as_a_plain_loop_counts_it(seed: int, *, time_first: bool) -> None:
    inputs, targets, lengths = padded(16, 20, seed=seed)
    wanted = sum(max(20 - int(length) - 1, 0) for length in lengths) / targets.numel()
    pair = Aligned(targets.T, inputs.T, -100, 0) if time_first else Aligned(targets, inputs, -100, 0)
    found = padding_in(pair, None)
    assert found is not None
    assert found[0] == 0
    assert found[1] == pytest.approx(wanted)


def test_what_is_no_counted_padding() -> None:
    inputs, targets, _ = padded(16, 20, seed=0)
    assert padding_in(Aligned(targets, inputs, 0, 0), None) is None  # ignored
    assert padding_in(Aligned(targets, inputs, -100, 0), torch.tensor([0.0] + [1.0] * 8)) is None  # of no weight
    free = torch.randint(1, 9, inputs.shape, generator=torch.Generator().manual_seed(1))
    assert padding_in(Aligned(targets, free, -100, 0), None) is None  # a background: the inputs go on
    assert padding_in(Aligned(free, free, -100, 0), None) is None
    one_end = free.clone()
    one_end[:, -1] = 0
    assert padding_in(Aligned(one_end, one_end, -100, 0), None) is None


def test_where_the_targets_are() -> None:
    tokens = torch.randint(0, 20, (8, 24), generator=torch.Generator().manual_seed(0))
    for offset, wanted in ((0, 0), (-1, -1), (2, 2), (1, None)):
        targets = tokens.roll(-offset, 1)
        targets[:, -2:] = -100
        targets[:, 0] = -100
        found = misplaced(Aligned(targets, tokens, -100, 0))
        assert (found[0] if found else None) == wanted
    targets, cut = tokens[:, :-1], tokens
    assert misplaced(Aligned(targets, cut, -100, 1)) == (-1, 1.0)  # outputs[:, 1:] against tokens[:, :-1]
    assert misplaced(Aligned(torch.ones_like(tokens), torch.ones_like(tokens), -100, 0)) is None


class Encoder(nn.Module):
    """Sees whole rows, as an autoencoder does."""

    def __init__(self, *, causal: bool) -> None:
        super().__init__()
        self.embed, self.rnn = nn.Embedding(12, 16), nn.GRU(16, 16, batch_first=True, bidirectional=not causal)
        self.out = nn.Linear(16 if causal else 32, 12)

    def forward(self, tokens: torch.Tensor) -> Any:
        return self.out(self.rnn(self.embed(tokens))[0])


@pytest.mark.parametrize("causal", [True, False])
def test_only_a_net_that_is_to_foresee_is_taught_the_wrong_token(tmp_path: Path, *, causal: bool) -> None:
    torch.manual_seed(0)
    net = Encoder(causal=causal)
    optimizer = torch.optim.Adam(net.parameters())
    with watch(net, optimizer, folder=tmp_path / "run") as watching:
        for _ in range(6):
            tokens = torch.randint(12, (16, 10))
            optimizer.zero_grad()
            F.cross_entropy(net(tokens).flatten(0, 1), tokens.clone().flatten()).backward()
            optimizer.step()
    assert watching.failure is None
    slugs = {one.slug for one in diagnose(watching.finished)}
    assert ("targets-shifted" in slugs) is causal


RESUMED = """
import torch
from torch import nn
from pathlib import Path
folder = Path(__file__).parent
net = nn.Linear(4, 1)
optimizer = torch.optim.Adam(net.parameters())
BEFORE
torch.save({"net": net.state_dict(), "optimizer": OLD, "epoch": 2}, folder / "a.pt")
WARM
found = torch.load(folder / "a.pt")
net.load_state_dict(found["net"])
for _ in range(12):
    optimizer.zero_grad()
    net(torch.randn(8, 4)).square().mean().backward()
    optimizer.step()
torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}, folder / "LATER")
"""
STEP = "net(torch.randn(8, 4)).square().mean().backward(); optimizer.step()"
FULL = (
    '{"state": {k: {"step": torch.tensor(9.), "exp_avg": torch.ones_like(p)} for k, p in enumerate(net.parameters())},'
)
FULL += ' "param_groups": optimizer.state_dict()["param_groups"]}'
OTHER = FULL.replace("ones_like(p)", "ones(3, 3)")


@pytest.mark.parametrize(
    ("old", "warm", "later", "severity"),
    [
        (FULL, "", "a.pt", "warning"),
        (FULL, "", "b.pt", "note"),  # perhaps another training
        (OTHER, "", "a.pt", None),  # of another net
        ("optimizer.state_dict()", "", "a.pt", None),  # empty
        (FULL, STEP, "a.pt", None),  # back to older weights in the midst of a training
    ],
    ids=["resumed", "fine-tuned", "other", "empty", "rollback"],
)
def test_what_a_checkpoint_was_for(old: str, warm: str, later: str, severity: str | None, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(RESUMED.replace("BEFORE", "").replace("OLD", old).replace("WARM", warm).replace("LATER", later))
    outcome = run_script(str(script), folder=tmp_path / "run")
    assert outcome.code == 0
    found: list[Finding] = [one for one in diagnose(outcome.run) if one.slug == "resume-loses-state"]
    assert [one.severity.value for one in found] == ([severity] if severity else [])


def test_some_rows_on_the_other_side_of_a_choice_are_no_difference() -> None:
    wide = torch.randn(9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values = wide.float()
    values[:4] = 7.0
    assert distance(values, wide) < 1e-6
    values[:5] = 7.0
    assert distance(values, wide) > 1


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_compiled_net_that_computes_something_else(epochs: int, tmp_path: Path) -> None:
    """A compiler of our own, which is right or off by a tenth."""
    off = 1.0 if epochs == 1 else 1.1
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))

    def compiler(module: Any, _inputs: Any) -> Any:
        return lambda *given: tuple(one * off if one.ndim else one for one in module(*given))

    compiled = torch.compile(net, backend=compiler)
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    with watch(compiled, optimizer, folder=tmp_path / "run") as watching:  # type: ignore[arg-type]
        for _ in range(12):
            optimizer.zero_grad()
            compiled(torch.randn(8, 4)).square().mean().backward()
            optimizer.step()
    assert watching.failure is None
    slugs = {one.slug for one in diagnose(watching.finished)}
    assert ("numerics-differ" in slugs) is (off > 1)
    torch._dynamo.reset()


def test_waiting_counts_batches_that_steps_are_taken_from(monkeypatch: pytest.MonkeyPatch) -> None:
    class Seen:
        step = 0

    clock = iter([10.0, 10.5, 20.0])
    monkeypatch.setattr("markone.training.practice.time.perf_counter", lambda: next(clock))
    practice = Practice.__new__(Practice)
    practice.witness, practice.waited, practice.waits = Seen(), 0.0, 0  # type: ignore[assignment]
    practice.waiting_since, practice._waited_at = None, 0
    for step, began in ((0, 1.0), (1, 9.0), (2, 10.25), (2, 12.0), (3, 18.0)):
        Seen.step = step
        if step and step != practice._waited_at:
            practice.fetched(began)
        elif not step:
            monkeypatch.setattr("markone.training.practice.time.perf_counter", lambda: 1.5)
            practice.fetched(began)
            monkeypatch.setattr("markone.training.practice.time.perf_counter", lambda: next(clock))
    assert (practice.waited, practice.waits) == (0.25 + 2.0, 2)
