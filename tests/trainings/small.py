"""Small trainings of many kinds. Each gives all that a watcher could have disturbed; ``watch`` is given its nets and its optimizers.

They do what users do: keep activations by hooks of their own, evaluate between epochs, draw from all three generators, clip, schedule.
"""

import copy
import random
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

Watch = Callable[[Any, Any], AbstractContextManager[Any]]
Ending = dict[str, Any]


class Told:
    """Losses as the script prints them, to the last bit."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def __call__(self, loss: Tensor) -> None:
        self.losses.append(loss.item())
        print(f"{len(self.losses)} {self.losses[-1].hex()}")


def seed(number: int) -> None:
    torch.manual_seed(number)
    np.random.seed(number)
    random.seed(number)


def ending(nets: "list[nn.Module]", optimizers: list[Any], told: Told, **others: Any) -> Ending:
    """Everything there is at the end; copied, so that nothing changes it any more."""
    return {
        "nets": [{name: value.detach().clone() for name, value in net.state_dict().items()} for net in nets],
        "gradients": [[None if one.grad is None else one.grad.clone() for one in net.parameters()] for net in nets],
        "modes": [[module.training for module in net.modules()] for net in nets],
        "optimizers": [copy.deepcopy(optimizer.state_dict()) for optimizer in optimizers],
        "losses": told.losses,
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state(legacy=False),
        "python": random.getstate(),
        "anomaly": (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        **others,
    }


def same(one: Any, other: Any) -> bool:
    """Bit for bit."""
    if isinstance(one, Tensor):
        raw = [value.contiguous().reshape(-1).view(torch.uint8) for value in (one, other)]
        return one.dtype == other.dtype and one.shape == other.shape and torch.equal(*raw)
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) or (one != one and other != other)


def blobs(rows: int, width: int, classes: int) -> tuple[Tensor, Tensor]:
    labels = torch.randint(classes, (rows,))
    return torch.randn(rows, width) + 2 * F.one_hot(labels, width).float(), labels


def mlp(watch: Watch) -> Ending:
    """With a hook of the user's own, a random order, a schedule, and a copy that averages."""
    seed(1)
    x, y = blobs(160, 12, 4)
    net = nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 4))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    kept: list[Tensor] = []
    net[1].register_forward_hook(lambda _module, _inputs, output: kept.append(output.detach().clone()))
    told = Told()
    with watch(net, optimizer):
        average = copy.deepcopy(net)
        for _ in range(3):
            for inputs, labels in DataLoader(TensorDataset(x, y), 16, shuffle=True):
                optimizer.zero_grad()
                loss = F.cross_entropy(net(inputs), labels)
                loss.backward()
                optimizer.step()
                for old, new in zip(average.parameters(), net.parameters(), strict=True):
                    old.data.lerp_(new.data, 0.1)
                told(loss)
            scheduler.step()
    return ending([net, average], [optimizer], told, kept=kept, schedule=scheduler.state_dict())


def cnn(watch: Watch) -> Ending:
    """Batch norm, augmentation from all generators, an evaluation after every epoch."""
    seed(2)
    pictures, labels = torch.randn(96, 1, 10, 10), torch.randint(3, (96,))
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3),
        nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    told = Told()
    with watch(net, optimizer):
        for _ in range(3):
            net.train()
            for x, y in DataLoader(TensorDataset(pictures[:64], labels[:64]), 16, shuffle=True, drop_last=True):
                batch = x.flip(3) if random.random() < 0.5 else x + 0.1 * float(np.random.randn())
                loss = F.cross_entropy(net(batch), y)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                told(loss)
            net.eval()
            with torch.no_grad():
                told(F.cross_entropy(net(pictures[64:]), labels[64:]))
    return ending([net], [optimizer], told)


