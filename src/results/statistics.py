"""From the records and predictions in `notebooks/results/grid` to every number in `table.json`.

What needs a run that is not done is None.
"""

import csv
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path, PurePath

import numpy as np

from src.common import hardware
from src.common.errors import InputError
from src.common.files import read_json
from src.comparison.baselines import BASELINES, PROBE
from src.config import CLASS_NAMES
from src.data.audit.leaks import LEAKS, leaks_by_name
from src.data.dataset import seen_mark
from src.data.splits.folds import CT, FOLDS
from src.evaluation.intervals import fold_interval, group_intervals
from src.records import FRAMEWORKS, Predictions, Run, filling_seconds, speed
from src.results.calibration import calibration
from src.results.counted import accuracy_by
from src.results.equivalence import equivalence
from src.results.grid import RESULTS, Cell
from src.results.mistakes import mistakes
from src.results.pool import check_same_images, difference, overlap, pair, pool, read_grid, select
from src.results.rescore import score_apart
from src.results.search import read_search

TUNED = "tuned, five clean folds pooled"
TUNED_OFFICIAL = "tuned, official split (leaks)"
TUNED_PATIENTS = "tuned, figshare alone, patient folds"
POOLED = "exact, five clean folds pooled"
SEEDS = "exact, first fold, all seeds"
OFFICIAL = "exact, official split (leaks)"
STOCK = "stock, five clean folds pooled"
SCRATCH = "scratch, small, first fold"
ROWS = {  # row of the table -> the values of its cells
    TUNED: dict(arm="tuned", split="clean"),
    "whole, clean folds": dict(arm="whole"),
    TUNED_OFFICIAL: dict(arm="tuned", split="official"),
    TUNED_PATIENTS: dict(arm="tuned", split="patient"),
    POOLED: dict(arm="exact", split="clean", seed=0),
    SEEDS: dict(arm="exact", split="clean", fold=0),
    OFFICIAL: dict(arm="exact", split="official"),
    STOCK: dict(arm="stock"),
    "from block13, first fold": dict(arm="block13"),
    "small, the tuned recipe, first fold": dict(arm="small"),
    SCRATCH: dict(arm="scratch"),
}
CURVES = [title for title in ROWS if title != SEEDS]  # each arm and split once
OVER_FOLDS = {"exact": POOLED, "tuned": TUNED, "stock": STOCK}  # arm -> its row
PERTURBED = ("exact", "small", "scratch")  # arms with a run of PyTorch from perturbed weights


