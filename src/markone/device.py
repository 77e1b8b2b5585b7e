"""Where a training runs: device, precision, threads; and the Environment that is kept with every Run."""

import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from markone.errors import InputError

if TYPE_CHECKING:
    import torch

Precision = Literal["auto", "float32", "bfloat16"]

PACKAGES = ("markone", "torch", "numpy", "scikit-learn", "pillow", "polars", "pydantic", "safetensors")
CONTAINER_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of cgroups 2 and 1


def choose_device(name: str | None = None) -> "torch.device":
    """The named device, or the best one here: CUDA, then the CPU. Raises InputError if the named one is absent."""
    import torch

    if name in (None, "auto"):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    have = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if name in have or (name == "cuda" and len(have) > 1):
        return torch.device(str(name))
    raise InputError("device-absent", f"device {name!r} is not here. Allowed: auto, {', '.join(have)}.")


def has_bfloat16(device: "torch.device") -> bool:
    """Whether the hardware itself computes in bfloat16, so that it is faster and not only smaller."""
    import torch

    if device.type == "cuda":
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return _cpu_has_bfloat16()


@cache
def _cpu_has_bfloat16() -> bool:
    try:
        words = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False  # nothing tells it there, and float32 is never wrong
    return "avx512_bf16" in words or "amx_bf16" in words or "bf16" in words


def choose_precision(precision: Precision, device: "torch.device") -> "torch.dtype":
    """The dtype that autocast computes in; ``auto`` is bfloat16 where the hardware has it, float32 elsewhere."""
    import torch

    if precision == "auto":
        return torch.bfloat16 if has_bfloat16(device) else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


@dataclass(frozen=True)
class Environment:
    """Versions, hardware and commit: what else decides a result beside the recipe."""

    python: str
    platform: str
    packages: dict[str, str]
    device: str
    device_name: str
    cores: int
    threads: int
    memory_bytes: int
    commit: str | None

    @staticmethod
    def here(device: "torch.device") -> "Environment":
        """The environment of this process."""
        import torch

        return Environment(
            python=platform.python_version(),
            platform=platform.platform(),
            packages={package: found for package in PACKAGES if (found := _version(package))},
            device=str(device),
            device_name=torch.cuda.get_device_name(device) if device.type == "cuda" else _processor_name(),
            cores=os.cpu_count() or 1,
            threads=torch.get_num_threads(),
            memory_bytes=memory_bytes(),
            commit=_commit(),
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def memory_bytes() -> int:
    """Main memory that this process may use: the machine's, or its container's where that is less."""
    least = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in CONTAINER_LIMITS:
        try:
            least = min(least, int(Path(path).read_text()))
        except (OSError, ValueError):  # no such container, or "max": no limit
            continue
    return least


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str | None:
    """The commit of the user's working folder, if it is a git checkout."""
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, timeout=2, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
