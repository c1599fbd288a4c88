"""Where the time of a step goes: oneDNN's own account of its kernels, and the rest."""

import contextlib
import ctypes
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from src.common.clock import WARM_UP
from src.comparison.bench.cells import Cell
from src.comparison.bench.worker import load_plain
from src.config import ExperimentConfig

POINTWISE, OTHER, REORDER, REST, OUTSIDE = KINDS = (
    "1 x 1 convolutions",
    "other convolutions",
    "reordering memory",
    "else in oneDNN",
    "outside oneDNN",
)


def write_profile(
    framework: str, _config: ExperimentConfig, _data_dir: Path, output: BinaryIO, *, cell: dict
) -> None:
    """Write, as JSON, which share of a step of a plain cell each of KINDS takes.

    oneDNN computes the convolutions of both frameworks on x86, and says how long each took.
    """
    os.environ["ONEDNN_VERBOSE"] = "profile_exec"  # read when it is first used
    cell = Cell(**cell)
    step = load_plain(framework).make_step(*cell.plain)
    for _ in range(WARM_UP):
        step()
    with tempfile.TemporaryFile("w+") as printed:
        with _stdout_to(printed.fileno()):
            began = time.perf_counter()
            step()
            seconds = time.perf_counter() - began
        printed.seek(0)
        output.write(json.dumps(shares(printed.read(), seconds)).encode())


@contextlib.contextmanager
def _stdout_to(file: int) -> Iterator[None]:
    """Let what C code prints within the block go to a file descriptor."""
    flush, stdout = ctypes.CDLL(None).fflush, os.dup(1)
    flush(None)
    os.dup2(file, 1)
    try:
        yield
    finally:
        flush(None)
        os.dup2(stdout, 1)
        os.close(stdout)


def shares(printed: str, seconds: float) -> dict[str, float]:
    """Return the share of each of KINDS in a step of so many seconds; {} where oneDNN did nothing.

    Kernels that run side by side count in full, so the shares may sum to more than 1.

    Args:
        printed: lines as oneDNN prints them: onednn_verbose,...,exec,cpu,convolution,...,the
            problem,milliseconds.
    """
    spent = dict.fromkeys(KINDS, 0.0)
    if ",exec," not in printed:
        return {}
    for line in printed.splitlines():
        if ",exec," not in line:
            continue
        primitive = line.partition(",exec,")[2].split(",")[1]
        problem, milliseconds = line.split(",")[-2:]
        kind = {"convolution": OTHER, "reorder": REORDER}.get(primitive, REST)
        if kind == OTHER and re.search(r"kh1\D", problem):
            kind = POINTWISE
        spent[kind] += float(milliseconds) / 1000 / seconds
    spent[OUTSIDE] = max(0.0, 1 - sum(spent.values()))
    return spent