def measure(cells: Sequence[Cell], results: Path = RESULTS) -> dict:
    """Return every number of the results, from the cells that are done.

    Args:
        cells: of the grid.
        results: the folder with `grid/`, and with `baselines.csv` once the probe was measured.
    Returns:
        rows: one for each title of ROWS and framework: scores and costs, unless no cell is done.
        baselines: name -> what `accuracy_by` returns of its answers on the five clean folds; empty
        until they were measured.
        against_probe (exact twin minus linear probe): {"tf", "pt"} -> what `paired_difference`
        returns, with the number of `images`.
        leak (of the exact arm), tuned_leak: {"tf", "pt"} -> what `_leak` returns.
        gains: "exact" and "linear probe" -> {"tf", "pt"} -> what `_gain` returns of the tuned arm.
        defaults: {"tf", "pt"} -> likewise, of stock compared with exact.
        calibration: {"tf", "pt"} -> what `calibration` returns of the tuned arm.
        mistakes: {"tf", "pt"} -> what `mistakes` returns of the tuned arm.
        equivalence: what `src.results.equivalence.equivalence` returns.
        agreement, ct, curves: see the functions below.
        sources, simulations: the rows of these files; none until they were made.
        planes: what `planes.json` says; empty until it was made.
        search: what `read_search` returns.
        costs: arm -> {"tf", "pt"} -> what a run of it cost.
        filling_minutes: of all runs together, for filling the cache.
    Raises:
        InputError: a record is damaged, or records do not fit together.
    """
    runs = read_grid(cells, results)
    folds = {
        arm: {name: select(runs, framework=name, **ROWS[title]) for name in FRAMEWORKS}
        for arm, title in OVER_FOLDS.items()
    }
    pooled = {
        arm: {name: pool(some) if len(some) == FOLDS else None for name, some in each.items()}
        for arm, each in folds.items()
    }
    clean, tuned, stock = pooled.values()
    official, tuned_official = (pair(runs, **ROWS[title]) for title in (OFFICIAL, TUNED_OFFICIAL))
    answers = _read_answers(results / "baselines.csv")
    others = {
        name: read_json(path)["rows"] if (path := results / f"{name}.json").is_file() else []
        for name in ("sources", "simulations")
    }
    planes = read_json(path) if (path := results / "planes.json").is_file() else {}
    return {
        "rows": [_row(title, framework, cells, runs) for title in ROWS for framework in FRAMEWORKS],
        "baselines": _baselines(answers),
        "against_probe": {
            name: difference(twin, _probe(answers, twin)) for name, twin in clean.items()
        },
        "agreement": _agreement(runs, pooled),
        "equivalence": equivalence(runs, folds, pooled),
        "calibration": {
            name: calibration(some) if len(some) == FOLDS else None
            for name, some in folds["tuned"].items()
        },
        "mistakes": {name: mistakes(twin) if twin else None for name, twin in tuned.items()},
        "gains": {
            "exact": {
                name: _gain(folds["tuned"][name], twin, clean[name]) for name, twin in tuned.items()
            },
            PROBE: {
                name: _gain(folds["tuned"][name], twin, _probe(answers, twin))
                for name, twin in tuned.items()
            },
        },
        "defaults": {
            name: _gain(folds["stock"][name], twin, clean[name]) for name, twin in stock.items()
        },
        "leak": {name: _leak(official[name], clean[name]) for name in FRAMEWORKS},
        "tuned_leak": {name: _leak(tuned_official[name], tuned[name]) for name in FRAMEWORKS},
        **others,
        "planes": {name: planes[name] for name in ("seen", "named_rightly", "rows") if planes},
        "search": read_search(
            results / "recipes.json", select(runs, arm="tuned"), select(runs, arm="whole")
        ),
        "ct": {
            arm: {name: _ct(folds[arm][name]) for name in FRAMEWORKS} for arm in ("tuned", "exact")
        },
        "curves": {title: _curves(runs, title) for title in CURVES},
        "costs": _costs_of_arms(runs),
        "filling_minutes": sum(filling_seconds(run.record) for run in runs) / 60,
    }


def _row(title: str, framework: str, cells: Sequence[Cell], runs: Sequence[Run]) -> dict:
    values = {"framework": framework} | ROWS[title]
    wanted = sum({"perturbed": False, **values}.items() <= vars(cell).items() for cell in cells)
    done = select(runs, **values)
    row = {"title": title, "framework": framework, "arm": values["arm"], "wanted": wanted}
    row["cells"] = [run.record["name"] for run in done]
    if not done:
        return row
    first = done[0].record
    row |= {"kind": first["dataset"]["kind"], "init": first["init"], "reinit": first["reinit"]}
    row |= {name: first["config"][name] for name in ("image_size", "unfreeze_from")}
    if mark := seen_mark(first["dataset"]):
        row["mark"] = mark
    return row | _scores(done) | _costs(done)


def _scores(runs: Sequence[Run]) -> dict:
    """Score each seed by itself: values are means over seeds, never of an ensemble."""
    numbers = sorted({run.record["seed"] for run in runs})
    seeds = [pool(select(runs, seed=number)) for number in numbers]
    for each in seeds:
        check_same_images(seeds[0], each, "paths", "labels", "groups")
    labels, groups = seeds[0].labels, seeds[0].groups
    return {
        "seeds": len(seeds),
        "images": len(labels),
        "groups": len(np.unique(groups)),
        "support": {name: int((labels == k).sum()) for k, name in enumerate(CLASS_NAMES)},
        **group_intervals(labels, [seed.probs for seed in seeds], groups),
        "by": accuracy_by(seeds[0].paths, labels, np.stack([*map(_classes, seeds)]), groups),
        "accuracies": [run.record["metrics"]["test"]["accuracy"] for run in runs],
    }


