"""Does the accuracy depend on the plane of the slice: axial, coronal or sagittal?

    python -m notebooks.results.planes DATA WEIGHTS

`dataset/planes.csv` names the plane of 480 images, by eye; a probe on block13's features names the
others'. The fine-tuned networks of the five folds and the linear probe are scored in each plane,
and so is a probe that learns from the other two planes only. It writes `planes.json` beside this
file.
"""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from notebooks.results.script import record
from notebooks.results.sources import Probed, probed_images
from src.comparison.baselines import fit_probe
from src.config import CLASS_NAMES
from src.evaluation.intervals import mean_difference, mean_interval
from src.records import FRAMEWORKS, measurement
from src.results.grid import RESULTS

PLANES = ("axial", "coronal", "sagittal")
SEEN = RESULTS.parents[1] / "dataset" / "planes.csv"
NETWORKS = {framework: f"tuned-{framework}" for framework in FRAMEWORKS}


def name_planes(images: Probed, seen: Mapping[str, str]) -> tuple[np.ndarray, dict]:
    """Return the plane of each image (N,), as text, and how often the probe names it rightly.

    Args:
        images: N of them.
        seen: path -> plane of those that somebody looked at; they keep theirs.
    Returns:
        the planes, and the share of seen images whose plane is named by a probe that has not seen
        their group, with its interval.
    """
    known = np.flatnonzero([path in seen for path in images.paths.tolist()])
    planes = np.array([seen[path] for path in images.paths[known].tolist()])
    features, groups = images.features[known].astype(np.float64), images.groups[known]
    right = np.zeros(len(known))
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    for train, test in folds.split(features, planes, groups):
        probe = fit_probe(features[train], planes[train], images.c)
        right[test] = probe.predict(features[test]) == planes[test]
    named = fit_probe(features, planes, images.c).predict(images.features.astype(np.float64))
    named[known] = planes
    return named, mean_interval(right, groups)


def score_planes(
    images: Probed, planes: np.ndarray, networks: Mapping[str, np.ndarray]
) -> list[dict]:
    """Return a row for the tumours of each plane, and one for its images of `notumor`.

    Args:
        images: N of them; those that no fold tests train the probe, and are not scored.
        planes: (N,) of PLANES.
        networks: framework -> (N,) whether its fine-tuned network is right; NaN where not tested.
    Raises:
        InputError: a class that is tested does not train.
    """
    rows, tumour = [], images.labels != CLASS_NAMES.index("notumor")
    for plane in PLANES:
        here = (planes == plane) & np.isfinite(images.right)
        answers, count = images.held_out(planes != plane, here)
        alone = np.full(len(planes), np.nan)
        alone[here] = answers == images.labels[here]
        for kind, are in (("tumours", tumour), ("notumor", ~tumour)):
            if not (which := here & are).any():
                continue
            groups = images.groups[which]
            rates = {**networks, "probe": images.right, "held_out": alone}
            rows.append(
                {
                    "plane": plane,
                    "kind": kind,
                    "images": int(which.sum()),
                    "groups": len(np.unique(groups)),
                    "train_images": count,
                    **{name: mean_interval(right[which], groups) for name, right in rates.items()},
                    "change": mean_difference((alone - images.right)[which], groups),
                }
            )
    return rows


def read_seen() -> dict[str, str]:
    """Return {path: plane} of the images that somebody looked at."""
    with SEEN.open(encoding="utf-8", newline="") as lines:
        return {row["path"]: row["plane"] for row in csv.DictReader(lines)}


def right_by_network(paths: np.ndarray) -> dict[str, np.ndarray]:
    """Return {framework: (N,) whether its fine-tuned network is right} from `predictions.csv`."""
    with (RESULTS / "predictions.csv").open(encoding="utf-8", newline="") as lines:
        said = {row["path"]: row for row in csv.DictReader(lines) if row["split"] != "official"}
    return {
        framework: np.array(
            [
                float(said[path][column] == said[path]["truth"]) if path in said else np.nan
                for path in paths.tolist()
            ]
        )
        for framework, column in NETWORKS.items()
    }


def measure(data: Path, weights: Path) -> Mapping:
    """Return what is recorded."""
    config, dataset, images = probed_images(data, weights)
    planes, named = name_planes(images, seen := read_seen())
    networks = right_by_network(images.paths)
    rows = score_planes(images, planes, networks)
    about = {"seen": len(seen), "named_rightly": named, "C": images.c}
    return measurement(config, dataset.describe(), **about, rows=rows)


if __name__ == "__main__":
    record("planes", measure, "data", "weights")
