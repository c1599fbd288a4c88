"""A run that is killed again and again ends with the bytes of one that is not."""

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
    options = "--evaluate --preset smoke --max-images-per-epoch 128 --finetune-epochs 3"
    command = [sys.executable, "-c", TRAIN, "train", "--framework", framework, *options.split()]
    silent = subprocess.DEVNULL
    return subprocess.Popen([*command, "--out", out], cwd=ROOT, stdout=silent, stderr=silent)


@pytest.mark.full
@pytest.mark.parametrize("framework", ["pt", "tf"])
def test_twenty_kills_at_random_moments_change_no_byte(framework, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    begun = time.monotonic()
    process = start(framework, whole)
    while not (whole / LAST).exists() and process.poll() is None:
        time.sleep(0.05)
    to_first_step = time.monotonic() - begun
    assert process.wait() == 0
    training = time.monotonic() - begun - to_first_step
    moments, interrupted = random.Random(0), 0
    for _ in range(KILLS):
        process = start(framework, killed)
        # So late that it may take some steps, and so early that the run outlasts all kills.
        time.sleep(moments.uniform(0, to_first_step + training / 10))
        process.send_signal(signal.SIGKILL)
        interrupted += process.wait() == -signal.SIGKILL
    assert interrupted == KILLS
    assert start(framework, killed).wait() == 0
    model = "model.safetensors"
    assert (killed / model).read_bytes() == (whole / model).read_bytes()
    with np.load(killed / "predictions.npz") as one, np.load(whole / "predictions.npz") as two:
        for name in two.files:
            np.testing.assert_array_equal(one[name], two[name])