def dropout(watch: Watch) -> Ending:
    """Every number it draws decides what follows."""
    seed(3)
    x, y = blobs(64, 10, 2)
    net = nn.Sequential(nn.Linear(10, 32), nn.GELU(), nn.Dropout(0.4), nn.Linear(32, 16), nn.Tanh(), nn.Dropout1d(0.2))
    head = nn.Linear(16, 1)
    optimizer = torch.optim.RMSprop([*net.parameters(), *head.parameters()], lr=1e-3)
    told = Told()
    with watch([net, head], optimizer):
        for _ in range(30):
            rows = torch.randperm(64)[: 8 + int(np.random.randint(8))]
            loss = F.binary_cross_entropy_with_logits(head(net(x[rows])).squeeze(1), y[rows].float())
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            told(loss)
    return ending([net, head], [optimizer], told)


class Speaker(nn.Module):
    """Letters in, letters out, by a GRU whose state is given and taken."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.gru = nn.GRU(8, 16, num_layers=2, dropout=0.1, batch_first=True)
        self.out = nn.Linear(16, 11)

    def forward(self, letters: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        values, state = self.gru(self.embedding(letters), state)
        return self.out(values), state


def gru(watch: Watch) -> Ending:
    seed(4)
    text = torch.randint(11, (4, 161))
    net = Speaker()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)
    told = Told()
    with watch(net, optimizer):
        state = None
        for place in range(0, 160, 8):
            scores, state = net(text[:, place : place + 8], state)
            state = state.detach()
            loss = F.cross_entropy(scores.transpose(1, 2), text[:, place + 1 : place + 9])
            optimizer.zero_grad()
            loss.backward()
            told(nn.utils.clip_grad_norm_(net.parameters(), 0.5))
            optimizer.step()
            scheduler.step()
            told(loss)
    return ending([net], [optimizer], told, state=state)


class Reader(nn.Module):
    """A transformer that says the class of a sentence."""

    def __init__(self, *, recompute: str | None = None) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 16)
        self.place = nn.Parameter(torch.zeros(1, 9, 16))
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True), 2)
        self.head = nn.Linear(16, 5)
        self.recompute = recompute

    def forward(self, words: Tensor) -> Tensor:
        values = self.embedding(words) + self.place
        if self.recompute is None or not self.training:
            return self.head(self.encoder(values, src_key_padding_mask=words.sort(1)[0] > 15).mean(1))
        for layer in self.encoder.layers:
            values = checkpoint(layer, values, use_reentrant=self.recompute == "reentrant")
        return self.head(values.mean(1))


def transformer(watch: Watch) -> Ending:
    """Evaluates by torch's fast path, which hooks on its layers would switch off."""
    return _read(5, watch, None)


def recomputing(watch: Watch) -> Ending:
    """Activation checkpointing: forward passes, and counts of saved tensors, within backward passes."""
    return _read(6, watch, "plain")


def recomputing_reentrant(watch: Watch) -> Ending:
    return _read(7, watch, "reentrant")


def _read(number: int, watch: Watch, recompute: str | None) -> Ending:
    seed(number)
    net = Reader(recompute=recompute)
    words, labels = torch.randint(20, (40, 9)), torch.randint(5, (40,))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=18)
    told = Told()
    with watch(net, optimizer):
        for _ in range(6):
            net.train()
            for rows in torch.randperm(32).split(12):
                optimizer.zero_grad()
                loss = F.cross_entropy(net(words[rows]), labels[rows], label_smoothing=0.1)
                loss.backward()
                optimizer.step()
                scheduler.step()
                told(loss)
            net.eval()
            with torch.no_grad():
                told(F.cross_entropy(net(words[32:]), labels[32:]))
    return ending([net], [optimizer], told)


def frozen_encoder(watch: Watch) -> Ending:
    """Only the head learns; the frozen encoder takes the fast path in training, too."""
    seed(8)
    net = Reader().eval()
    for part in (net.embedding, net.encoder):
        part.requires_grad_(False)
    net.place.requires_grad_(False)
    words, labels = torch.randint(20, (40, 9)), torch.randint(5, (40,))
    optimizer = torch.optim.Adam(net.head.parameters(), lr=1e-2)
    told = Told()
    with watch(net, optimizer):
        for _ in range(20):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(words), labels)
            loss.backward()
            optimizer.step()
            told(loss)
    return ending([net], [optimizer], told)


