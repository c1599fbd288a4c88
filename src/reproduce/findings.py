"""What the rows say when held against each other: twins, seeds, probe, leak, defaults.

Whatever the records found do not decide yet is None.
"""

import csv
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from src.common.errors import InputError
from src.comparison.baselines import PROBE
from src.config import CLASS_NAMES
from src.data.splits.folds import FOLDS
from src.evaluation.intervals import paired_difference
from src.records import FRAMEWORKS, Predictions
from src.reproduce.costs import speed
from src.reproduce.pool import Kept, pool, select

_Probe = Mapping[tuple[int, str], tuple[int, int]]  # (fold, path) -> truth, the probe's class


def find(runs: Sequence[Kept], results: Path) -> dict:
    """Return every finding.

    Args:
        runs: the finished cells of the grid.
        results: the folder that may hold `baselines.csv`.
    Returns:
        against_probe: {"tf", "pt"} -> exact twin less linear probe, over the five folds.
        agreement: what twins and seeds agree on, see `_agreement`.
        leak: {"tf", "pt"} -> see `_leak`.
        defaults: {"tf", "pt"} -> stock less exact on the first fold, and `agreement` of the stock
        and of the exact pair.
        speed: see `src.reproduce.costs.speed`.
        Differences are those of `paired_difference`, with how many `images` they rest on.

    Raises:
        InputError: records do not fit together.
    """
    probe = _read_probe(results / "baselines.csv")
    return {
        "against_probe": {name: _against_probe(_folds(runs, name), probe) for name in FRAMEWORKS},
        "agreement": _agreement(runs),
        "leak": {name: _leak(runs, name) for name in FRAMEWORKS},
        "defaults": _defaults(runs),
        "speed": speed(runs),
    }


def agreements(runs: Sequence[Kept]) -> dict:
    """Return shares of images to which two runs give the same class.

    Args:
        runs: of both frameworks and several seeds, on the same images.
    Returns:
        twins: [share, ...] of pairs with one seed; seeds: {"tf", "pt"} -> [share, ...] of pairs of
        one framework.
    """
    found = {"twins": [], "seeds": {name: [] for name in FRAMEWORKS}}
    for one, two in combinations(runs, 2):
        if one.cell.seed == two.cell.seed:
            found["twins"].append(_alike(one.predictions, two.predictions))
        elif one.cell.framework == two.cell.framework:
            found["seeds"][one.cell.framework].append(_alike(one.predictions, two.predictions))
    return found


def _folds(runs: Sequence[Kept], framework: str) -> list[Kept]:
    """Return the exact runs of all five folds, or none."""
    found = select(runs, arm="exact", framework=framework, split="clean", seed=0)
    return found if len(found) == FOLDS else []


def _first_fold(runs: Sequence[Kept], arm: str, **wanted) -> list[Kept]:
    return select(runs, arm=arm, split="clean", fold=0, **wanted)


def _agreement(runs: Sequence[Kept]) -> dict | None:
    """Return agreement on the first fold, and over all five; None while there is no pair.

    Returns:
        images, twins, seeds: on the first fold, see `agreements`.
        five_folds: share of all images that both frameworks give the same class, or None.
        difference: accuracy of PyTorch less TensorFlow over the five folds, or None.
    """
    first = _first_fold(runs, "exact")
    shares = agreements(first)
    if not shares["twins"] and not any(shares["seeds"].values()):
        return None
    both = [_folds(runs, name) for name in FRAMEWORKS]
    found = {"images": len(first[0].predictions.paths), **shares}
    if not all(both):
        return found | {"five_folds": None, "difference": None}
    tf, pt = (pool(folds) for folds in both)
    return found | {"five_folds": _alike(tf, pt), "difference": _difference(pt, tf)}


