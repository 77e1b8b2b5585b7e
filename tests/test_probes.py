"""Each probe tells an ill net from a healthy one, and leaves nothing behind."""

import math
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.data import default_collate

from markone.training import copies, probes
from markone.training.copies import Subject, isolate
from markone.training.watch import watch

PROBES: tuple[Callable[[Subject], Any], ...] = (
    probes.cross_talk,
    probes.dropout_in_eval,
    probes.train_eval_gap,
    probes.zero_input,
    lambda subject: probes.fit_rows(subject, steps=3),
    lambda subject: probes.shuffled_labels(subject, steps=3),
)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


class Conv(nn.Module):
    """Flattens its maps in the right order, or after the channels were brought to the front: then rows are mixed."""

    def __init__(self, *, mixes: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4 * 36, 3)
        self.mixes = mixes

    def forward(self, x: Tensor) -> Tensor:
        maps = F.relu(self.norm(self.conv(x)))
        if self.mixes:
            maps = maps.permute(1, 0, 2, 3).contiguous()
        return self.head(maps.view(len(x), -1))


class Recurrent(nn.Module):
    """Classifies (rows, times, 5) by the last time."""

    def __init__(self, cell: type[nn.RNNBase] = nn.LSTM, *, batch_first: bool = True) -> None:
        super().__init__()
        self.rnn = cell(5, 8, batch_first=batch_first)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.head(self.rnn(x)[0][:, -1])}


class TimeFirst(nn.Module):
    """Classifies (times, rows, 5)."""

    def __init__(self, *, per_time: bool) -> None:
        super().__init__()
        self.rnn, self.head, self.per_time = nn.GRU(5, 8), nn.Linear(8, 3), per_time

    def forward(self, x: Tensor) -> Tensor:
        out = self.head(self.rnn(x)[0])
        return out.reshape(-1, 3) if self.per_time else out[-1]


class LanguageModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(6, 6, 2)
        self.words = nn.Embedding(11, 6)

    def forward(self, tokens: Tensor, hidden: tuple[Tensor, Tensor]) -> tuple[Tensor, Any]:
        out, hidden = self.rnn(self.words(tokens), hidden)
        return (out @ self.words.weight.T).view(-1, 11), hidden


class Output(NamedTuple):
    logits: Tensor
    state: Tensor


class Transformer(nn.Module):
    def __init__(self, *, batch_first: bool = True, per_token: bool = False) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=batch_first)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(8, 11)
        self.per_token = per_token

    def forward(self, tokens: Tensor) -> Output:
        state = self.encoder(self.words(tokens))
        return Output(self.head(state if self.per_token else state.mean(1)), state)


class Dropping(nn.Module):
    def __init__(self, drop: Callable[[Tensor, bool], Tensor]) -> None:
        super().__init__()
        self.first, self.last, self.drop = nn.Linear(5, 16), nn.Linear(16, 3), drop

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.drop(F.relu(self.first(x)), self.training))


