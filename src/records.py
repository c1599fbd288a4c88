"""Run folders: the record and the predictions of one run of one twin; read, check, write."""

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.common import hardware
from src.common.errors import InputError, reason_of
from src.common.files import atomic_write, only_file, read_json
from src.config import CLASS_NAMES, FRAMEWORKS, ExperimentConfig, with_defaults
from src.evaluation.metrics import check_groups, check_predictions

_PER_EPOCH = ("loss", "val_loss", "accuracy", "val_accuracy", "stage")
# What record.json must hold: a type, and the dotted names of the fields that have it.
_FIELDS = (
    (str, ("framework", "created", "dataset.kind", "dataset.fingerprint")),
    (dict, ("config", "dataset.counts", "hardware", "versions", "weights", "parameters")),
    (dict, ("metrics",)),
    (int, ("dataset.parts.train", "dataset.parts.val", "dataset.parts.test")),
    (list, ("history.step_loss", *(f"history.{name}" for name in _PER_EPOCH))),
    (int | float, ("seconds", "peak_memory_mb")),
)
_SCORE_FIELDS = (
    (list, ("metrics.test.confusion_matrix",)),
    (int | float, ("metrics.test.accuracy", "metrics.test_groups.accuracy")),
)


@dataclass(frozen=True)
class Predictions:
    """One model's predictions for the test part, in catalogue order."""

    paths: np.ndarray  # (N,) text, POSIX, relative to the dataset's folder
    labels: np.ndarray  # (N,) int64, the true classes
    probs: np.ndarray  # (N, K) float32, each row sums to 1
    groups: np.ndarray  # (N,) int64; equal for images that the split keeps together


@dataclass(frozen=True)
class Run:
    """One finished run of one twin."""

    folder: Path
    record: dict
    predictions: Predictions

    @property
    def framework(self) -> str:
        """`tf` or `pt`."""
        return self.record["framework"]

    @property
    def classes(self) -> list[str]:
        """What the columns of the predictions stand for."""
        return with_defaults(self.record["config"])["classes"]


def read_record(run: Path) -> dict:
    """Read and check `record.json` of a run that may not have been scored yet.

    Raises:
        InputError: it is missing, damaged or lacks a field; the message names it.
    """
    record = read_json(run / "record.json")
    _check_record(record, run / "record.json", _FIELDS)
    return record


