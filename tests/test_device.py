"""Device: what is here is chosen, what is not is refused, and the environment says where a run was made."""

import json
import os
import platform
from pathlib import Path

import pytest
import torch

from markone import device as module
from markone.device import Environment, choose_device, choose_precision, has_bfloat16, memory_bytes
from markone.errors import InputError

CPU = torch.device("cpu")


def test_choose_device() -> None:
    best = "cuda" if torch.cuda.is_available() else "cpu"
    assert choose_device() == choose_device("auto") == choose_device(None) == torch.device(best)
    assert choose_device("cpu") == CPU


@pytest.mark.parametrize("name", ["", "gpu", "cuda:99", "CPU", "meta", "cpu:1", "mps:7", "cuda:-1"])
def test_an_absent_device_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"^device '{name}' is not here. Allowed: auto, cpu") as caught:
        choose_device(name)
    assert caught.value.slug == "device-absent"


def test_devices_that_are_here_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda") == torch.device("cuda")
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(InputError, match=r"Allowed: auto, cpu, cuda:0, cuda:1\.$"):
        choose_device("cuda:2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(InputError, match=r"^device 'cuda' is not here. Allowed: auto, cpu\.$"):
        choose_device("cuda")


def test_choose_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_precision("float32", CPU) == torch.float32
    assert choose_precision("bfloat16", CPU) == torch.bfloat16
    for has, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(module, "has_bfloat16", lambda device, has=has: has)
        assert choose_precision("auto", CPU) == dtype


@pytest.mark.parametrize(
    ("flags", "has"),
    [
        ("flags : fpu avx2 avx512f avx512_bf16", True),
        ("flags : fpu amx_bf16 amx_tile", True),
        ("Features : fp asimd bf16 i8mm", True),
        ("flags : fpu avx2 avx512f", False),
        ("model name : bf16x", False),
    ],
)
def test_bfloat16_by_the_flags_of_the_processor(flags: str, has: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    module._cpu_has_bfloat16.cache_clear()
    monkeypatch.setattr(Path, "read_text", lambda self: flags)
    assert has_bfloat16(CPU) is has
    module._cpu_has_bfloat16.cache_clear()


def test_no_bfloat16_where_nothing_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> str:
        raise FileNotFoundError

    module._cpu_has_bfloat16.cache_clear()
    monkeypatch.setattr(Path, "read_text", refuse)
    assert has_bfloat16(CPU) is False
    module._cpu_has_bfloat16.cache_clear()


@pytest.mark.parametrize(("limit", "counts"), [("1048576\n", True), ("max\n", False), ("9223372036854771712\n", False)])
def test_memory_of_a_container(limit: str, counts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    (tmp_path / "limit").write_text(limit)
    monkeypatch.setattr(module, "CONTAINER_LIMITS", (str(tmp_path / "absent"), str(tmp_path / "limit")))
    assert memory_bytes() == (1048576 if counts else physical)


def test_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    here = Environment.here(CPU)
    assert here.python == platform.python_version()
    assert here.packages["torch"] == torch.__version__
    assert here.device == "cpu"
    assert here.device_name
    assert here.threads == torch.get_num_threads()
    assert here.cores > 0
    assert 2**28 < here.memory_bytes < 2**50
    assert here.commit is None, "no git checkout"
    assert json.loads(json.dumps(here.to_dict()))["packages"]["numpy"] == here.packages["numpy"]


def test_environment_has_the_commit_of_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], [*who, "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    commit = Environment.here(CPU).commit
    assert commit is not None
    assert len(commit) == 12
    assert set(commit) <= set("0123456789abcdef")


def test_environment_without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert Environment.here(CPU).commit is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda() -> None:
    device = choose_device("cuda:0")
    assert isinstance(has_bfloat16(device), bool)
    assert Environment.here(device).device_name == torch.cuda.get_device_name(0)