class Vae(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(5, 4), nn.Linear(2, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.encode(x).chunk(2, dim=1)
        return self.decode(mean + torch.randn_like(mean) * (log_variance / 2).exp()), mean, log_variance


class Blind(nn.Module):
    """Reads nothing of its input but the number of rows."""

    def __init__(self) -> None:
        super().__init__()
        self.bias, self.unused = nn.Parameter(torch.zeros(3)), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.bias.expand(len(x), 3) + 0 * self.unused(torch.zeros(len(x), 5))


def mlp(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 64), *layers, nn.ReLU(), nn.Linear(64, 3))


def prediction(outputs: Any) -> Tensor:
    if isinstance(outputs, dict):
        return outputs["logits"]
    return outputs if isinstance(outputs, Tensor) else outputs[0]


def subject_of(net: nn.Module, *arguments: Any, classes: int = 3, **options: Any) -> Subject:
    """An isolated net with cross-entropy against 0, 1, 2, 0, 1, ..."""
    subject = isolate(net, arguments, options, pick=prediction, loss=loss(0, classes), shuffled=loss(1, classes))
    assert subject is not None
    return subject


def loss(rolled: int, classes: int = 3) -> Callable[[Tensor], Tensor]:
    def mean(logits: Tensor) -> Tensor:
        logits = logits.reshape(-1, classes)
        return F.cross_entropy(logits, (torch.arange(len(logits)) % classes).roll(rolled))

    return mean


def rows(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def tokens(*shape: int) -> Tensor:
    return torch.randint(0, 11, shape, generator=torch.Generator().manual_seed(1))


class TestCrossTalk:
    @pytest.mark.parametrize(
        ("net", "given"),
        [
            (Conv(mixes=True), rows(20, 1, 6, 6)),
            (Recurrent(nn.LSTM, batch_first=False), rows(20, 7, 5)),
            (Recurrent(nn.GRU, batch_first=False), rows(4, 7, 5)),
            (Transformer(batch_first=False), tokens(20, 7)),
            (nn.Sequential(nn.Linear(5, 3), nn.Softmax(dim=0)), rows(20, 5)),
            (nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3, track_running_stats=False)), rows(20, 5)),
        ],
        ids=["view", "lstm", "gru", "transformer", "softmax", "norm"],
    )
    def test_is_seen(self, net: nn.Module, given: Tensor) -> None:
        talk = probes.cross_talk(subject_of(net, given))
        assert talk is not None
        assert talk > 1e-3

    @pytest.mark.parametrize(
        ("net", "arguments"),
        [
            (Conv(), (rows(20, 1, 6, 6),)),
            (Recurrent(), (rows(20, 7, 5),)),
            (Recurrent(nn.GRU), (rows(20, 16, 5),)),
            (Transformer(), (tokens(20, 7),)),
            (Transformer(per_token=True), (tokens(20, 7),)),
            (mlp(nn.BatchNorm1d(64), nn.Dropout()), (rows(20, 5),)),
            (Vae(), (rows(20, 5),)),
            (nn.Conv2d(3, 3, 3, padding=1), (rows(20, 3, 6, 6),)),
        ],
        ids=["conv", "lstm", "gru", "transformer", "tagger", "norm", "vae", "map"],
    )
    def test_is_exactly_zero_between_independent_rows(self, net: nn.Module, arguments: tuple[Any, ...]) -> None:
        assert probes.cross_talk(subject_of(net, *arguments)) == 0

    @pytest.mark.parametrize(
        ("net", "arguments"),
        [
            (TimeFirst(per_time=True), (rows(28, 6, 5),)),
            (TimeFirst(per_time=False), (rows(28, 64, 5),)),  # 16 of 28 times are kept, and 64 = 4 · 16
            (TimeFirst(per_time=True), (rows(28, 1, 5),)),
            (LanguageModel(), (tokens(16, 16), (torch.zeros(2, 16, 6), torch.zeros(2, 16, 6)))),
            (Transformer(batch_first=False, per_token=True), (tokens(9, 4),)),
        ],
        ids=["per-time", "pooled", "one-sequence", "language", "tagger"],
    )
    def test_is_not_claimed_where_the_first_axis_may_be_time(self, net: nn.Module, arguments: tuple[Any, ...]) -> None:
        assert probes.cross_talk(subject_of(net, *arguments, classes=11)) is None

    def test_is_not_claimed_of_what_compares_rows(self) -> None:
        class Similarity(nn.Linear):
            def forward(self, x: Tensor) -> Tensor:
                z = super().forward(x)
                return z @ z.T

        assert probes.cross_talk(subject_of(Similarity(5, 3), rows(20, 5), classes=16)) is None

    def test_of_flattened_outputs_reads_all_of_a_row(self) -> None:
        class Flat(nn.Linear):
            def forward(self, x: Tensor, *, time_major: bool) -> Tensor:
                z = super().forward(x)
                return (z.transpose(0, 1) if time_major else z).reshape(-1, 3)

        assert probes.cross_talk(subject_of(Flat(5, 3), rows(20, 6, 5), time_major=False)) == 0
        assert probes.cross_talk(subject_of(Flat(5, 3), rows(20, 6, 5), time_major=True)) is None

    def test_of_replaced_rows_where_there_is_no_gradient(self) -> None:
        class Cut(nn.Module):
            def __init__(self, net: nn.Module) -> None:
                super().__init__()
                self.net = net

            def forward(self, x: Tensor) -> Tensor:
                with torch.no_grad():
                    return prediction(self.net(x))

        assert probes.cross_talk(subject_of(Cut(Recurrent()), rows(20, 7, 5))) == 0
        ill = probes.cross_talk(subject_of(Cut(Recurrent(batch_first=False)), rows(20, 7, 5)))
        assert ill is not None
        assert ill > 1e-3

    def test_is_none_where_nothing_can_be_said(self) -> None:
        assert probes.cross_talk(subject_of(mlp(), rows(1, 5))) is None
        assert probes.cross_talk(subject_of(mlp(), rows(4, 7))) is None  # forward fails
        assert probes.cross_talk(subject_of(Transformer(), tokens(1, 7).repeat(4, 1))) is None  # equal rows

        def total(outputs: Tensor) -> Tensor:
            return outputs.sum()

        subject = isolate(mlp(), (rows(4, 5),), {}, pick=total)
        assert subject is not None
        assert probes.cross_talk(subject) is None


