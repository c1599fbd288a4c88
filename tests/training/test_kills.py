"""A run that is killed again and again ends with the bytes of one that is not."""

import contextlib
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from src.common.files import read_json

ROOT = Path(__file__).parents[2]
SAVE_EVERY = 0.2  # seconds
KILLS = [*["cache"] * 4, *["start", "checkpoint", "stage", "step"] * 4]
TRAIN = f"""
import sys, time
import src.training.run as run
from src.__main__ import main

run.SAVE_EVERY = {SAVE_EVERY}
log = open(sys.argv.pop(1), "a", buffering=1)


def told(name, event):
    method = getattr(run.TrainingRun, name)

    def wrapped(self, *arguments):
        method(self, *arguments)
        print(event, self.schedule.stage, self.schedule.step, time.monotonic(), file=log)

    setattr(run.TrainingRun, name, wrapped)


told("begin_stage", "stage")
told("end_step", "step")
told("end_epoch", "epoch")
told("_save", "saved")
sys.exit(main(sys.argv[1:]))
"""


RUNS = {"every block": ("--unfreeze-from", "block1"), "kept outputs": ("--feature-cache",)}
TIMES = ("created", "seconds", "speed", "peak_memory_mb", "commit")  # of a record, may differ


def start(framework: str, out: Path, options: tuple[str, ...]) -> subprocess.Popen:
    """Start a training with a checkpoint at about every step; cache and log lie beside `out`."""
    given = "--evaluate --preset smoke --max-images-per-epoch 128 --finetune-epochs 5"
    command = [sys.executable, "-c", TRAIN, f"{out}.log", "train", "--framework", framework]
    return subprocess.Popen(
        [*command, *given.split(), *options, "--out", out],
        cwd=ROOT,
        env=os.environ | {"BRAIN_TUMOR_CACHE": f"{out}.cache"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


class Event(NamedTuple):
    """What a run's log holds: "stage", "step", "epoch" or "saved", and when it was done."""

    kind: str
    stage: int
    step: int
    seconds: float


def events(out: Path) -> list[Event]:
    with contextlib.suppress(FileNotFoundError):
        lines = Path(f"{out}.log").read_text().splitlines()
        rows = [line.split() for line in lines if line.count(" ") == 3]
        return [Event(kind, int(a), int(b), float(when)) for kind, a, b, when in rows]
    return []


def kill(process: subprocess.Popen, out: Path, when: str, moments: random.Random) -> None:
    """Kill `process` where `when` says.

    At its `start`, while a `cache` or a `checkpoint` is being written, where the second `stage`
    begins, or within half a second after a `step`'s checkpoint.
    """
    before, began = len(events(out)), time.time()

    def due() -> bool:
        new = events(out)[before:]
        match when:
            case "cache":  # its files grow, or are given their names
                with contextlib.suppress(FileNotFoundError):  # just given its name
                    files = every_file(Path(f"{out}.cache"))
                    return any(f.stat().st_mtime > began for f in files) or bool(new)
                return True
            case "checkpoint":
                return any(out.glob(".*.tmp.*"))
            case "stage":
                return any((event.kind, event.stage) == ("stage", 2) for event in new)
            case "step":
                return any(event.kind == "saved" for event in new)
        return True

    deadline = time.monotonic() + 180
    while not due():
        assert time.monotonic() < deadline, f"nothing to kill: {when}"
        time.sleep(0.002)
    time.sleep(moments.uniform(0, {"start": 3, "cache": 0.3, "step": 0.5}.get(when, 0.01)))
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run had ended already"


def check_lost(out: Path) -> None:
    """After the last kill at most one interval between checkpoints was lost, and one step."""
    log = events(out)
    saved = max((i for i, event in enumerate(log) if event.kind == "saved"), default=-1)
    after = [event for event in log[saved + 1 :] if event.kind == "step"]
    pairs = itertools.pairwise(log)
    longest = max((b.seconds - a.seconds for a, b in pairs if a.step + 1 == b.step), default=0)
    if saved >= 0 and after:
        assert after[-1].seconds - log[saved].seconds < SAVE_EVERY + 2 * longest


def every_file(folder: Path) -> list[Path]:
    """Return the paths of all files in a folder in which others write."""
    return [Path(base, name) for base, _, names in os.walk(folder) for name in names]


def left(out: Path) -> list[str]:
    """Return the names of all files of a run and of its cache.

    That of a catalogue follows from where the images lie, so it is left out.
    """
    folders = (out, Path(f"{out}.cache"))
    names = [str(p.relative_to(folder)) for folder in folders for p in every_file(folder)]
    return sorted(re.sub(r"^catalog/\w+", "catalog/", name) for name in names)


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
    for when in KILLS:
        before = events(killed)
        kill(start(framework, killed, options), killed, when, moments)
        check_lost(killed)
        went_on = [e[1:3] for e in events(killed)[len(before) :] if e.kind == "step"]
        saved = [e[1:3] for e in before if e.kind == "saved"]
        if went_on and saved:
            assert went_on[0] > saved[-1]  # stage and step
    assert start(framework, killed, options).wait() == 0
    model = "model.safetensors"
    assert (killed / model).read_bytes() == (whole / model).read_bytes()
    with np.load(killed / "predictions.npz") as one, np.load(whole / "predictions.npz") as two:
        for name in two.files:
            np.testing.assert_array_equal(one[name], two[name])
    one, two = (timeless(read_json(out / "record.json")) for out in (killed, whole))
    assert one == two
    assert left(killed) == left(whole)
