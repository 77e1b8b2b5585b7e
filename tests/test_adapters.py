"""The callbacks for Lightning, Hugging Face's Trainer and Keras: real trainings where the framework is installed, and what needs none.

pip install -e ".[lightning,huggingface,keras]" lets all of them run.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from markone.adapters import following
from markone.adapters.following import Following, framework, hear_exceptions, is_number, plain
from markone.diagnosis.diagnose import diagnose
from markone.diagnosis.finding import Severity
from markone.errors import InputError
from markone.training.run import Run

os.environ.setdefault("KERAS_BACKEND", "torch")

STEPS, EPOCHS, BATCH = 24, 3, 16
BOMB_STEP = 5
NAMES = ("lightning", "huggingface", "keras")

pytestmark = pytest.mark.filterwarnings("ignore")  # the frameworks' own, of themselves and of each other

Fit = Callable[..., list[np.ndarray]]


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """After each test torch is as it was before, its signals too."""
    backward, epoch, handler = torch.autograd.backward, DataLoader.__iter__, signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)
    assert torch.autograd.backward is backward
    assert DataLoader.__iter__ is epoch
    assert not torch.is_anomaly_enabled()
    assert not following.open_ones


def data() -> tuple[torch.Tensor, torch.Tensor]:
    """160 points in 8 dimensions, 3 classes."""
    x = torch.randn(160, 8, generator=torch.Generator().manual_seed(1))
    return x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long()


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))


class Bomb:
    """Raises at a given call."""

    def __init__(self, error: BaseException | None) -> None:
        self.error, self.calls = error, 0

    def tick(self) -> None:
        self.calls += 1
        if self.error is not None and self.calls == BOMB_STEP:
            raise self.error


def ending(model: nn.Module) -> list[np.ndarray]:
    """The weights and the state of the generator; nothing hangs on the net any more."""
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    return [*(one.detach().numpy().copy() for one in model.parameters()), torch.get_rng_state().numpy()]


def fit_lightning(callbacks: list[Any], *, ill: bool = False, error: BaseException | None = None) -> list[np.ndarray]:
    import lightning.pytorch as lightning

    bomb, (x, y) = Bomb(error), data()

    class Classifier(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = net()

        def training_step(self, batch: Any, number: int) -> torch.Tensor:
            bomb.tick()
            outputs = self.net(batch[0])
            if ill:
                outputs = outputs.softmax(1)
            loss = F.cross_entropy(outputs, batch[1])
            self.log("train_loss", loss)
            return loss

        def validation_step(self, batch: Any, number: int) -> None:
            outputs = self.net(batch[0])
            self.log("val_loss", F.cross_entropy(outputs, batch[1]))
            self.log("val_accuracy", (outputs.argmax(1) == batch[1]).float().mean())

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=0.01)

    torch.manual_seed(0)
    model = Classifier()
    trainer = lightning.Trainer(
        max_epochs=EPOCHS, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=callbacks,
    )  # fmt: skip
    training = DataLoader(TensorDataset(x[:128], y[:128]), batch_size=BATCH, shuffle=True)
    try:
        trainer.fit(model, training, DataLoader(TensorDataset(x[128:], y[128:]), batch_size=BATCH))
    finally:
        after = ending(model)
    return after


def fit_huggingface(callbacks: list[Any], *, ill: bool = False, error: BaseException | None = None) -> list[np.ndarray]:
    import transformers

    bomb, (x, y) = Bomb(error), data()

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net()

        def forward(self, points: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            outputs = self.net(points)
            if ill:
                outputs = outputs.softmax(1)
            return {"loss": F.cross_entropy(outputs, labels), "logits": outputs}

    class Alarm(transformers.TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            bomb.tick()

    transformers.set_seed(0)
    model = Classifier()
    rows = [{"points": point, "labels": label} for point, label in zip(x, y, strict=True)]
    options = transformers.TrainingArguments(
        num_train_epochs=EPOCHS, per_device_train_batch_size=BATCH, learning_rate=0.01, eval_strategy="epoch",
        save_strategy="no", report_to=[], use_cpu=True, disable_tqdm=True, dataloader_pin_memory=False,
    )  # fmt: skip
    trainer = transformers.Trainer(
        model, options, train_dataset=rows[:128], eval_dataset=rows[128:], callbacks=[*callbacks, Alarm()],
        compute_metrics=lambda seen: {"accuracy": (seen.predictions.argmax(1) == seen.label_ids).mean()},
    )  # fmt: skip
    try:
        trainer.train()
    finally:
        after = ending(model)
    return after


def fit_keras(callbacks: list[Any], *, ill: bool = False, error: BaseException | None = None) -> list[np.ndarray]:
    import keras

    bomb, (x, y) = Bomb(error), (one.numpy() for one in data())

    class Alarm(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            bomb.tick()

    keras.utils.set_random_seed(0)
    layers = keras.layers
    last = layers.Dense(3, activation="softmax" if ill else None)
    model = keras.Sequential([layers.Dense(16, activation="relu"), layers.Dropout(0.2), last])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    try:
        model.fit(
            x[:128], y[:128], batch_size=BATCH, epochs=EPOCHS, validation_data=(x[128:], y[128:]), verbose=0,
            callbacks=[*callbacks, Alarm()],
        )  # fmt: skip
    finally:
        after = ending(model)
    return [*after, *model.get_weights()]


FITS: dict[str, Fit] = {"lightning": fit_lightning, "huggingface": fit_huggingface, "keras": fit_keras}
each_framework = pytest.mark.parametrize("name", NAMES)


def watching(name: str, folder: Path | None = None) -> Any:
    """A WatchCallback of a framework, or a skip where that is not installed."""
    pytest.importorskip("accelerate" if name == "huggingface" else name, reason=f"needs the extra {name}")
    return import_module(f"markone.adapters.{name}").WatchCallback(folder)


@pytest.fixture
def fit_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[np.ndarray]]:
    monkeypatch.chdir(tmp_path)  # the frameworks leave folders of their own

    def fit(name: str, callbacks: list[Any], **options: Any) -> list[np.ndarray]:
        return FITS[name](callbacks, **options)

    return fit


@each_framework
def test_a_fit_is_recorded_and_not_disturbed(name: str, fit_of: Fit, tmp_path: Path) -> None:
    callback = watching(name, tmp_path / "run")
    plain_ending, watched_ending = fit_of(name, []), fit_of(name, [callback])
    assert len(plain_ending) == len(watched_ending) > 4
    for a, b in zip(plain_ending, watched_ending, strict=True):
        np.testing.assert_array_equal(a, b)

    run: Run = callback.run.finished
    assert run.folder == tmp_path / "run"
    assert (run.status, run.steps) == ("finished", STEPS)
    losses = run.scalars("loss", "batch")
    assert losses.steps.tolist() == list(range(1, STEPS + 1))
    assert losses.values[-8:].mean() < losses.values[:8].mean()
    assert [len(series) for series in run.vitals("gradient_norm").values()] >= [1, 1]
    assert [layer.role for layer in run.layers].count("weights") == 2
    for metric in ("loss", "accuracy"):
        assert run.scalars(metric, "validation").steps.tolist() == [8, 16, 24]
    assert not [one.message for one in diagnose(run) if one.severity is Severity.SEVERE]
    seen = run.facts[
        "samples"
    ]  # of Lightning not the first batch: its module is never called, and what is in it not known yet
    assert 128 - BATCH <= seen["training"] <= 128
    assert seen["validation"] == 32


@each_framework
def test_its_bug_is_proven(name: str, fit_of: Fit, tmp_path: Path) -> None:
    callback = watching(name, tmp_path / "run")
    fit_of(name, [callback], ill=True)
    findings = {one.slug: one for one in diagnose(callback.run.finished)}
    found = findings["double-softmax"]
    assert found.severity is Severity.SEVERE
    assert found.since_step == 1
    assert found.place is not None
    file, _, line = found.place.rpartition(":")
    assert Path(file).name == Path(__file__).name
    text = Path(__file__).read_text(encoding="utf-8").splitlines()[int(line) - 1]
    assert ("model.fit(" if name == "keras" else "outputs.softmax(1)") in text


@each_framework
@pytest.mark.parametrize(
    ("error", "status"), [(ValueError("no such luck"), "failed"), (KeyboardInterrupt(), "interrupted")]
)
def test_what_raises_ends_the_watching(
    name: str, error: BaseException, status: str, fit_of: Fit, tmp_path: Path
) -> None:
    callback = watching(name, tmp_path / "run")
    with pytest.raises((type(error), SystemExit)):  # Lightning leaves the program after Ctrl-C
        fit_of(name, [callback], error=error)
    run = callback.run.finished
    assert run.status == status
    assert run.steps == BOMB_STEP - 1
    assert [one.kind for one in run.events][-1] == status


@each_framework
def test_one_callback_follows_two_fits(name: str, fit_of: Fit, tmp_path: Path) -> None:
    callback = watching(name, tmp_path / "run")
    runs = []
    for _ in range(2):
        fit_of(name, [callback])
        runs.append(callback.run.finished)
    assert [run.folder.name for run in runs] == ["run", "run-2"]
    assert [(run.status, run.steps) for run in runs] == [("finished", STEPS)] * 2
    assert np.array_equal(*(run.scalars("loss", "batch").values for run in runs))


@each_framework
def test_a_fit_after_one_that_failed_is_followed(name: str, fit_of: Fit, tmp_path: Path) -> None:
    callback = watching(name, tmp_path / "run")
    with pytest.raises(ValueError, match="no such luck"):
        fit_of(name, [callback], error=ValueError("no such luck"))
    fit_of(name, [callback])
    assert callback.run.finished.steps == STEPS


@each_framework
def test_importing_it_imports_nothing(name: str) -> None:
    code = (
        f"import sys; import markone.adapters.{name};"
        "print(*{'torch', 'lightning', 'pytorch_lightning', 'transformers', 'keras', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    ("name", "title", "absent"),
    [
        ("lightning", "Lightning", ["lightning", "lightning.pytorch", "pytorch_lightning"]),
        ("huggingface", "Hugging Face Transformers", ["transformers"]),
        ("keras", "Keras", ["keras"]),
    ],
)
def test_a_missing_framework_is_named(
    name: str, title: str, absent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in absent:
        monkeypatch.setitem(sys.modules, module, None)
    adapter = import_module(f"markone.adapters.{name}")
    adapter.callback.cache_clear()
    with pytest.raises(InputError) as caught:
        _ = adapter.WatchCallback
    assert caught.value.slug == "extra-missing"
    assert str(caught.value) == (
        f"the callback for {title} needs {title}; install it with: pip install 'markone[{name}]'."
    )


@each_framework
def test_every_extra_exists_and_is_no_part_of_development(name: str) -> None:
    import tomllib

    extras = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    extras = extras["project"]["optional-dependencies"]
    assert extras[name]
    assert not set(extras[name]) & set(extras["dev"])


@each_framework
def test_there_is_nothing_else_in_it(name: str) -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Watcher'"):
        _ = import_module(f"markone.adapters.{name}").Watcher


def test_keras_needs_its_torch_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    from markone.adapters import keras

    monkeypatch.setitem(sys.modules, "keras", SimpleNamespace(backend=SimpleNamespace(backend=lambda: "jax")))
    keras.callback.cache_clear()
    with pytest.raises(InputError) as caught:
        keras.callback()
    assert caught.value.slug == "keras-backend"
    assert str(caught.value) == (
        "Keras runs on jax here, and only its torch backend can be watched; set KERAS_BACKEND=torch before Keras is imported."
    )


def test_a_framework_that_lacks_something_itself_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_framework.py").write_text("import a_part_that_is_missing\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_part_that_is_missing"):
        framework("broken_framework", extra="broken", name="Broken")


def test_what_the_program_has_imported_is_taken_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning goes by two names, and a program uses one of them."""
    assert framework("no_such_framework.at_all", "json", extra="x", name="X").__name__ == "json"
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    monkeypatch.setitem(sys.modules, "second_framework", SimpleNamespace(here=True))
    assert framework("colorsys", "second_framework", extra="x", name="X").here
    assert "colorsys" not in sys.modules