class TestDropoutInEval:
    @pytest.mark.parametrize(
        "drop",
        [
            lambda x, training: F.dropout(x, 0.5),
            lambda x, training: F.alpha_dropout(x, 0.5, training=True),
            lambda x, training: nn.Dropout(0.2)(x),
            lambda x, training: x * torch.bernoulli(torch.full_like(x, 0.8)),
            lambda x, training: F.scaled_dot_product_attention(x[None], x[None], x[None], dropout_p=0.2)[0],
        ],
        ids=["functional", "alpha", "new-module", "mask", "attention"],
    )
    def test_is_seen_at_its_line(self, drop: Any) -> None:
        drops = probes.dropout_in_eval(subject_of(Dropping(drop), rows(8, 5)))
        assert len(drops) == 1
        operator, _, place = drops[0].partition(" at ")
        assert "bernoulli" in operator or "dropout" in operator
        assert place.endswith(f"test_probes.py:{drop.__code__.co_firstlineno}")

    @pytest.mark.parametrize(
        "net",
        [
            Dropping(lambda x, training: F.dropout(x, 0.5, training)),
            Dropping(lambda x, training: x * torch.bernoulli(torch.sigmoid(x))),  # a Boltzmann machine samples
            Vae(),
            mlp(nn.Dropout(0.9)),
        ],
        ids=["functional", "sampling", "vae", "module"],
    )
    def test_is_not_seen_in_healthy_nets(self, net: nn.Module) -> None:
        assert probes.dropout_in_eval(subject_of(net, rows(8, 5))) == []
        assert probes.dropout_in_eval(subject_of(Transformer(), tokens(8, 5))) == []

    def test_names_no_line_where_only_torch_calls(self) -> None:
        net = mlp(nn.Dropout(0.2))
        net[1].eval = net[1].train = lambda mode=True: net[1]
        assert probes.dropout_in_eval(subject_of(net, rows(8, 5))) == ["bernoulli_"]


