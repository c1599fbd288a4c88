"""A run that is killed again and again ends with the bytes of one that is not."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from src.common.files import read_json
from src.training.checkpoint import LAST

ROOT = Path(__file__).parents[2]
KILLS = 20
TRAIN = """
import sys
import src.training.run
from src.__main__ import main
src.training.run.SAVE_EVERY = 0.2
sys.exit(main(sys.argv[1:]))
"""


RUNS = {"every block": ("--unfreeze-from", "block1"), "kept outputs": ("--feature-cache",)}
TIMES = ("created", "seconds", "speed", "peak_memory_mb")  # of a record, which differ


def start(framework: str, out: Path, options: tuple[str, ...]) -> subprocess.Popen:
    """Start a training with a checkpoint at about every step; what it keeps lies beside `out`."""
    given = "--evaluate --preset smoke --max-images-per-epoch 128 --finetune-epochs 5"
    command = [
        sys.executable,
        "-c",
        TRAIN,
        "train",
        "--framework",
        framework,
        *given.split(),
        *options,
    ]
    return subprocess.Popen(
        [*command, "--out", out],
        cwd=ROOT,
        env=os.environ | {"BRAIN_TUMOR_CACHE": f"{out}.cache"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill(process: subprocess.Popen, checkpoint: Path, moments: random.Random) -> None:
    """Kill `process` at a random moment: at its start, or within two steps after some steps."""
    before = written(checkpoint)
    if moments.random() < 0.2:
        time.sleep(moments.uniform(0, 3))
    else:
        deadline = time.monotonic() + 120
        while written(checkpoint) == before and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.5))
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run had ended already"


def written(checkpoint: Path) -> int:
    with contextlib.suppress(FileNotFoundError):  # between two checkpoints it has another name
        return checkpoint.stat().st_mtime_ns
    return 0


def left(out: Path) -> set[str]:
    """Return the names of all files of a run and of its cache."""
    folders = (out, Path(f"{out}.cache"))
    return {str(p.relative_to(f)) for f in folders for p in f.rglob("*") if p.is_file()}


def timeless(record: dict) -> dict:
    """Return what is the same whenever and however often a run was interrupted."""
    kept = {name: value for name, value in record.items() if name not in TIMES}
    history = {k: v for k, v in record["history"].items() if k != "epoch_seconds"}
    filled = {stage: each["block"] for stage, each in record["feature_cache"].items()}
    return kept | {"history": history, "feature_cache": filled}


@pytest.mark.full
@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("framework", ["pt", "tf"])
def test_twenty_kills_at_random_moments_change_no_byte(framework, options, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start(framework, whole, options).wait() == 0
    moments = random.Random(0)
    for _ in range(KILLS):
        kill(start(framework, killed, options), killed / LAST, moments)
    assert start(framework, killed, options).wait() == 0
    model = "model.safetensors"
    assert (killed / model).read_bytes() == (whole / model).read_bytes()
    with np.load(killed / "predictions.npz") as one, np.load(whole / "predictions.npz") as two:
        for name in two.files:
            np.testing.assert_array_equal(one[name], two[name])
    one, two = (timeless(read_json(out / "record.json")) for out in (killed, whole))
    assert one == two
    assert left(killed) == left(whole)