def bare_encoder(watch: Watch) -> Ending:
    """The net itself is one of torch's encoder layers, whose fast path gives other values for what is masked."""
    seed(9)
    net = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    x, y = torch.randn(24, 5, 8), torch.randn(24, 5, 8)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    told = Told()
    with watch(net, optimizer):
        for _ in range(15):
            net.train()
            loss = F.mse_loss(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            told(loss)
            net.eval()
            with torch.no_grad():
                told(net(x, src_key_padding_mask=x[:, :, 0].sort(1)[0] > 1).sum())
    return ending([net], [optimizer], told)


def autoencoder(watch: Watch) -> Ending:
    """Variational: draws within its loss."""
    seed(10)
    x = torch.rand(48, 14)
    encoder, decoder = nn.Linear(14, 6), nn.Sequential(nn.Linear(3, 12), nn.ELU(inplace=True), nn.Linear(12, 14))
    optimizer = torch.optim.Adam([{"params": encoder.parameters()}, {"params": decoder.parameters(), "lr": 2e-3}], 1e-3)
    told = Told()
    with watch((encoder, decoder), optimizer):
        for _ in range(25):
            mean, spread = encoder(x).chunk(2, 1)
            code = mean + spread.exp() * torch.randn_like(mean)
            loss = F.binary_cross_entropy_with_logits(decoder(code), x, reduction="sum") / len(x)
            loss = loss - 0.5 * (1 + 2 * spread - mean**2 - (2 * spread).exp()).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            told(loss)
    return ending([encoder, decoder], [optimizer], told)


def gan(watch: Watch) -> Ending:
    """Two optimizers; spectral normalization, and a penalty on gradients of gradients."""
    seed(11)
    maker = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.LeakyReLU(0.2), nn.Linear(16, 2))
    judge = nn.Sequential(nn.utils.spectral_norm(nn.Linear(2, 16)), nn.LeakyReLU(0.2), nn.Linear(16, 1))
    ours, theirs = (torch.optim.Adam(net.parameters(), 2e-3, betas=(0.5, 0.999)) for net in (maker, judge))
    told = Told()
    with watch([maker, judge], [ours, theirs]):
        for _ in range(15):
            real = torch.randn(16, 2) * 0.3 + 1
            fake = maker(torch.randn(16, 4))
            between = (real + fake.detach()).div(2).requires_grad_()
            (slope,) = torch.autograd.grad(judge(between).sum(), between, create_graph=True)
            theirs.zero_grad()
            loss = F.softplus(-judge(real)).mean() + F.softplus(judge(fake.detach())).mean()
            (loss + 10 * (slope.norm(dim=1) - 1).square().mean()).backward()
            theirs.step()
            ours.zero_grad()
            fooled = F.softplus(-judge(fake)).mean()
            fooled.backward()
            ours.step()
            told(loss)
            told(fooled)
    return ending([maker, judge], [ours, theirs], told)


def mixed_precision(watch: Watch) -> Ending:
    seed(12)
    x, y = blobs(64, 16, 4)
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.LayerNorm(32), nn.Linear(32, 4))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=4)
    told = Told()
    with watch(net, optimizer):
        for number in range(20):
            rows = torch.randperm(64)[:16]
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = F.cross_entropy(net(x[rows]), y[rows])
            loss = loss * (float("inf") if number == 7 else 1.0)  # one step that is skipped
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            told(loss)
    return ending([net], [optimizer], told, scaler=scaler.state_dict())


def all_in_autocast(watch: Watch) -> Ending:
    """The whole loop stands in one autocast block, whose casts of weights are kept."""
    seed(13)
    x, y = blobs(64, 16, 4)
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    told = Told()
    with watch(net, optimizer), torch.autocast("cpu", dtype=torch.bfloat16):
        for _ in range(20):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            told(loss)
    return ending([net], [optimizer], told)