def test_names_and_numbers_of_metrics() -> None:
    assert [plain(name) for name in ("val_loss", "eval/f1", "validation_loss", "valid_acc", "loss", "valuation")] == [
        "loss", "f1", "loss", "acc", "loss", "valuation",
    ]  # fmt: skip
    values = [1, 0.5, torch.tensor(0.5), torch.tensor([0.5]), torch.zeros(2), "0.5", None]
    assert [is_number(value) for value in values] == [True, True, True, True, False, False, False]


class Trainer:
    """A framework in five lines, that tells its callbacks of no exception."""

    def fit(self, callback: Following, error: BaseException | None = None) -> None:
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        callback._begin(model, [optimizer])
        for points, labels in zip(*(one.split(BATCH) for one in data()), strict=True):
            optimizer.zero_grad()
            F.cross_entropy(model(points), labels).backward()
            optimizer.step()
        if error is not None:
            raise error
        callback._evaluated({"val_loss": torch.tensor(0.5), "eval_text": "none"})
        callback._end()


def test_following_a_framework_of_five_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trainer, "fit", Trainer.fit)  # is put back
    hear_exceptions(Trainer, "fit")
    callback = Following(tmp_path / "run", probes=False)
    Trainer().fit(callback)
    assert callback.run is not None
    first = callback.run.finished
    with pytest.raises(RuntimeError, match="out of luck") as caught:
        Trainer().fit(callback, RuntimeError("out of luck"))
    assert caught.traceback[-1].name == "fit"
    with pytest.raises(KeyboardInterrupt):
        Trainer().fit(callback, KeyboardInterrupt())
    runs = [first, *(Run(tmp_path / f"run-{number}") for number in (2, 3))]
    assert [run.status for run in runs] == ["finished", "failed", "interrupted"]
    assert [run.steps for run in runs] == [10, 10, 10]
    assert first.scalars("loss", "validation").values.tolist() == [0.5]


