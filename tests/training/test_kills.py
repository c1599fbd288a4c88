"""A run that is killed again and again ends with the bytes of one that is not."""

import contextlib
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

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


def start(framework: str, out: Path) -> subprocess.Popen:
    """Start a training of every block, with a checkpoint at about every step."""
    options = "--evaluate --preset smoke --max-images-per-epoch 128 --finetune-epochs 5"
    command = [sys.executable, "-c", TRAIN, "train", "--framework", framework, *options.split()]
    silent = subprocess.DEVNULL
    return subprocess.Popen([*command, "--out", out], cwd=ROOT, stdout=silent, stderr=silent)


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


@pytest.mark.full
@pytest.mark.parametrize("framework", ["pt", "tf"])
def test_twenty_kills_at_random_moments_change_no_byte(framework, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start(framework, whole).wait() == 0
    moments = random.Random(0)
    for _ in range(KILLS):
        kill(start(framework, killed), killed / LAST, moments)
    assert start(framework, killed).wait() == 0
    model = "model.safetensors"
    assert (killed / model).read_bytes() == (whole / model).read_bytes()
    with np.load(killed / "predictions.npz") as one, np.load(whole / "predictions.npz") as two:
        for name in two.files:
            np.testing.assert_array_equal(one[name], two[name])