def _agreement(runs: Sequence[Run], pooled: Mapping[str, Mapping]) -> dict:
    """Return the shares of images that two runs put into the same class.

    Args:
        runs: of the grid.
        pooled: arm -> {"tf", "pt"} -> predictions over the five folds, or None.
    Returns:
        images (of the first fold, 0 if no exact run is done there), twins ([share, ...] of the
        exact twins there, one for each seed), seeds ({"tf", "pt"} -> [share, ...], one for each
        pair of exact seeds), stock, small and scratch (shares of these twins), perturbed
        (arm of PERTURBED -> share of PyTorch and itself from perturbed weights), five_folds (arm of
        `pooled` -> share of these twins over all images), differences (arm of `pooled` -> accuracy
        of PyTorch minus TensorFlow over them).
    """
    first = select(runs, arm="exact", split="clean", fold=0)
    twins, seeds = [], {name: [] for name in FRAMEWORKS}
    for one, two in combinations(first, 2):
        share = _same_class(one.predictions, two.predictions)
        if one.record["seed"] == two.record["seed"]:
            twins.append(share)
        elif one.framework == two.framework:
            seeds[one.framework].append(share)
    where = {"split": "clean", "fold": 0, "seed": 0}
    twins_of = {arm: pair(runs, arm=arm, **where) for arm in ("stock", *PERTURBED)}
    moved = {arm: pair(runs, arm=arm, perturbed=True, **where)["pt"] for arm in PERTURBED}
    return {
        "images": len(first[0].predictions.paths) if first else 0,
        "twins": twins,
        "seeds": seeds,
        **{arm: _same_class(**twins_of[arm]) for arm in ("stock", "small", "scratch")},
        "perturbed": {arm: _same_class(twins_of[arm]["pt"], moved[arm]) for arm in PERTURBED},
        "five_folds": {arm: _same_class(**twins) for arm, twins in pooled.items()},
        "differences": {arm: difference(twins["pt"], twins["tf"]) for arm, twins in pooled.items()},
    }


def _read_answers(file: Path) -> dict[str, np.ndarray] | None:
    """Return the columns of `baselines.csv` on the five clean folds, if it is there.

    Returns:
        path (N,) text, label and each of BASELINES (N,) int64 classes, group (N,) int64.
    Raises:
        InputError: a column is missing or holds something else.
    """
    if not file.is_file():
        return None
    with file.open(newline="", encoding="utf-8") as table:
        rows = [row for row in csv.DictReader(table) if row.get("split", "").startswith("fold ")]
    try:
        if not rows:
            raise ValueError("no row of a fold")
        columns = {"path": np.array([row["path"] for row in rows])}
        columns["group"] = np.array([int(row["group"]) for row in rows])
        for name in ("label", *BASELINES):
            columns[name] = np.array([CLASS_NAMES.index(row[name]) for row in rows])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{file} must hold a group, the label and a class by each baseline for each image of "
            f"the five folds ({error}). Measure the baselines again: python -m src baselines."
        ) from error
    return columns


def _baselines(answers: Mapping[str, np.ndarray] | None) -> dict:
    if answers is None:
        return {}
    path, label, group = (answers[name] for name in ("path", "label", "group"))
    return {name: accuracy_by(path, label, answers[name][None], group) for name in BASELINES}


def _probe(answers: Mapping | None, twin: Predictions | None) -> Predictions | None:
    """Return the linear probe's classes for the images of `twin`, in their order.

    Raises:
        InputError: it was asked about other images.
    """
    if twin is None or answers is None:
        return None
    row_of = {path: row for row, path in enumerate(answers["path"].tolist())}
    rows = [row_of.get(path, -1) for path in twin.paths.tolist()]
    if -1 in rows or len(row_of) != len(rows) or (answers["label"][rows] != twin.labels).any():
        raise InputError(
            "baselines.csv holds other images or labels than the five folds of the twins. Measure "
            "the baselines again: python -m src baselines."
        )
    probs = np.eye(len(CLASS_NAMES))[answers[PROBE][rows]]
    return Predictions(twin.paths, twin.labels, probs, twin.groups)


def _gain(folds: Sequence[Run], twin: Predictions | None, other: Predictions | None) -> dict | None:
    """Return how much more accurate a twin is than `other`.

    Args:
        folds: its runs.
        twin, other: predictions of the images of all folds, in one order.
    Returns:
        images: what `difference` returns, the networks fixed. folds: what `fold_interval` returns,
        and `each` fold's difference.
    """
    if twin is None or other is None:
        return None
    right = dict(zip(other.paths.tolist(), _classes(other) == other.labels))
    each = []
    for run in folds:
        theirs = np.mean([right[path] for path in run.predictions.paths.tolist()])
        each.append(float(run.record["metrics"]["test"]["accuracy"] - theirs))
    over_folds = fold_interval(each, overlap(folds))
    return {"images": difference(twin, other), "folds": over_folds | {"each": each}}


