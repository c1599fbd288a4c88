"""Figures of 01_explore_data: what the images are, what repeats, what leaks."""

from collections import Counter

import numpy as np
from matplotlib.figure import Figure

from src.comparison.report.heatmaps import Overlay, draw_overlays
from src.config import CLASS_NAMES
from src.data.catalog import Catalog
from src.data.dataset import Dataset
from src.data.pixels import decode_gray
from src.data.splits.groups import Grouping

SIDE = 160  # px at which copies are shown
# How the second image of a pair is turned -> how to turn it back, and its title.
_FLIPS = (
    (np.s_[:, :], ""),
    (np.s_[:, ::-1], "mirrored"),
    (np.s_[::-1], "upside down"),
    (np.s_[::-1, ::-1], "turned round"),
)


def about(dataset: Dataset) -> dict:
    """Return what the notices above a figure need to know."""
    return {"dataset": dataset.describe(), "config": {}}


def draw_classes(dataset: Dataset) -> Figure:
    """Draw four random images of every class, one row per class."""
    rng = np.random.default_rng(0)
    panels = []
    for label, name in enumerate(CLASS_NAMES):
        rows = rng.permutation(np.flatnonzero(dataset.catalog.labels == label))[:4]
        panels += map(Overlay, dataset.pixels[rows], [name, "", "", ""])
    return draw_overlays(panels, about(dataset), columns=4)


def file_facts(catalog: Catalog) -> list[dict]:
    """Return what distinguishes the files of each class, apart from what they show."""
    table = []
    for label, name in enumerate(CLASS_NAMES):
        rows = np.flatnonzero(catalog.labels == label)
        sizes = Counter(catalog.sizes[row] for row in rows)
        (width, height), count = sizes.most_common(1)[0]
        gray = sum(catalog.modes[row] == "L" for row in rows)
        table.append(
            {
                "class": name,
                "images": len(rows),
                "sizes": len(sizes),
                "commonest size": f"{width} x {height} ({count / len(rows):.0%})",
                "stored gray": f"{gray / len(rows):.0%}",
            }
        )
    return table


def draw_copies(grouping: Grouping, dataset: Dataset) -> Figure:
    """Draw four pairs of one slice, the second image of each turned to match the first.

    A random choice of test images whose slice is in Training; where there are none, the most
    similar images.
    """
    catalog, pairs = grouping.catalog, grouping.pairs
    official = np.array(catalog.official)
    leaks = np.flatnonzero(pairs.same & (official[pairs.first] != official[pairs.second]))
    shown = np.random.default_rng(0).permutation(leaks) if len(leaks) else np.argsort(-pairs.whole)
    panels = []
    for number, pair in enumerate(shown[:4], 1):
        turn, how = _FLIPS[pairs.flip[pair]]
        panels.append(_panel(catalog, pairs.first[pair], f"\npair {number}\n"))
        other = _panel(catalog, pairs.second[pair], f"\nr = {pairs.whole[pair]:.3f}\n{how}")
        panels.append(Overlay(other.image[turn], other.title))
    return draw_overlays(panels, about(dataset), columns=4)


def draw_patient(grouping: Grouping, dataset: Dataset) -> Figure:
    """Draw eight slices of the largest group, a patient's and of both official parts if any is."""
    catalog, groups = grouping.catalog, grouping.groups
    testing = np.array(catalog.official) == "Testing"
    in_both = np.intersect1d(groups[testing], groups[~testing])
    patients = groups[[path in grouping.origins for path in catalog.paths]]
    choices = (np.intersect1d(in_both, patients), in_both, patients, groups)
    candidates = next(choice for choice in choices if len(choice))
    names, sizes = np.unique(groups[np.isin(groups, candidates)], return_counts=True)
    rows = np.flatnonzero(groups == names[sizes.argmax()])
    test = rows[testing[rows]][:4]
    train = rows[~testing[rows]][: 8 - len(test)]
    return draw_overlays([_panel(catalog, row) for row in [*train, *test]], about(dataset), 4)


def leak_rows(grouping: Grouping, splits: dict[str, dict]) -> list[dict]:
    """Return how many test images of each split repeat something of training or validation.

    Args:
        grouping: of the catalogue.
        splits: name -> parts -> rows of the same catalogue.
    """
    pairs, groups = grouping.pairs, grouping.groups
    first, second = pairs.first[pairs.same], pairs.second[pairs.same]
    table = []
    for name, parts in splits.items():
        test, other = parts["test"], np.concatenate([parts["train"], parts["val"]])
        leaks = np.union1d(
            first[np.isin(first, test) & np.isin(second, other)],
            second[np.isin(second, test) & np.isin(first, other)],
        )
        shared = np.isin(groups[test], groups[other])
        table.append(
            {
                "split": name,
                "test images": len(test),
                "same slice in training": f"{len(leaks) / len(test):.1%}",
                "same patient or group in training": f"{shared.mean():.1%}",
            }
        )
    return table


def split_rows(splits: dict[str, dict], labels: np.ndarray) -> list[dict]:
    """Return how many images of each class are in each part of each split, as table rows."""
    return [
        {"split": split, "part": part}
        | {name: int((labels[rows] == label).sum()) for label, name in enumerate(CLASS_NAMES)}
        | {"all": len(rows)}
        for split, parts in splits.items()
        for part, rows in parts.items()
    ]


def _panel(catalog: Catalog, row: int, title: str = "") -> Overlay:
    path = catalog.root / catalog.paths[row]
    part = catalog.paths[row].partition("/")[0]
    return Overlay(decode_gray(path, SIDE), f"{part}\n{path.stem}{title}")
