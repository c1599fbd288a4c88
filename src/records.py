"""Run folders: the record and the predictions of one run of one twin; read, check, write."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.common.errors import InputError
from src.common.files import atomic_write, read_json
from src.config import CLASS_NAMES
from src.evaluation.metrics import check_groups, check_predictions

FRAMEWORKS = {"tf": "TensorFlow", "pt": "PyTorch"}

_NUMBER = (int, float)
# Dotted name in record.json -> its type. `history.*` lists hold one value per epoch.
_FIELDS = {
    "framework": str,
    "created": str,
    "config": dict,
    "dataset": dict,
    "dataset.kind": str,
    "dataset.counts": dict,
    "dataset.fingerprint": str,
    "dataset.parts": dict,
    "dataset.parts.train": int,
    "dataset.parts.val": int,
    "dataset.parts.test": int,
    "hardware": dict,
    "versions": dict,
    "weights": dict,
    "history": dict,
    "history.loss": list,
    "history.val_loss": list,
    "history.accuracy": list,
    "history.val_accuracy": list,
    "history.stage": list,
    "history.step_loss": list,
    "metrics": dict,
    "metrics.test": dict,
    "metrics.test.accuracy": _NUMBER,
    "metrics.test_groups": dict,
    "metrics.test_groups.accuracy": _NUMBER,
    "images_per_second": dict,
    "images_per_second.train": _NUMBER,
    "peak_memory_mb": _NUMBER,
    "seconds": _NUMBER,
    "parameters": dict,
}
_PER_EPOCH = ("loss", "val_loss", "accuracy", "val_accuracy", "stage")


@dataclass(frozen=True)
class Predictions:
    """One model's predictions for the test part, in catalogue order."""

    paths: np.ndarray  # (N,) text, POSIX, relative to the dataset's folder
    labels: np.ndarray  # (N,) int64, the true classes
    probs: np.ndarray  # (N, 4) float32, each row sums to 1
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


