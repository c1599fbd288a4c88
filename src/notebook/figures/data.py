"""Figures of 01_explore_data: what the images are, what repeats, what leaks."""

from collections import Counter

import numpy as np
from matplotlib.figure import Figure

from src.comparison.report.heatmaps import Overlay, draw_overlays
from src.data.catalog import Catalog
from src.data.dataset import Dataset
from src.data.pixels import decode_gray
from src.data.splits.groups import Grouping

SIDE = 160  # px at which copies are shown
_FLIPS = ("", "mirrored", "upside down", "turned round")  # of the second image of a pair


def about(dataset: Dataset) -> dict:
    """Return what the notices above a figure need to know."""
    return {"dataset": dataset.describe(), "config": {}}


def draw_classes(dataset: Dataset) -> Figure:
    """Draw four random images of every class, one row per class."""
    rng = np.random.default_rng(0)
    panels = []
    for label, name in enumerate(dataset.catalog.classes):
        rows = rng.permutation(np.flatnonzero(dataset.catalog.labels == label))[:4]
        panels += map(Overlay, dataset.pixels[rows], [name, "", "", ""])
    return draw_overlays(panels, about(dataset), columns=4)


def file_facts(catalog: Catalog) -> list[dict]:
    """Return what distinguishes the files of each class, apart from what they show."""
    table = []
    for label, name in enumerate(catalog.classes):
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

    Pairs of a test and a training image, at random; where there are none, the most similar.
    """
    catalog, pairs = grouping.catalog, grouping.pairs
    official = np.array(catalog.official)
    leaks = np.flatnonzero(pairs.same & (official[pairs.first] != official[pairs.second]))
    shown = np.random.default_rng(0).permutation(leaks) if len(leaks) else np.argsort(-pairs.whole)
    panels = []
    for number, pair in enumerate(shown[:4], 1):
        flip = pairs.flip[pair]
        title = f"\nr = {pairs.whole[pair]:.3f}\n{_FLIPS[flip]}"
        panels.append(_panel(catalog, pairs.first[pair], f"\npair {number}\n"))
        panels.append(_panel(catalog, pairs.second[pair], title, flip))
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

    `splits` is name -> part -> rows of the grouping's catalogue, here and below.
    """
    pairs, groups = grouping.pairs, grouping.groups
    first, second = pairs.first[pairs.same], pairs.second[pairs.same]
    one, other = np.concatenate([first, second]), np.concatenate([second, first])
    table = []
    for name, parts in splits.items():
        test, rest = parts["test"], np.concatenate([parts["train"], parts["val"]])
        leaks = np.unique(one[np.isin(one, test) & np.isin(other, rest)])
        shared = np.isin(groups[test], groups[rest])
        table.append(
            {
                "split": name,
                "test images": len(test),
                "same slice in training": f"{len(leaks) / len(test):.1%}",
                "same patient or group in training": f"{shared.mean():.1%}",
            }
        )
    return table


def split_rows(splits: dict[str, dict], catalog: Catalog) -> list[dict]:
    """Return how many images of each class are in each part of each split, as table rows."""
    table = []
    for split, parts in splits.items():
        for part, rows in parts.items():
            by_class = catalog.class_counts(rows)
            table.append({"split": split, "part": part, **by_class, "all": len(rows)})
    return table


def _panel(catalog: Catalog, row: int, title: str = "", flip: int = 0) -> Overlay:
    path = catalog.root / catalog.paths[row]
    image = decode_gray(path, SIDE)
    image = image[:: -1 if flip & 2 else 1, :: -1 if flip & 1 else 1]
    part = catalog.paths[row].partition("/")[0]
    return Overlay(image, f"{part}\n{path.stem}{title}")