class TestLosses:
    def test_gap_of_a_net_whose_running_statistics_are_wrong(self) -> None:
        healthy, ill = mlp(), mlp(nn.BatchNorm1d(64))
        with torch.no_grad():
            ill[1].running_mean.fill_(-50)
        gap = probes.train_eval_gap(subject_of(healthy, rows(20, 5)))
        assert gap is not None
        assert gap["train"] == gap["eval"]
        gap = probes.train_eval_gap(subject_of(ill, rows(20, 5)))
        assert gap is not None
        assert gap["eval"] > 2 * gap["train"]

    @pytest.mark.parametrize("net", [mlp(), Vae(), mlp(nn.BatchNorm1d(64))])
    def test_empty_input_changes_the_loss(self, net: nn.Module) -> None:
        found = probes.zero_input(subject_of(net, rows(20, 5)))
        assert found is not None
        assert found["zero"] != found["loss"]

    def test_empty_input_of_a_blind_net(self) -> None:
        found = probes.zero_input(subject_of(Blind(), rows(20, 5)))
        assert found is not None
        assert found["zero"] == found["loss"] == pytest.approx(math.log(3))
        assert probes.zero_input(subject_of(Blind(), torch.zeros(20, 5))) is None

    def test_tokens_of_other_rows_change_the_loss(self) -> None:
        found = probes.zero_input(subject_of(Transformer(), tokens(20, 7), classes=11))
        assert found is not None
        assert found["zero"] != found["loss"]

    def test_fit_of_few_rows(self) -> None:
        dropping = mlp(nn.Dropout(0.5))
        for net, given in ((dropping, rows(6, 5)), (Recurrent(nn.GRU), rows(6, 4, 5)), (Conv(), rows(6, 1, 6, 6))):
            fitted = probes.fit_rows(subject_of(net, given), seconds=5)
            assert fitted is not None
            assert fitted["after"] < 0.6 * fitted["before"]
            assert 1 <= fitted["steps"] <= 200
        blind = probes.fit_rows(subject_of(Blind(), rows(6, 5)), seconds=5)
        assert blind is not None
        assert blind["after"] == pytest.approx(blind["before"], rel=1e-3)

    def test_fit_is_the_adam_of_torch(self) -> None:
        net = mlp()
        subject = subject_of(net, rows(6, 5))
        fitted = probes.fit_rows(subject, seconds=60, steps=25)
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
        for _ in range(25):
            optimizer.zero_grad()
            loss(0)(net(rows(6, 5))).backward()
            optimizer.step()
        assert fitted is not None
        assert fitted["steps"] == 25
        assert fitted["after"] == pytest.approx(loss(0)(net(rows(6, 5))).item(), rel=1e-5)

    def test_fit_ends_in_time_and_when_it_fits(self) -> None:
        subject = subject_of(mlp(), rows(6, 5))
        fitted = probes.fit_rows(subject, seconds=0)
        assert fitted is not None
        assert fitted["steps"] == 1

        def square(values: Tensor) -> Tensor:
            return values.square().mean()

        easy = isolate(nn.Linear(5, 1), (rows(6, 5) / 100,), {}, pick=prediction, loss=square)
        assert easy is not None
        with torch.no_grad():
            easy.net.bias.fill_(0.1)
        fitted = probes.fit_rows(easy, seconds=60)
        assert fitted is not None
        assert fitted["after"] < 0.01 * fitted["before"]
        assert fitted["steps"] < 200

    def test_fit_under_autocast_moves(self) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            fitted = probes.fit_rows(subject_of(mlp(), rows(6, 5)), seconds=10)
            assert torch.is_autocast_enabled("cpu")
        assert fitted is not None
        assert fitted["after"] < 0.6 * fitted["before"]

    def test_shuffled_labels_are_other_labels(self) -> None:
        subject = subject_of(mlp(), rows(6, 5))
        fitted, shuffled = probes.fit_rows(subject, steps=0), probes.shuffled_labels(subject, steps=0)
        assert fitted is not None
        assert shuffled is not None
        assert fitted["before"] != shuffled["before"]

    def test_are_none_without_a_loss_or_with_one_that_is_no_number(self) -> None:
        for value in (None, lambda values: values.sum() * math.nan):
            subject = isolate(mlp(), (rows(6, 5),), {}, pick=prediction, loss=value, shuffled=value)
            assert subject is not None
            assert [probe(subject) for probe in PROBES[2:]] == [None] * 4


