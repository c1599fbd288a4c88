"""Run the experiment in both frameworks, each in a process of its own, and report."""

import sys
from pathlib import Path
from typing import BinaryIO

from src import experiment
from src.common.errors import InputError
from src.common.files import make_folder, read_json, write_json
from src.common.lock import one_writer
from src.comparison.process import run_twin
from src.comparison.report.report import choose_samples, make_samples, write_report
from src.config import ExperimentConfig
from src.data.dataset import open_dataset
from src.records import FRAMEWORKS, read_record, read_run
from src.training.checkpoint import LAST
from src.xception.weights import check_start, initial_weights


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
        config, data_dir, workers: as in `src.experiment.train`.
        out: the folder of the runs and of the report; finished runs in it are not repeated.
        floor: also run PyTorch with every weight changed by one machine epsilon.
    Returns:
        `comparison.json` as a dict, and the path of `report.html`.
    Raises:
        InputError: something given is wrong, a twin stopped, or images or weights changed.
    """
    if (out / "model.json").is_file():
        raise InputError(f"{out} holds a trained model. Choose another --out for the comparison.")
    check_start(config)
    make_folder(out)
    with one_writer(out, "Wait until it has ended, or choose another --out"):
        dataset = open_dataset(config, data_dir)  # fails early, and decodes once for all
        config = dataset.config
        weights, runs = initial_weights(config), []
        for name in ("tf", "pt", "pt_floor") if floor else ("tf", "pt"):
            options = {"perturbed": name == "pt_floor", "workers": workers}
            train_once(name[:2], out / name, config, dataset.root, **options)
            runs.append(read_run(out / name))
            asked = experiment.describe_run(name[:2], dataset, weights, name == "pt_floor")
            if changed := experiment.differing_names(runs[-1].record, asked):
                raise InputError(
                    f"While {FRAMEWORKS[name[:2]]} trained, something changed: {', '.join(changed)}"
                    ". Choose another --out and compare again."
                )
        write_json(out / "config.json", config.to_json())
        tf_run, pt_run = runs[:2]
        rows = choose_samples(tf_run.predictions, pt_run.predictions)
        images = dataset.test_pixels[dataset.parts["test"][rows]]
        predictions = tf_run.predictions, pt_run.predictions
        samples = make_samples(*predictions, rows, images, config.classes)
        report = write_report(out, *runs, samples=samples)
        return read_json(out / "comparison.json"), report


def train_once(
    framework: str,
    out: Path,
    config: ExperimentConfig,
    data_dir: Path | None,
    *,
    perturbed: bool = False,
    workers: int = 0,
    thresholds: bool = False,
    quiet: bool = False,
) -> None:
    """Train and test one twin in a process of its own, unless `out` holds it finished.

    The arguments are those of `src.experiment.train`; `thresholds` scores the validation part as
    well, and `quiet` shows what the process prints only if it fails. A run that was stopped goes on
    from `out`.

    Raises:
        InputError: the twin stopped.
    """
    wanted = {"val", "test"} if thresholds else {"test"}
    scored = (out / "predictions.npz").is_file() and wanted <= read_record(out)["metrics"].keys()
    if scored:
        finished = read_run(out).record
        dataset = open_dataset(config, data_dir)
        weights = initial_weights(dataset.config)
        asked = experiment.describe_run(framework, dataset, weights, perturbed)
        if not experiment.differing_names(finished, asked):
            return  # else training refuses the folder, and names what differs
    if not quiet:
        floor = ", every weight changed by one epsilon" if perturbed else ""
        print(f"\n{FRAMEWORKS[framework]}{floor}", file=sys.stderr)
    options = {"folder": str(out), "perturbed": perturbed, "workers": workers}
    options["thresholds"] = thresholds
    try:
        run_twin(train_and_test, framework, config, data_dir, quiet=quiet, **options)
    except InputError as error:
        if not (out / LAST).is_file():
            raise
        hint = "The same command with the same --out goes on from its last checkpoint."
        raise InputError(f"{error} {hint}") from error


def train_and_test(
    framework: str,
    config: ExperimentConfig,
    data_dir: Path | None,
    output: BinaryIO,
    *,
    folder: str,
    perturbed: bool,
    workers: int,
    thresholds: bool = False,
) -> None:
    """Train one twin and score its test part; all that is left of it lies in `folder`."""
    out = Path(folder)
    experiment.train(framework, config, out, data_dir, perturbed=perturbed, workers=workers)
    if thresholds:  # first: the speed that a record tells is that of the test part
        experiment.evaluate(out, data_dir, "val", workers=workers)
    experiment.evaluate(out, data_dir, workers=workers)
