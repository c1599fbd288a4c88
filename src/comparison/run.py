"""Run the experiment in both frameworks, each in a process of its own, and report."""

import subprocess
import sys
from pathlib import Path

from src.common.errors import InputError
from src.common.files import make_folder, read_json, write_json
from src.comparison.report.report import write_report
from src.comparison.report.samples import choose_samples, make_samples
from src.config import ExperimentConfig
from src.data.dataset import open_dataset
from src.records import FRAMEWORKS, read_run


def run_comparison(
    config: ExperimentConfig,
    out: Path,
    data_dir: Path | None = None,
    *,
    workers: int = 0,
    floor: bool = True,
) -> tuple[dict, Path]:
    """Train and test both twins on the same images, weights and order.

    Args:
        config: the experiment.
        out: where the runs and the report go; what was finished there is not done again.
        data_dir: where the images are; see `open_dataset`.
        workers: that prepare batches, for each twin.
        floor: also run PyTorch with every weight one machine epsilon off, as the yardstick.
    Returns:
        `comparison.json` as a dict, and the path of `report.html`.
    Raises:
        InputError: something given is wrong, or a twin stopped.
    """
    make_folder(out)
    dataset = open_dataset(config, data_dir)  # fails early, and decodes once for all
    write_json(out / "config.json", config.to_json())
    shared = ["--config", str(out / "config.json"), "--workers", str(workers)]
    shared += ["--data", str(dataset.root)]
    train_once("tf", out / "tf", config, shared)
    train_once("pt", out / "pt", config, shared)
    if floor:
        train_once("pt", out / "pt_floor", config, [*shared, "--perturbed"])
    tf_run, pt_run = read_run(out / "tf"), read_run(out / "pt")
    floor_run = read_run(out / "pt_floor") if floor else None
    rows = choose_samples(tf_run.predictions, pt_run.predictions)
    images = dataset.pixels[dataset.parts["test"][rows]]
    samples = make_samples(tf_run.predictions, pt_run.predictions, rows, images)
    report = write_report(out, tf_run, pt_run, floor_run, samples)
    return read_json(out / "comparison.json"), report


def train_once(
    framework: str, out: Path, config: ExperimentConfig, options: list[str], *, quiet: bool = False
) -> None:
    """Train and test one twin in a process of its own, unless `out` holds it finished.

    With `quiet`, what the process prints is shown only if it stops.

    Raises:
        InputError: the twin stopped.
    """
    if _is_finished(out, config):
        return
    name = FRAMEWORKS[framework]
    if not quiet:
        print(
            f"\n{name}{', weights one epsilon off' * ('--perturbed' in options)}", file=sys.stderr
        )
    command = [sys.executable, "-m", "src", "train", "--framework", framework, "--evaluate"]
    command += ["--out", str(out), *options]
    result = subprocess.run(command, capture_output=quiet, text=True)
    if result.returncode:
        if quiet:
            print(result.stdout, result.stderr, file=sys.stderr)
        raise InputError(
            f"The {name} run stopped with exit code {result.returncode}; its message stands "
            "above. The same command with the same --out goes on from its last epoch."
        )


def _is_finished(out: Path, config: ExperimentConfig) -> bool:
    if not (out / "predictions.npz").is_file():
        return False
    return read_run(out).record["config"] == config.to_json()