def _leak(official: Predictions | None, clean: Predictions | None) -> dict | None:
    """Return by how much the official split flatters.

    Returns:
        official, clean, difference: accuracies, each on the test images of its split.
        same_images: official minus clean on the images of the official test part alone.
        apart: `src.results.rescore.score_apart` of the official network; None of made-up images.
        parts: each of LEAKS -> official minus clean on its images; without those that are absent.
    """
    if official is None or clean is None:
        return None
    rates = [float((_classes(each) == each.labels).mean()) for each in (official, clean)]
    # Four images are in no fold, because figshare contradicts their label.
    _, *rows = np.intersect1d(official.paths, clean.paths, return_indices=True)
    same = [_some(each, kept) for each, kept in zip((official, clean), rows)]
    scores = {"official": rates[0], "clean": rates[1], "difference": rates[0] - rates[1]}
    says = dict(zip(official.paths.tolist(), _classes(official)))
    apart = score_apart({PurePath(path).name: CLASS_NAMES[k] for path, k in says.items()})
    found = {"same_images": difference(*same), "apart": apart if apart["images"] else None}
    leaks, names = leaks_by_name(), (PurePath(path).name for path in same[0].paths.tolist())
    part = np.array([leaks.get(name, {}).get("leak", "") for name in names])
    found["parts"] = {
        name: difference(*(_some(each, part == name) for each in same))
        for name in LEAKS
        if (part == name).any()
    }
    return scores | found


def _some(predictions: Predictions, kept: np.ndarray) -> Predictions:
    return Predictions(*(column[kept] for column in vars(predictions).values()))


def _ct(folds: Sequence[Run]) -> dict[str, dict]:
    """Return class -> its CT images: `count`, and `right`, how many each fold's network gets."""
    scores = [run.record["metrics"][CT] for run in folds if CT in run.record["metrics"]]
    if not scores:
        return {}
    matrices = np.array([score["confusion_matrix"] for score in scores])
    return {
        name: {"count": int(matrices[0, k].sum()), "right": matrices[:, k, k].tolist()}
        for k, name in enumerate(CLASS_NAMES)
        if matrices[0, k].any()
    }


def _curves(runs: Sequence[Run], title: str) -> dict[str, dict]:
    """Return {"tf", "pt"} -> `accuracy`, `val_accuracy`: for each run, one value per epoch."""
    done = {name: select(runs, framework=name, **ROWS[title]) for name in FRAMEWORKS}
    kinds = ("accuracy", "val_accuracy")
    return {
        name: {kind: [run.record["history"][kind] for run in some] for kind in kinds}
        for name, some in done.items()
        if some
    }


def _same_class(tf: Predictions | None, pt: Predictions | None) -> float | None:
    if tf is None or pt is None:
        return None
    check_same_images(tf, pt, "paths", "labels")
    return float((_classes(tf) == _classes(pt)).mean())


def _classes(predictions: Predictions) -> np.ndarray:
    return predictions.probs.argmax(axis=1)


def _costs(runs: Sequence[Run]) -> dict:
    """Return the fewest minutes and the most images per second, and the largest peak memory (MiB).

    They are of the least disturbed run; one on a GPU counts only where none was without. `minutes`
    leave out filling the cache, as the first run does it for all.
    """
    records = [run.record for run in runs]
    records = [each for each in records if not each["hardware"]["gpu"]] or records
    speeds = [speed(record, "train")["images_per_second"] for record in records]
    return {
        "minutes": min(r["seconds"] - filling_seconds(r) for r in records) / 60,
        "images_per_second": max((each for each in speeds if each), default=None),
        "peak_memory_mb": max(record["peak_memory_mb"] for record in records),
        "hardware": list(dict.fromkeys(hardware.name(r["hardware"]) for r in records)),
    }


def _costs_of_arms(runs: Sequence[Run]) -> dict:
    """Return arm -> {"tf", "pt"} -> `_costs`."""
    return {
        arm: {
            name: _costs(some) if (some := select(runs, arm=arm, framework=name)) else None
            for name in FRAMEWORKS
        }
        for arm in dict.fromkeys(run.record["arm"] for run in runs)
    }
