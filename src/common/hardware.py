"""What a run ran on, for its record."""

import os
import platform
import subprocess
import sys
from pathlib import Path

from src.common.errors import InputError

try:
    import resource
except ImportError:  # Windows has no such module
    resource = None

_CPUINFO = Path("/proc/cpuinfo")  # Linux alone has it
APPLE_GPU = "Apple GPU"
# What decides how fast a CPU multiplies matrices: its flag -> its name.
_INSTRUCTIONS = {
    "avx2": "AVX2", "avx512f": "AVX512", "avx512_vnni": "AVX512-VNNI", "avx512_bf16": "AVX512-BF16",
    "amx_tile": "AMX", "asimd": "NEON", "sve": "SVE", "bf16": "BF16",
}  # fmt: skip


def cores() -> int:
    """Return how many CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe(gpu: str | None) -> dict:
    """Return the machine as JSON: CPU, cores, memory in GiB, and the GPU that the twin named.

    `instructions` names the CPU's instruction sets; None where only the system knows them.
    """
    import psutil

    flags = cpu_flags()
    return {
        "cpu": _cpu_name(),
        "instructions": " ".join(_INSTRUCTIONS[f] for f in _INSTRUCTIONS if f in flags) or None,
        "cores": cores(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": gpu,
    }


def name(machine: dict) -> str:
    """Return the machine that a speed holds for, in words: the GPU of `describe`, else the CPU."""
    if machine["gpu"]:
        return machine["gpu"]
    cores = "1 core" if machine["cores"] == 1 else f"{machine['cores']} cores"
    parts = machine["cpu"], machine.get("instructions"), cores, f"{machine['memory_gb']:.0f} GiB"
    return ", ".join(filter(None, (*parts, "no GPU")))  # older records lack the instructions


def missing_arithmetic(precision: str, gpu: str | None) -> str | None:
    """Say what this machine lacks to train in `precision`; None where it lacks nothing.

    A CPU that does not list its flags (macOS, Windows) is taken to have them.
    """
    if gpu == APPLE_GPU and precision == "float64":
        return "Apple's GPUs have no float64 arithmetic."
    if gpu or precision not in ("bfloat16", "float16"):
        return None
    if precision == "float16":
        return "Training in float16 needs a GPU, and none was found."
    flags = cpu_flags()
    if not flags or flags & {"avx512_bf16", "amx_bf16", "bf16"}:
        return None
    arm = platform.machine().lower() in ("aarch64", "arm64")
    return (
        f"This CPU lacks the flag {'bf16' if arm else 'avx512_bf16 or amx_bf16'}. On a CPU without "
        "bfloat16 arithmetic it is far slower than float32."
    )


def check_precision(precision: str, gpu: str | None) -> None:
    """Refuse to train in a `precision` that this machine has no arithmetic for.

    Raises:
        InputError: it has none; the message names what is missing.
    """
    if missing := missing_arithmetic(precision, gpu):
        raise InputError(f"{missing} Set precision to float32.")


def peak_memory_mb() -> float:
    """Return the most main memory this process has held so far, in MiB."""
    if resource is None:
        import psutil

        return psutil.Process().memory_info().peak_wset / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, KiB elsewhere


def commit() -> str | None:
    """Return the commit of this checkout, or None outside one."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        result = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    except OSError:
        return None
    return result.stdout.strip() or None


def cpu_flags() -> set[str]:
    """Return what the CPU says it can do; nothing where only the system knows."""
    if _CPUINFO.is_file():
        for line in _CPUINFO.read_text().splitlines():
            if line.startswith(("flags", "Features")):  # x86, ARM
                return set(line.partition(":")[2].split())
    return set()


def _cpu_name() -> str:
    if _CPUINFO.is_file():
        for line in _CPUINFO.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