def read_run(path: Path) -> Run:
    """Read and check `record.json` and `predictions.npz` of a run folder.

    Raises:
        InputError: a file is missing, damaged or lacks a field; the message names it.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"No such run folder: {path}. `python -m src train` makes one.")
    record = read_json(path / "record.json")
    _check_record(record, path / "record.json")
    return Run(path, record, read_predictions(path / "predictions.npz"))


def write_predictions(
    path: Path, paths: Sequence[str], labels: np.ndarray, probs: np.ndarray, groups: np.ndarray
) -> None:
    """Write one .npz: `paths` (N,) text, `labels` and `groups` (N,) int64, `probs` (N, 4) float32.

    Raises:
        ValueError, InputError: the four do not fit together, or are not predictions.
    """
    labels, _ = check_predictions(labels, probs)
    groups = check_groups(groups, len(labels))
    # Fixed-width text, because only pickle can read an array of objects.
    names = np.asarray(list(paths), dtype=np.str_)
    if names.shape != labels.shape:
        raise ValueError(f"Expected {len(labels)} paths. Received: {len(names)}.")
    with atomic_write(path) as temporary:
        probs = np.asarray(probs, np.float32)
        np.savez_compressed(temporary, paths=names, labels=labels, probs=probs, groups=groups)


def read_predictions(path: Path) -> Predictions:
    """Read a file of `write_predictions`; pickled content is refused.

    Raises:
        InputError: the file is missing, damaged, or does not hold predictions.
    """
    path = Path(path)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            paths, labels, probs = arrays["paths"], arrays["labels"], arrays["probs"]
            groups = arrays["groups"]
        labels, _ = check_predictions(labels, probs)
        groups = check_groups(groups, len(labels))
        if paths.dtype.kind != "U" or paths.shape != labels.shape:
            raise ValueError(f"`paths` is {paths.dtype} {paths.shape}, not text {labels.shape}")
    except FileNotFoundError:
        raise InputError(f"No such file: {path}. `python -m src evaluate` writes it.") from None
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{path} is not a predictions file: {reason}") from error
    return Predictions(paths, labels, probs.astype(np.float32, copy=False), groups)


def check_comparable(tf_run: Run, pt_run: Run, floor_run: Run | None = None) -> None:
    """Check that the runs are one experiment in two frameworks.

    They must share config, dataset, initial weights, and the test images in their order.

    Raises:
        InputError: they do not; the message names everything that differs.
    """
    for run, wanted in ((tf_run, "tf"), (pt_run, "pt"), (floor_run, "pt")):
        if run is not None and run.framework != wanted:
            raise InputError(
                f"Expected a run of {FRAMEWORKS[wanted]} in {run.folder}. "
                f"Received: {FRAMEWORKS[run.framework]}."
            )
    _check_same(tf_run, pt_run)
    if floor_run is not None:
        _check_same(pt_run, floor_run)


def _check_same(first: Run, second: Run) -> None:
    differences = [
        *_config_differences(first.record, second.record),
        *filter(None, [_dataset_difference(first, second)]),
    ]
    if differences:
        raise InputError(
            f"{first.folder} and {second.folder} cannot be compared; they differ in "
            f"{'; '.join(differences)}. Run both again with `python -m src compare`."
        )


def _config_differences(first: dict, second: dict) -> list[str]:
    differences = []
    one, two = (record["weights"].get("sha256") for record in (first, second))
    if one != two:
        differences.append(f"the initial weights (SHA-256 {one or 'none'} and {two or 'none'})")
    # One file can have two spellings; where its content is known, that decides.
    ignored = {"init"} if one and one == two else set()
    for name in sorted((set(first["config"]) | set(second["config"])) - ignored):
        one, two = (record["config"].get(name) for record in (first, second))
        if one != two:
            differences.append(f"config {name} ({one!r} and {two!r})")
    return differences


def _dataset_difference(first: Run, second: Run) -> str:
    one, two = (run.record["dataset"]["fingerprint"] for run in (first, second))
    if one != two:
        return f"the dataset (fingerprints {one[:12]} and {two[:12]})"
    return _image_difference(first.predictions, second.predictions)


def _image_difference(first: Predictions, second: Predictions) -> str:
    if len(first.paths) != len(second.paths):
        return f"the number of test images ({len(first.paths)} and {len(second.paths)})"
    for name in ("paths", "labels", "groups"):
        one, two = (getattr(each, name) for each in (first, second))
        if len(rows := np.flatnonzero(one != two)):
            row = rows[0]
            pair = f"{one[row].item()!r} and {two[row].item()!r}"
            return f"the {name[:-1]} of test image {row + 1} ({pair})"
    return ""


def _check_record(record: object, path: Path) -> None:
    for name, kind in _FIELDS.items():
        value = record
        for key in name.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if not isinstance(value, kind) or isinstance(value, bool):
            state = "is missing" if value is None else f"is {value!r:.60}"
            raise InputError(
                f"{path}: field {name} {state}. The run is unfinished or was changed; train it "
                "again."
            )
    if record["framework"] not in FRAMEWORKS:
        raise InputError(f"{path}: framework must be tf or pt. Received: {record['framework']!r}.")
    lengths = {name: len(record["history"][name]) for name in _PER_EPOCH}
    if len(set(lengths.values())) != 1 or not lengths["loss"]:
        raise InputError(f"{path}: history must hold one value per epoch. Received: {lengths}.")
    _check_matrix(record["metrics"]["test"].get("confusion_matrix"), path)


def _check_matrix(matrix: object, path: Path) -> None:
    size = len(CLASS_NAMES)
    rows = matrix if isinstance(matrix, list) else []
    if len(rows) != size or any(not isinstance(r, list) or len(r) != size for r in rows):
        raise InputError(f"{path}: metrics.test.confusion_matrix must be {size} by {size}.")