def accumulation(watch: Watch) -> Ending:
    seed(14)
    x, y = blobs(96, 12, 3)
    net = nn.Sequential(nn.Linear(12, 20), nn.SiLU(), nn.Dropout(0.1), nn.Linear(20, 3))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    told = Told()
    with watch(net, optimizer):
        for _ in range(3):
            for number, rows in enumerate(torch.randperm(96).split(8)):
                loss = F.cross_entropy(net(x[rows]), y[rows]) / 4
                loss.backward()
                told(loss)
                if number % 4 == 3:
                    optimizer.step()
                    optimizer.zero_grad()
    return ending([net], [optimizer], told)


def closure(watch: Watch) -> Ending:
    """L-BFGS calls for the gradient as often as it likes."""
    seed(15)
    x = torch.linspace(-2, 2, 40).unsqueeze(1)
    net = nn.Sequential(nn.Linear(1, 12), nn.Tanh(), nn.Linear(12, 1))
    optimizer = torch.optim.LBFGS(net.parameters(), lr=0.5, max_iter=6, line_search_fn="strong_wolfe")
    told = Told()
    with watch(net, optimizer):

        def compute() -> Tensor:
            optimizer.zero_grad()
            loss = F.mse_loss(net(x), x.sin())
            loss.backward()
            return loss

        for _ in range(10):
            told(optimizer.step(compute))
    return ending([net], [optimizer], told)


class Odd(nn.Module):
    """A shared layer, an unused one, outputs of several kinds, and changes in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 12)
        self.shared = nn.Linear(12, 12)
        self.unused = nn.Linear(12, 99)
        self.tied = nn.Linear(12, 12)
        self.tied.weight = self.shared.weight
        self.act = nn.ReLU(inplace=True)
        self.heads = nn.ModuleDict({"a": nn.Linear(12, 2), "b": nn.Linear(12, 1)})
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor, *, scale: float) -> dict[str, Any]:
        self.calls += 1
        values = self.first(x)
        values.mul_(scale)
        values = self.act(self.shared(self.act(values)))
        values = self.tied(values).add_(values)
        first, second = values.split(6, 1)
        return {"a": self.heads["a"](values), "more": (self.heads["b"](values), first.relu_() if False else second)}


def odd_net(watch: Watch) -> Ending:
    """Also with full backward hooks, gradient hooks and retained gradients of the user's own."""
    seed(16)
    net = Odd()
    optimizer = torch.optim.Adagrad(net.parameters(), lr=0.05)
    x, y = torch.randn(30, 6), torch.randint(2, (30,))
    told, seen = Told(), []
    net.heads["b"].register_full_backward_hook(lambda _module, _given, out: seen.append(out[0].clone()))
    net.first.weight.register_hook(lambda gradient: gradient * 0.5)
    with watch(net, optimizer):
        for _ in range(20):
            out = net(x, scale=0.9)
            out["a"].retain_grad()
            loss = F.cross_entropy(out["a"], y) + out["more"][0].square().mean() + 0.1 * out["more"][1].abs().mean()
            optimizer.zero_grad()
            loss.backward(retain_graph=True)
            (0.1 * out["a"].logsumexp(1).mean()).backward()
            seen.append(out["a"].grad.clone())
            optimizer.step()
            told(loss)
    return ending([net], [optimizer], told, seen=seen)