def _against_probe(folds: Sequence[Kept], probe: _Probe) -> dict | None:
    if not folds or not probe:
        return None
    kept = pool(folds)
    said = []
    for run in folds:
        known = {path: both for (fold, path), both in probe.items() if fold == run.cell.fold}
        ours = dict(zip(run.predictions.paths.tolist(), run.predictions.labels.tolist()))
        if ours != {path: truth for path, (truth, _) in known.items()}:
            raise InputError(
                f"baselines.csv holds other images or labels of fold {run.cell.fold} than "
                f"{run.cell.name}. Measure the baselines again: python -m src baselines."
            )
        said += [known[path][1] for path in run.predictions.paths.tolist()]
    found = paired_difference(kept.labels, _classes(kept), np.array(said), kept.groups)
    return {"images": len(said), **found}


def _leak(runs: Sequence[Kept], framework: str) -> dict | None:
    """Return what the official split flatters; None until it and all five folds are run.

    Returns:
        official, clean, difference: accuracies, each on the test images of its split.
        same_images: official less clean on the images of the official test part alone.
    """
    folds = _folds(runs, framework)
    official = select(runs, arm="exact", framework=framework, split="official", seed=0)
    if not folds or not official:
        return None
    leaking, clean = official[0].predictions, pool(folds)
    rates = [float((_classes(p) == p.labels).mean()) for p in (leaking, clean)]
    # Four images are in no fold, as figshare contradicts their label.
    _, of_official, of_clean = np.intersect1d(leaking.paths, clean.paths, return_indices=True)
    same = None
    if len(of_clean):
        same = _difference(_take(leaking, of_official), _take(clean, of_clean))
    difference = rates[0] - rates[1]
    return dict(official=rates[0], clean=rates[1], difference=difference, same_images=same)


def _defaults(runs: Sequence[Kept]) -> dict:
    pairs = {
        arm: [_first_fold(runs, arm, framework=name, seed=0) for name in FRAMEWORKS]
        for arm in ("stock", "exact")
    }
    found: dict = {}
    for name, stock, exact in zip(FRAMEWORKS, pairs["stock"], pairs["exact"]):
        both = bool(stock and exact)
        found[name] = _difference(stock[0].predictions, exact[0].predictions) if both else None
    if not all(one for pair in pairs.values() for one in pair):
        return found | {"agreement": None}
    shares = {arm: _alike(tf[0].predictions, pt[0].predictions) for arm, (tf, pt) in pairs.items()}
    return found | {"agreement": shares}


def _read_probe(path: Path) -> dict[tuple[int, str], tuple[int, int]]:
    """Read truth and the linear probe's class of each image of the clean folds; {} if no file."""
    if not path.is_file():
        return {}
    number = {name: k for k, name in enumerate(CLASS_NAMES)}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {
                (int(row["split"].removeprefix("fold ")), row["path"]): (
                    number[row["label"]],
                    number[row[PROBE]],
                )
                for row in csv.DictReader(file)
                if row["split"].startswith("fold ")
            }
    except (OSError, KeyError, ValueError) as error:
        raise InputError(
            f"{path} is not what `python -m src baselines --json` writes beside its record: {error}"
        ) from error


def _difference(a: Predictions, b: Predictions) -> dict:
    """Return the paired difference of `a` less `b`, in the groups of `b`."""
    _check_same_images(a, b)
    return {
        "images": len(a.labels),
        **paired_difference(a.labels, _classes(a), _classes(b), b.groups),
    }


def _alike(one: Predictions, two: Predictions) -> float:
    _check_same_images(one, two)
    return float((_classes(one) == _classes(two)).mean())


def _check_same_images(one: Predictions, two: Predictions) -> None:
    if not np.array_equal(one.paths, two.paths) or not np.array_equal(one.labels, two.labels):
        raise InputError(
            "Two runs of the grid that are to be compared were tested on different images: "
            f"{len(one.paths)} from {one.paths[0]} on, and {len(two.paths)} from {two.paths[0]} "
            "on. Run the grid on one dataset."
        )


def _classes(predictions: Predictions) -> np.ndarray:
    return predictions.probs.argmax(axis=1)


def _take(predictions: Predictions, rows: np.ndarray) -> Predictions:
    names = ("paths", "labels", "probs", "groups")
    return Predictions(*(getattr(predictions, name)[rows] for name in names))
