"""Do images stream when they outgrow memory? Time and memory for up to 200,000 of them.

    python -m notebooks.results.streams FOLDER

It makes synthetic images of 96 px in FOLDER (about 1 GB), and reads the first 25,000, 50,000,
100,000 and all of them, each in a process of its own with an empty cache: list and hash the files,
decode them into the pixel cache, and take one epoch of augmented training batches from it. Nothing
of the network is in it, and no grouping of near-copies, which compares all pairs
(`audit_cost.json`). It writes `streams.json` and `streams.png` beside this file.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from src.common.cache import in_threads, progress
from src.common.files import write_json
from src.comparison.report.style import COLORS, new_figure, save_figure, styled
from src.config import CLASS_NAMES, ExperimentConfig, preset
from src.data.batches import Batches
from src.data.catalog import read_catalog
from src.data.pixels import load_pixels
from src.records import measurement
from src.results.grid import RESULTS

SIZES = (25_000, 50_000, 100_000, 200_000)
STATUS = Path("/proc/self/status")  # Linux
SIDE = 96  # px


def config() -> ExperimentConfig:
    return preset("smoke", image_size=SIDE, max_images_per_epoch=0, batch_size=16)


def make_images(root: Path, first: int, count: int) -> None:
    """Write images `first` to `count`, noise over a bright disc, each one different."""
    x = np.linspace(-1, 1, SIDE)
    disc = 120 * (np.hypot(x[:, None], x) < 0.8)

    def write(number: int) -> None:
        file = root / CLASS_NAMES[number % len(CLASS_NAMES)] / f"{number:06d}.jpg"
        if file.is_file():
            return
        noise = np.random.default_rng(number).integers(0, 100, (SIDE, SIDE))
        Image.fromarray((disc + noise).astype(np.uint8)).save(file)

    for name in CLASS_NAMES:
        (root / name).mkdir(parents=True, exist_ok=True)
    for _ in progress(in_threads(write, range(first, count)), count - first, "Writing"):
        pass


def read_all(root: Path) -> dict[str, float]:
    """Return the seconds that the pixels and an epoch take, and this process's memory, MB."""
    started = time.perf_counter()
    catalog, pixels = load_pixels(read_catalog(root), SIDE)
    opened = time.perf_counter()
    batches = Batches(catalog, pixels, np.arange(len(catalog)), config(), training=True)
    for index in range(len(batches)):
        batches.batch(0, index)
    status = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return {
        "images": len(catalog),
        "open_seconds": opened - started,
        "epoch_seconds": time.perf_counter() - opened,
        "memory_mb": int(status["RssAnon"].split()[0]) / 1024,
        "mapped_mb": int(status["RssFile"].split()[0]) / 1024,
    }


def measure(root: Path) -> dict:
    """Return what is recorded: a row for each of SIZES."""
    rows, done = [], 0
    for count in SIZES:
        make_images(root, done, count)
        done = count
        with tempfile.TemporaryDirectory(dir=root.parent) as cache:
            command = [sys.executable, "-m", "notebooks.results.streams", str(root), "--read"]
            environment = os.environ | {"BRAIN_TUMOR_CACHE": cache}
            told = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
            pixels = sum(file.stat().st_size for file in Path(cache).rglob("*.bin")) / 2**20
        rows.append(json.loads(told.stdout) | {"pixels_mb": pixels})
    return measurement(config(), {"kind": "synthetic", "side": SIDE}, rows=rows)


@styled()
def draw(record: Mapping) -> Figure:
    """Draw time and memory over the number of images."""
    # Without notices: nothing here was trained.
    figure = new_figure(2.6, {"dataset": {"kind": "real"}, "config": {}})
    left, right = figure.subplots(1, 2)
    rows = record["rows"]
    thousands = [row["images"] / 1000 for row in rows]
    shown = {
        left: {"open_seconds": "hash and decode, once", "epoch_seconds": "an epoch's batches"},
        right: {"memory_mb": "memory of the process", "pixels_mb": "pixels on disk, mapped"},
    }
    for axes, lines in shown.items():
        for (name, label), color, marker in zip(lines.items(), ("#222222", COLORS["floor"]), "DX"):
            values = [row[name] for row in rows]
            axes.plot(thousands, values, marker=marker, color=color, label=label)
        axes.set(xlabel="thousand images", xlim=(0, None), ylim=(0, None))
        axes.legend(loc="upper left", fontsize=8)
    left.set_title("seconds")
    right.set_title("MB")
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m notebooks.results.streams")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--read", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        print(json.dumps(read_all(options.folder)))
        sys.exit()
    record = measure(options.folder)
    write_json(RESULTS / "streams.json", record)
    save_figure(draw(record), RESULTS / "streams.png", record)
