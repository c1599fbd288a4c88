"""How long until a first answer? `predict` beside the shortest scripts of Keras and timm.

    python -m notebooks.results.cold_start IMAGE PYTHON

Each run is a process of its own that imports, builds, loads and predicts the image with the shipped
classifier; they take turns, so that other work on the machine slows all alike. The scripts are the
lines that `export --to keras` and `--to timm` print. No process has a network, and the cache is
empty at first. PYTHON is the interpreter of an environment with
`src/serving/requirements/predict.txt` alone. It writes `cold_start.json` beside this file.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from notebooks.results.script import record
from src.common.clock import spread
from src.records import measurement
from src.training.checkpoint import read_model_card
from src.xception.weight_files import PRETRAINED

ROOT = Path(__file__).parents[2]
TURNS = 5
NO_NETWORK = ("unshare", "--map-root-user", "--net")  # Linux; in a place without any
OURS, SCRIPTS = "predict", {"keras": "model.keras", "timm": "model.safetensors"}


def take_turns(commands: Mapping[str, Sequence[str]], folder: Path) -> dict[str, list[float]]:
    """Run each command in `folder`, in turns; return its seconds, the first turn's in front.

    In the first turn files are read from the disk, and what is kept for later starts is made.
    """
    seconds = {name: [] for name in commands}
    environment = os.environ | {"PYTHONPATH": str(ROOT), "BRAIN_TUMOR_CACHE": str(folder / "cache")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # else every start compiles what it imports
    for _ in range(1 + TURNS):
        for name, command in commands.items():
            start = time.perf_counter()
            started = [*NO_NETWORK, *command]
            subprocess.run(started, cwd=folder, env=environment, check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - start)
    return seconds


def times_shorter(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return how many times as long the shortest script takes in a turn: median, low and high.

    Args:
        seconds: name -> those of each turn that counts.
    """
    shortest = np.min([seconds[name] for name in SCRIPTS], axis=0)
    return spread(shortest / np.array(seconds[OURS]))


def measure(image: Path, python: Path) -> dict:
    """Return what is recorded."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Image.open(image) as picture:
            picture.convert("L").save(folder / "scan.png")
        commands = {OURS: [str(python.absolute()), "-m", "src", "predict", "scan.png"]}
        for to, file in SCRIPTS.items():
            export = [sys.executable, "-m", "src", "export", "--to", to, "--out", folder / file]
            lines = subprocess.run(export, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
            (folder / f"{to}_script.py").write_bytes(lines)
            commands[to] = [sys.executable, f"{to}_script.py"]
        seconds = take_turns(commands, folder)
    _, config = read_model_card(PRETRAINED)
    first = {name: each.pop(0) for name, each in seconds.items()}
    return measurement(
        config, {}, first=first, seconds=seconds, times_shorter=times_shorter(seconds)
    )


if __name__ == "__main__":
    record("cold_start", measure, "image", "python")
