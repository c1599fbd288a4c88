"""The experiment of the notebooks, and the runs that they share.

Runs are in `runs/notebooks/` (or below BRAIN_TUMOR_RUNS), one folder per experiment: whichever
notebook comes first makes a run, and the others read it.
"""

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from src import experiment
from src.common.errors import InputError
from src.common.files import write_json
from src.comparison.run import train_once
from src.config import ExperimentConfig, preset
from src.data.catalog import read_catalog
from src.data.dataset import Dataset, check_classes, find_data, open_dataset
from src.data.phantom.write import default_phantom
from src.evaluation.metrics import score
from src.notebook.setup import ROOT, smoke
from src.records import FRAMEWORKS, Predictions, Run, read_record, read_run
from src.training.checkpoint import read_model
from src.xception.weight_files import PRETRAINED

FLOOR = "pt_floor"  # PyTorch again, every initial weight changed by one machine epsilon


def data_folder() -> Path:
    """Return the folder of the images: the phantom set under SMOKE=1, else as for every verb."""
    return default_phantom() if smoke() else find_data()


def notebook_config(reinit: tuple[str, ...] = (), **changes) -> ExperimentConfig:
    """Return the notebooks' experiment: preset `quick`, or `smoke` under SMOKE=1, on its images.

    `smoke` starts from the shipped model: from random weights every block would train, which takes
    twice as long.

    Args:
        reinit: blocks that the file XCEPTION_WEIGHTS lacks; without that variable the complete
            ImageNet weights are fetched, and `reinit` is ignored.
        changes: fields of `quick` to override; `smoke` stays as it is.
    """
    weights = os.environ.get("XCEPTION_WEIGHTS")
    classes = read_catalog(data_folder()).classes
    if smoke():
        return preset("smoke", classes=classes, init="pretrained")
    initial = {"init": weights, "reinit": reinit} if weights else {}
    return preset("quick", classes=classes, **initial, **changes)


def run_folder(name: str, config: ExperimentConfig) -> Path:
    """Return the folder of the run `name` ("tf", "pt" or "pt_floor") of an experiment.

    Other settings or other images mean another folder, so no run is taken for one that it is not.
    """
    images = read_catalog(data_folder()).fingerprint
    identity = json.dumps([config.to_json(), images], sort_keys=True)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:8]
    kind = "smoke" if smoke() else "quick"
    root = Path(os.environ.get("BRAIN_TUMOR_RUNS") or ROOT / "runs") / "notebooks"
    return root / f"{kind}-{Path(config.split).stem}-{digest}" / name


def saved_models(config: ExperimentConfig) -> dict[str, tuple[Path | None, str]]:
    """Return the shipped classifier and the finished runs of an experiment, in both frameworks.

    Returns:
        title -> what `load_classifier` takes: the folder of a run, None for the shipped classifier,
        and the framework.
    """
    models = {f"{title}, shipped": (None, name) for name, title in FRAMEWORKS.items()}
    for name, title in FRAMEWORKS.items():
        folder = run_folder(name, config)
        if (folder / "predictions.npz").is_file():
            models[f"{title}, trained here"] = folder, name
    return models


def train_run(framework: str, config: ExperimentConfig) -> Run:
    """Train and test one twin in this kernel, or read its finished run.

    Raises:
        InputError: the config does not fit the data or the weights.
    """
    folder = run_folder(framework, config)
    if not (folder / "predictions.npz").is_file():
        experiment.train(framework, config, folder, data_folder())
        experiment.evaluate(folder, data_folder())
    return read_run(folder)


def shipped_run(twin: SimpleNamespace) -> tuple[object, Dataset, Run]:
    """Load the shipped classifier into a twin, and let it answer its own test part.

    Args:
        twin: from `load_twin`.
    Returns:
        the model, the images of its split, and a run with this twin's answers.
    Raises:
        InputError: the images have other classes, or the model has seen some of the test part.
    """
    weights, config = read_model(PRETRAINED)
    config = replace(config, precision="float32", init="pretrained")
    twin.runtime.configure(config)
    check_classes(config.classes, read_catalog(data_folder()))
    dataset, model = open_dataset(config, data_folder()), twin.model.build_model(config, weights)
    batches = dataset.batches("test")
    probs = twin.predict.predict_proba(model, twin.data.make_loader(batches))
    metrics = {"test": score(batches.labels, probs, config.classes)}
    record = read_record(PRETRAINED) | {"dataset": dataset.describe(), "metrics": metrics}
    groups = dataset.groups[dataset.parts["test"]]
    answers = Predictions(batches.paths, batches.labels, probs, groups)
    return model, dataset, Run(PRETRAINED, record, answers)


def find_run(name: str, config: ExperimentConfig) -> Run:
    """Return a run that another notebook made; under SMOKE=1 a missing one is made now.

    Raises:
        InputError: it is missing; the message contains the command that makes it.
    """
    folder = run_folder(name, config)
    if (folder / "predictions.npz").is_file():
        return read_run(folder)
    framework, floor = name.partition("_")[0], name == FLOOR
    if smoke():
        train_once(framework, folder, config, data_folder(), perturbed=floor, quiet=True)
        return read_run(folder)
    saved = folder.with_name("config.json")
    write_json(saved, config.to_json())
    notebook = "" if floor else f"02_train_{FRAMEWORKS[framework].lower()}, or "
    raise InputError(
        f"The run {name} with split={config.split} is missing. Run {notebook}this command in a "
        f"terminal in {ROOT}: python -m src train --framework {framework} --evaluate --out "
        f"{folder} --config {saved} --data {data_folder()}{' --perturbed' * floor}"
    )