def read_run(path: Path) -> Run:
    """Read and check `record.json` and `predictions.npz` of a run folder.

    Raises:
        InputError: a file is missing, damaged or lacks a field; the message names it.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"No such run folder: {path}. `python -m src train` makes one.")
    record = read_record(path)
    _check_record(record, path / "record.json", _SCORE_FIELDS)
    size = len(with_defaults(record["config"])["classes"])
    if [np.size(row) for row in record["metrics"]["test"]["confusion_matrix"]] != [size] * size:
        raise InputError(
            f"{path / 'record.json'}: metrics.test.confusion_matrix must be {size} by {size}."
        )
    run = Run(path, record, read_predictions(path / "predictions.npz"))
    if run.predictions.probs.shape[1] != len(run.classes):
        raise InputError(
            f"{path}: predictions.npz must hold {len(run.classes)} probabilities for each image, "
            f"one for each class of record.json. Received: {run.predictions.probs.shape[1]}."
        )
    return run


def speed(record: dict, of: str) -> dict:
    """Return the speed of "train" or "predict" in a record, as `src.common.clock.Clock` gives it.

    Records from before that clock hold single numbers. For training it is the mean over all steps
    but the first two of each epoch, without a range. For prediction it held TensorFlow's tracing,
    and is not given.
    """
    if of in record.get("speed", {}):
        return record["speed"][of]
    mean = record.get("images_per_second", {}).get("train") if of == "train" else None
    return {"images_per_second": mean or None}


def filling_seconds(record: dict) -> float:
    """Return how long a run computed outputs that are kept: the first run does, its twin reads."""
    return sum(stage["seconds"] for stage in (record.get("feature_cache") or {}).values())


def measurement(config: ExperimentConfig, dataset: dict, **measured) -> dict:
    """Return what was `measured` with its experiment, described `dataset`, versions and machine."""
    return measured | {
        "config": config.to_json() | {"init": Path(config.init).name},  # no path of this machine
        "dataset": dataset,
        "versions": {
            name: importlib.metadata.version(name) for name in ("keras", "torch", "timm", "numpy")
        },
        "hardware": hardware.describe(None),
        "commit": hardware.commit(),
    }


def write_predictions(
    path: Path,
    paths: Sequence[str],
    labels: np.ndarray,
    probs: np.ndarray,
    groups: np.ndarray,
    classes: Sequence[str] = CLASS_NAMES,
) -> None:
    """Write one .npz: `paths` (N,) text, `labels` and `groups` (N,) int64, `probs` (N, K) float32.

    For other programs it also holds `classes`, (K,) text: what the labels and columns stand for.

    Raises:
        ValueError, InputError: these do not fit together, or are not predictions.
    """
    # Fixed-width text, because only pickle can read an array of objects.
    paths = np.asarray(list(paths), dtype=np.str_)
    predictions = _checked(paths, labels, probs, groups, len(classes))
    with atomic_write(path) as temporary:
        np.savez_compressed(temporary, **vars(predictions), classes=np.array(classes, np.str_))


def read_predictions(path: Path) -> Predictions:
    """Read a file of `write_predictions`; pickled content is refused.

    Raises:
        InputError: the file is missing, damaged, or does not hold predictions.
    """
    try:
        with only_file(path).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return _checked(*(arrays[name] for name in ("paths", "labels", "probs", "groups")))
    except FileNotFoundError:
        raise InputError(f"No such file: {path}. `python -m src evaluate` writes it.") from None
    except Exception as error:  # zipfile, zlib and NumPy raise almost anything on damaged data
        raise InputError(
            f"{path} is not a predictions file: {reason_of(error)}. `python -m src evaluate` "
            "writes it again."
        ) from error


def _checked(
    paths: np.ndarray,
    labels: np.ndarray,
    probs: np.ndarray,
    groups: np.ndarray,
    classes: int | None = None,
) -> Predictions:
    labels, _ = check_predictions(labels, probs, classes)
    if paths.dtype.kind != "U" or paths.shape != labels.shape:
        raise ValueError(f"Expected {len(labels)} paths. Received: {paths.dtype} {paths.shape}.")
    groups = check_groups(groups, len(labels))
    return Predictions(paths, labels, np.asarray(probs, np.float32), groups)


def experiment_differences(first: dict, second: dict) -> list[str]:
    """Return what differs between the weights, configs and datasets of two records, in words."""
    differences = []
    one, two = (record["weights"].get("sha256") for record in (first, second))
    if one != two:
        differences.append(f"the initial weights (SHA-256 {one or 'none'} and {two or 'none'})")
    # One file can have two spellings; where its content is known, that decides.
    ignored = {"init"} if one and one == two else set()
    configs = [with_defaults(record["config"]) for record in (first, second)]
    for name in sorted({*configs[0], *configs[1]} - ignored):
        one, two = (config.get(name) for config in configs)
        if one != two:
            differences.append(f"config {name} ({one!r} and {two!r})")
    one, two = (record["dataset"]["fingerprint"] for record in (first, second))
    if one != two:
        differences.append(f"the dataset (fingerprints {one[:12]} and {two[:12]})")
    return differences


def image_differences(first: Predictions, second: Predictions, columns: Sequence[str]) -> list[str]:
    """Return the first difference between the test images of two runs, in words.

    `columns` are those to compare, such as "paths".
    """
    if len(first.paths) != len(second.paths):
        return [f"the number of test images ({len(first.paths)} and {len(second.paths)})"]
    for name in columns:
        pairs = zip(getattr(first, name).tolist(), getattr(second, name).tolist())
        for number, (one, two) in enumerate(pairs, 1):
            if one != two:
                return [f"the {name[:-1]} of test image {number} ({one!r} and {two!r})"]
    return []


def _check_record(record: object, path: Path, fields: tuple) -> None:
    for kind, names in fields:
        for name in names:
            value = record
            for key in name.split("."):
                value = value.get(key) if isinstance(value, dict) else None
            if not isinstance(value, kind) or isinstance(value, bool):
                state = "is missing" if value is None else f"is {value!r:.60}"
                raise InputError(
                    f"{path}: field {name} {state}. The run is unfinished or was changed: "
                    "`python -m src evaluate` scores it; without record.json the command that "
                    "trained it trains it again."
                )
    if record["framework"] not in FRAMEWORKS:
        raise InputError(f"{path}: framework must be tf or pt. Received: {record['framework']!r}.")
    lengths = {name: len(record["history"][name]) for name in _PER_EPOCH}
    if len(set(lengths.values())) != 1 or not lengths["loss"]:
        raise InputError(f"{path}: history must hold one value per epoch. Received: {lengths}.")
