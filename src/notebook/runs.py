"""The experiment of the notebooks, and the runs that they share.

Runs lie in `runs/notebooks/` (or below BRAIN_TUMOR_RUNS), one folder an experiment, so that
whichever notebook comes first makes a run and the others find it.
"""

import hashlib
import json
import os
from pathlib import Path

from src import experiment
from src.common.errors import InputError
from src.common.files import make_folder, write_json
from src.comparison.run import train_once
from src.config import ExperimentConfig, preset
from src.data.dataset import find_data
from src.data.phantom.write import default_phantom
from src.notebook.setup import ROOT, smoke
from src.records import FRAMEWORKS, Run, read_run

FLOOR = "pt_floor"  # PyTorch once more, every weight one machine epsilon off


def data_folder() -> Path:
    """Return where the images are: the phantom set under SMOKE=1, else where every verb looks."""
    return default_phantom() if smoke() else find_data()


def notebook_config(reinit: tuple[str, ...] = (), **fields) -> ExperimentConfig:
    """Return the notebooks' experiment: preset `quick`, or `smoke` under SMOKE=1.

    Args:
        reinit: blocks that the file XCEPTION_WEIGHTS lacks; without such a file the complete
            ImageNet weights are fetched, and nothing is drawn anew.
        fields: others of `ExperimentConfig`.
    Raises:
        InputError: a field makes no sense.
    """
    if smoke():
        return preset("smoke", **fields)
    weights = os.environ.get("XCEPTION_WEIGHTS")
    if not weights:
        return preset("quick", **fields)
    return preset("quick", init=weights, reinit=reinit, **fields)


def run_folder(name: str, config: ExperimentConfig) -> Path:
    """Return where the run `name` ("tf", "pt" or "pt_floor") of an experiment is kept."""
    told = json.dumps([config.to_json(), data_folder().name], sort_keys=True)
    digest = hashlib.sha256(told.encode()).hexdigest()[:8]
    kind = "smoke" if smoke() else "quick"
    return _root() / f"{kind}-{Path(config.split).stem}-{digest}" / name


def count_runs(notebook: str) -> int:
    """Return how many finished runs there are of the kind that `notebook` makes.

    A twin's own framework alone: the other twin may be running beside it.
    """
    twins = {"pytorch": "pt*", "tensorflow": "tf*"}
    kind = twins.get(notebook.rpartition("_")[2], "*")
    return len(list(_root().glob(f"*/{kind}/predictions.npz")))


def train_run(framework: str, config: ExperimentConfig) -> Run:
    """Train and test one twin in this kernel, or read the run if it is there already.

    Raises:
        InputError: something given is wrong.
    """
    folder = run_folder(framework, config)
    if not (folder / "predictions.npz").is_file():
        experiment.train(framework, config, folder, data_folder())
        experiment.evaluate(folder, data_folder())
    return read_run(folder)


def find_run(name: str, config: ExperimentConfig) -> Run:
    """Return a run that another notebook made; under SMOKE=1 one that is missing is made now.

    Raises:
        InputError: it is missing; the message holds the command that makes it.
    """
    folder = run_folder(name, config)
    if (folder / "predictions.npz").is_file():
        return read_run(folder)
    framework = name.partition("_")[0]
    saved = make_folder(folder.parent) / "config.json"
    write_json(saved, config.to_json())
    options = ["--config", str(saved), "--data", str(data_folder())]
    options += ["--perturbed"] if name == FLOOR else []
    if not smoke():
        command = f"python -m src train --framework {framework} --evaluate --out {folder}"
        notebook = f"Run 02_train_{FRAMEWORKS[framework].lower()} first, or this command,"
        # The perturbed run belongs to no notebook.
        first = "Run this command first," if name == FLOOR else notebook
        what = " with its weights moved by one epsilon" if name == FLOOR else ""
        raise InputError(
            f"This needs a run of {FRAMEWORKS[framework]}{what} with split={config.split} that is "
            f"not there. {first} in a terminal in {ROOT}: {command} {' '.join(options)}"
        )
    floor = name == FLOOR
    train_once(framework, folder, config, data_folder(), perturbed=floor, quiet=True)
    return read_run(folder)


def _root() -> Path:
    return Path(os.environ.get("BRAIN_TUMOR_RUNS") or ROOT / "runs") / "notebooks"