def raw_tensors(watch: Watch) -> Ending:
    """No module anywhere; a step by an optimizer and a step by hand."""
    seed(17)
    x, y = torch.randn(50, 3), torch.randn(50, 1)
    w, b = torch.randn(3, 8, requires_grad=True), torch.zeros(8, requires_grad=True)
    v = torch.randn(8, 1, requires_grad=True)
    optimizer = torch.optim.NAdam([w, b], lr=1e-2)
    told = Told()
    with watch([], optimizer):
        for _ in range(20):
            loss = ((torch.tanh(x @ w + b) @ v - y) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                v -= 0.05 * v.grad
                v.grad.zero_()
            told(loss)
    return ending([], [optimizer], told, tensors=[one.detach().clone() for one in (w, b, v)])


def own_anomaly_mode(watch: Watch) -> Ending:
    """The user looks for NaN with anomaly detection, on for good and in a block."""
    seed(18)
    x, y = blobs(32, 6, 2)
    net = nn.Sequential(nn.Linear(6, 8), nn.Sigmoid(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    told, modes = Told(), []
    with watch(net, optimizer), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(16):
            with torch.autograd.detect_anomaly(check_nan=True) if number in (1, 4) else torch.enable_grad():
                loss = F.cross_entropy(net(x), y)
                optimizer.zero_grad()
                loss.backward()
                modes.append(torch.is_anomaly_check_nan_enabled() if torch.is_anomaly_enabled() else None)
            optimizer.step()
            told(loss)
            if number == 8:
                torch.autograd.set_detect_anomaly(True)
            if number == 12:
                torch.autograd.set_detect_anomaly(False)
    return ending(
        [net], [optimizer], told, modes=[mode for number, mode in enumerate(modes) if number in (1, 4, 9, 12)]
    )


def caught(watch: Watch) -> Ending:
    """Passes that fail and are caught: a wrong batch, a backward pass without a graph."""
    seed(19)
    x, y = blobs(32, 6, 2)
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    told, errors = Told(), []
    with watch(net, optimizer), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for number in range(16):
            try:
                loss = F.cross_entropy(net(x[:, :5] if number in (0, 3) else x), y)
                optimizer.zero_grad()
                if number in (1, 5):
                    loss.backward()
                loss.backward()
                optimizer.step()
                told(loss)
            except RuntimeError as error:
                errors.append(str(error))
    return ending([net], [optimizer], told, errors=errors, said=[str(one.message) for one in said])


def short(watch: Watch) -> Ending:
    """A few steps with all that is listened to: clipping, a schedule, dropout."""
    seed(23)
    x, y = blobs(16, 6, 2)
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    told = Told()
    with watch(net, optimizer):
        for _ in range(6):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 0.5)
            optimizer.step()
            scheduler.step()
            told(loss)
    return ending([net], [optimizer], told)


def compiled(watch: Watch) -> Ending:
    """The optimizer's net is compiled first; what is watched is the compiled one."""
    return _compiled(20, watch, inner=False)


def compiled_inside(watch: Watch) -> Ending:
    """What is watched is the net, but what is called is what torch.compile made of it."""
    return _compiled(21, watch, inner=True)


def _compiled(number: int, watch: Watch, *, inner: bool) -> Ending:
    seed(number)
    torch._dynamo.reset()
    counters.clear()
    x, y = blobs(64, 16, 4)
    plain = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.LayerNorm(32), nn.Linear(32, 4), nn.Softplus())
    net = torch.compile(plain, backend=BACKEND)
    optimizer = torch.optim.Adam(plain.parameters(), lr=1e-2)
    told = Told()
    with watch(plain if inner else net, optimizer):
        for _ in range(16):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            told(loss)
    return ending(
        [plain], [optimizer], told, breaks=dict(counters["graph_break"]), graphs=counters["stats"]["unique_graphs"]
    )


def compiled_step(watch: Watch) -> Ending:
    """Forward pass, loss and the optimizer's step are compiled functions."""
    seed(22)
    torch._dynamo.reset()
    counters.clear()
    x, y = blobs(64, 16, 4)
    net = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 4))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    told = Told()
    with watch(net, optimizer):
        compute = torch.compile(lambda: F.cross_entropy(net(x), y), backend="aot_eager")
        step = torch.compile(lambda: optimizer.step(), backend="aot_eager")
        for _ in range(12):
            optimizer.zero_grad()
            loss = compute()
            loss.backward()
            step()
            told(loss)
    return ending(
        [net], [optimizer], told, breaks=dict(counters["graph_break"]), graphs=counters["stats"]["unique_graphs"]
    )


BACKEND = "inductor"

TRAININGS: dict[str, Callable[[Watch], Ending]] = {
    one.__name__: one
    for one in (
        mlp, cnn, dropout, gru, transformer, recomputing, recomputing_reentrant, frozen_encoder, bare_encoder, autoencoder, gan,
        mixed_precision, all_in_autocast, accumulation, closure, odd_net, raw_tensors, own_anomaly_mode, caught,
    )
}  # fmt: skip
COMPILED = {one.__name__: one for one in (compiled, compiled_inside, compiled_step)}