class TestIsolate:
    def test_cuts_what_has_the_batch_axis(self) -> None:
        mask, table = rows(40, 7), rows(7, 40)
        packed = pack_padded_sequence(rows(40, 7, 5), torch.full((40,), 7), batch_first=True)
        options = {
            "x": rows(40, 7, 5).requires_grad_() * 2,
            "more": [mask, (table, "text")],
            "lengths": list(range(40)),
            "packed": packed,
            "hidden": rows(2, 40, 8),
        }
        subject = isolate(nn.Identity(), (), options, most_rows=10, pick=prediction)
        assert subject is not None
        assert subject.rows == 10
        given = subject.options
        assert torch.equal(given["x"], options["x"][:10])
        assert not given["x"].requires_grad
        assert torch.equal(given["more"][0], mask[:10])
        assert torch.equal(given["more"][1][0], table)
        assert given["more"][1][1] == "text"
        assert given["lengths"] == list(range(10))
        assert int(given["packed"].batch_sizes[0]) == 10
        assert given["hidden"].shape == (2, 10, 8)

    def test_copies(self) -> None:
        net, x = mlp(), rows(4, 5)
        subject = subject_of(net, x)
        assert subject.net is not net
        assert subject.arguments[0].data_ptr() != x.data_ptr()
        assert torch.equal(subject.net[0].weight, net[0].weight)

    def test_is_none_where_there_is_nothing_to_copy(self) -> None:
        class Closed(nn.Linear):
            def __deepcopy__(self, _memo: Any) -> Any:
                raise TypeError("cannot be copied")

        holding = mlp()
        holding.lines = (line for line in "ab")
        assert isolate(Closed(5, 3), (rows(4, 5),), {}, pick=prediction) is None
        assert isolate(holding, (rows(4, 5),), {}, pick=prediction) is None
        assert isolate(mlp(), (), {}, pick=prediction) is None
        assert isolate(mlp(), ([*rows(4, 5)],), {}, pick=prediction) is None  # a list of rows
        assert isolate(nn.Sequential(nn.SyncBatchNorm(5)), (rows(4, 5),), {}, pick=prediction) is None

    def test_of_results_kept_on_the_module(self) -> None:
        class Keeping(nn.Linear):
            def forward(self, x: Tensor) -> Tensor:
                self.seen = [super().forward(x)]
                return self.seen[0]

        net = Keeping(5, 3)
        net(rows(4, 5))
        subject = subject_of(net, rows(4, 5))
        assert net.seen[0].grad_fn is not None
        assert probes.cross_talk(subject) == 0

    def test_of_torch_own_hooks_and_wrappers(self) -> None:
        normed = nn.Sequential(parametrizations.spectral_norm(nn.Linear(5, 8)), nn.utils.spectral_norm(nn.Linear(8, 3)))
        normed = nn.Sequential(normed, nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)))
        normed(rows(4, 5))
        for net in (normed, nn.DataParallel(normed)):
            subject = subject_of(net, rows(4, 5))
            assert probes.cross_talk(subject) == 0
            fitted = probes.fit_rows(subject, seconds=5)
            assert fitted is not None
            assert fitted["after"] < fitted["before"]

    def test_of_a_packed_sequence(self) -> None:
        class Packed(nn.GRU):
            def forward(self, x: Any) -> Tensor:
                return super().forward(x)[1][0]

        packed = pack_sequence([rows(3, 5), rows(5, 5), rows(2, 5)], enforce_sorted=False)
        subject = subject_of(Packed(5, 3), packed)
        assert subject.rows == 3
        gap = probes.train_eval_gap(subject)
        assert gap is not None
        assert gap["train"] == gap["eval"]