def test_a_fit_inside_another_ends_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An inner fit that fails, and is caught, ends what it began and not what is around it."""
    monkeypatch.setattr(Trainer, "fit", Trainer.fit)
    hear_exceptions(Trainer, "fit")
    outer, inner = Following(tmp_path / "outer", probes=False), Following(tmp_path / "inner", probes=False)
    outer._begin(net(), [])
    with pytest.raises(ValueError, match="inner"):
        Trainer().fit(inner, ValueError("inner"))
    assert list(following.open_ones) == [outer]
    outer._end()
    assert [Run(tmp_path / name).status for name in ("outer", "inner")] == ["finished", "failed"]


PAGE = (Path(__file__).parents[1] / "docs" / "watch.md").read_text(encoding="utf-8")
SNIPPETS = dict(re.findall(r"^<!-- runs:? ?(\w*) -->\n```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))


def test_every_snippet_of_the_page_is_run() -> None:
    assert set(SNIPPETS) == {"", *NAMES}
    assert PAGE.count("```python") == len(SNIPPETS)


@pytest.mark.parametrize("name", ["", *NAMES])
def test_the_page_shows_what_runs(name: str, tmp_path: Path) -> None:
    if name:
        watching(name)  # or a skip
    (tmp_path / "train.py").write_text(SNIPPETS[name], encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "train.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "unobserved" not in done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    assert Run(folder).status == "finished"
    if not name:
        promised = re.search(r"# (double-softmax train.py:\d+)", SNIPPETS[name])
        assert promised is not None
        assert promised[1] in done.stdout


def test_the_readme_shows_what_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    snippet = next(one for one in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "markone.watch(" in one)
    model = net()

    def train(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        for points, labels in zip(*(one.split(BATCH) for one in data()), strict=True):
            optimizer.zero_grad()
            F.cross_entropy(model(points), labels).backward()
            optimizer.step()

    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1), "train": train}
    exec(snippet, names | {"markone": import_module("markone")})
    (folder,) = (tmp_path / "runs").iterdir()
    assert (Run(folder).status, Run(folder).steps) == ("finished", 10)