class Noisy(nn.Module):
    """Draws from every generator, keeps state, prints, changes its input, and fails on demand."""

    def __init__(self, *, fails_at: int | None = None) -> None:
        super().__init__()
        self.norm, self.drop, self.head = nn.BatchNorm1d(5), nn.Dropout(), nn.Linear(5, 3)
        self.calls, self.fails_at = 0, fails_at

    def forward(self, x: Tensor) -> Tensor:
        print("forward", x.shape)
        x.mul_(2)
        noise = torch.rand(1) + float(np.random.rand()) + random.random()
        self.calls += 1
        x = self.head(self.drop(self.norm(x))) + noise
        if self.fails_at is not None and self.calls > self.fails_at:
            raise ValueError("foreign")
        return x


def states() -> tuple[Any, ...]:
    name, keys, *rest = np.random.get_state()
    return torch.get_rng_state().tolist(), name, keys.tolist(), rest, random.getstate()


def held(net: nn.Module) -> dict[str, Tensor]:
    grads = {f"{name}.grad": one.grad for name, one in net.named_parameters() if one.grad is not None}
    flags = {f"{name}.training": torch.tensor(module.training) for name, module in net.named_modules()}
    return {name: value.clone() for name, value in (net.state_dict() | grads | flags).items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


class TestNothingIsDisturbed:
    @pytest.mark.parametrize("fails_at", [None, 0, 1], ids=["whole", "fails", "fails-later"])
    @pytest.mark.parametrize("grad", [True, False])
    def test_by_any_probe(self, fails_at: int | None, grad: bool, capsys: pytest.CaptureFixture[str]) -> None:
        net, x = Noisy(), rows(20, 5)
        net(x.clone()).sum().backward()
        net.norm.eval()
        net.fails_at, net.calls = fails_at, 0
        capsys.readouterr()
        batch, before, drawn = x.clone(), held(net), states()
        with torch.set_grad_enabled(grad):
            subject = subject_of(net, x)
            isolated = held(subject.net)
            for probe in PROBES:
                found = probe(subject)
                assert found in (None, []) or fails_at is None or probe in PROBES[:2]
                assert states() == drawn
                assert torch.is_grad_enabled() == grad
                assert same(held(subject.net), isolated)
                assert torch.equal(subject.arguments[0], batch[:16])
        assert same(held(net), before)
        assert torch.equal(x, batch)
        assert net.calls == 0
        assert capsys.readouterr() == ("", "")

    def test_and_the_noisy_net_is_still_read(self) -> None:
        subject = subject_of(Noisy(), rows(20, 5))
        assert all(probe(subject) not in (None,) for probe in PROBES)

    def test_by_an_interruption(self) -> None:
        class Interrupted(nn.Linear):
            def forward(self, x: Tensor) -> Tensor:
                torch.rand(1), np.random.rand(), random.random()
                raise KeyboardInterrupt

        subject = subject_of(Interrupted(5, 3), rows(4, 5))
        drawn = states()
        with pytest.raises(KeyboardInterrupt):
            probes.zero_input(subject)
        assert states() == drawn

    def test_hooks_of_others_hear_nothing_and_stay(self) -> None:
        heard: list[str] = []
        net = mlp()
        own = net.register_forward_hook(lambda *_: heard.append("own"))
        module = torch.nn.modules.module
        everywhere = module.register_module_forward_hook(lambda *_: heard.append("all"))
        steps = register_optimizer_step_pre_hook(lambda *_: heard.append("step"))
        try:
            subject = subject_of(net, rows(4, 5))
            for probe in PROBES:
                probe(subject)
            assert heard == []
            net(rows(4, 5))
            assert heard.count("own") == 1
            assert heard.count("all") == 4
        finally:
            for handle in (own, everywhere, steps):
                handle.remove()
        assert not module._global_forward_hooks
        assert not module._global_forward_pre_hooks

    def test_hooks_that_are_methods_of_the_net_hear_in_the_copy(self) -> None:
        class Listening(nn.Sequential):
            def __init__(self) -> None:
                super().__init__(nn.Linear(5, 3))
                self.features: list[Tensor] = []
                self[0].register_forward_hook(self.keep)

            def keep(self, _module: nn.Module, _inputs: Any, outputs: Tensor) -> None:
                self.features.append(outputs)

            def forward(self, x: Tensor) -> Tensor:
                self.features.clear()
                super().forward(x)
                return self.features[0]

        net = Listening()
        assert probes.cross_talk(subject_of(net, rows(4, 5))) == 0
        assert net.features == []

    def test_normalization_outside_of_the_net(self) -> None:
        outside = nn.BatchNorm1d(5)

        class Reaching(nn.Linear):
            def forward(self, x: Tensor) -> Tensor:
                return super().forward(outside(x))

        before = held(outside)
        assert probes.train_eval_gap(subject_of(Reaching(5, 3), rows(4, 5))) is None
        assert same(held(outside), before)

    def test_layers_in_a_plain_list_are_copied(self) -> None:
        class Listed(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layers = [nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)]

            def forward(self, x: Tensor) -> Tensor:
                for layer in self.layers:
                    x = layer(x)
                return x

        net = Listed()
        before = held(net.layers[1])
        assert probes.train_eval_gap(subject_of(net, rows(4, 5))) is not None
        assert same(held(net.layers[1]), before)

    def test_in_inference_mode(self) -> None:
        with torch.inference_mode():
            batch = default_collate([row * 2 for row in rows(4, 5)])
            subject = subject_of(mlp(), batch)
            assert probes.cross_talk(subject) == 0
            assert probes.fit_rows(subject, steps=2) is not None
            assert torch.is_inference_mode_enabled()

    def test_numpy_with_another_bit_generator(self) -> None:
        usual = np.random.get_bit_generator()
        np.random.set_bit_generator(np.random.PCG64(3))
        try:
            before = np.random.get_state(legacy=False)
            with copies.undisturbed():
                np.random.rand(5)
            assert np.random.get_state(legacy=False) == before
        finally:
            np.random.set_bit_generator(usual)

    def test_the_compiler_is_not_imported(self) -> None:
        code = """
import sys, torch
from markone.training import copies, probes
subject = copies.isolate(torch.nn.Linear(5, 3), (torch.rand(4, 5),), {}, pick=torch.relu, loss=torch.mean)
for probe in (probes.cross_talk, probes.dropout_in_eval, probes.train_eval_gap, probes.zero_input, probes.fit_rows):
    assert probe(subject) is not None
assert "torch._dynamo" not in sys.modules
"""
        subprocess.run([sys.executable, "-c", code], check=True)

    @pytest.mark.slow
    def test_compiled_nets_run_uncompiled(self) -> None:
        runs: list[int] = []

        def backend(graph: Any, _inputs: Any) -> Any:
            runs.append(1)
            return graph.forward

        net = torch.compile(mlp(nn.Dropout()), backend=backend)
        net(rows(4, 5))
        count = len(runs)
        subject = subject_of(net, rows(4, 5))
        assert probes.cross_talk(subject) == 0
        assert probes.fit_rows(subject, steps=2) is not None
        assert len(runs) == count >= 1
        net(rows(4, 5))
        assert len(runs) == count


def test_a_net_that_raises_when_it_is_called_once_more_is_watched_on(tmp_path: Path) -> None:
    calls: list[int] = []

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            if not self.is_the_one():
                calls.append(1)
                if len(calls) > 3:
                    raise ValueError("too often")
            return cast(Tensor, self.inner(inputs))

        def is_the_one(self) -> bool:
            return self is model

    model = Counting()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, optimizer, folder=tmp_path / "run") as run:
        for _ in range(6):
            optimizer.zero_grad()
            F.cross_entropy(model(rows(8, 4)), torch.arange(8) % 3).backward()
            optimizer.step()
    assert len(calls) > 3
    assert run.failure is None
    assert (run.finished.status, run.finished.steps) == ("finished", 6)
