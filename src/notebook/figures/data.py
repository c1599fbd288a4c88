"""Figures of 01_explore_data: what the images are, what repeats, what leaks."""

from collections import Counter
from collections.abc import Iterable

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from src.comparison.report.heatmaps import Overlay, draw_overlays
from src.comparison.report.style import COLORS, new_figure, styled
from src.config import CLASS_NAMES
from src.data.audit.report import choose_pairs
from src.data.catalog import Catalog
from src.data.dataset import Dataset
from src.data.pixels import decode_gray
from src.data.splits.groups import Grouping

SIDE = 160  # px at which copies are shown
_LEAKY, _CLEAN = COLORS["wrong"], COLORS["pt"]


def about(dataset: Dataset) -> dict:
    """Return what the marks above a figure are read from."""
    return {"dataset": dataset.describe(), "config": {}}


def draw_classes(dataset: Dataset, each: int = 4, seed: int = 0) -> Figure:
    """Draw `each` images of every class, drawn at random from `seed`: one row a class."""
    rng = np.random.default_rng(seed)
    labels = dataset.catalog.labels
    panels = [
        Overlay(dataset.pixels[row], name if not column else "")
        for label, name in enumerate(CLASS_NAMES)
        for column, row in enumerate(rng.permutation(np.flatnonzero(labels == label))[:each])
    ]
    return draw_overlays(panels, about(dataset), columns=each)


def file_facts(catalog: Catalog) -> list[dict]:
    """Return, class by class, what the files are apart from what they show."""
    rows = []
    for label, name in enumerate(CLASS_NAMES):
        chosen = np.flatnonzero(catalog.labels == label)
        sizes = Counter(catalog.sizes[row] for row in chosen)
        (width, height), count = sizes.most_common(1)[0]
        gray = sum(catalog.modes[row] == "L" for row in chosen)
        rows.append(
            {
                "class": name,
                "images": len(chosen),
                "sizes": len(sizes),
                "commonest size": f"{width} x {height} ({count / len(chosen):.0%})",
                "stored gray": f"{gray / len(chosen):.0%}",
            }
        )
    return rows


def draw_copies(grouping: Grouping, dataset: Dataset, pairs: int = 4) -> Figure:
    """Draw pairs of one slice, one beside the other, the second turned as the first lies.

    Test images whose slice is in Training come first; where there are none, any copies; where
    there are none of these, the images most alike.
    """
    found = grouping.pairs
    crossing = list(
        choose_pairs(grouping)["Test images whose slice is in Training, drawn at random"]
    )
    copies = crossing or list(np.flatnonzero(found.same)) or list(np.argsort(-found.whole))
    panels = []
    for number, pair in enumerate(copies[:pairs], 1):
        first, second = int(found.first[pair]), int(found.second[pair])
        one, other = (_decoded(grouping.catalog, row) for row in (first, second))
        turned = [other, other[:, ::-1], other[::-1], other[::-1, ::-1]][found.flip[pair]]
        how = ["", ", mirrored", ", upside down", ", turned round"][found.flip[pair]]
        panels.append(Overlay(one, f"{_where(grouping.catalog, first)}\npair {number}"))
        alike = f"pair {number}, r = {found.whole[pair]:.3f}"
        panels.append(Overlay(turned, f"{_where(grouping.catalog, second)}{how}\n{alike}"))
    return draw_overlays(panels, about(dataset), columns=4)


def draw_patient(grouping: Grouping, dataset: Dataset, shown: int = 8) -> Figure:
    """Draw slices of the group that has most images, of both official parts if any has."""
    official = np.array(grouping.catalog.official)
    groups = grouping.groups
    testing = set(groups[official == "Testing"]) & set(groups[official == "Training"])
    members = Counter(group for group in groups.tolist() if not testing or group in testing)
    known = {
        group
        for group, path in zip(groups.tolist(), grouping.catalog.paths)
        if path in grouping.origins
    }
    ranked = [group for group, _ in members.most_common() if not known or group in known]
    rows = np.flatnonzero(groups == (ranked or list(members))[0])
    # Half of them from Testing, where it has any, so that both parts are seen.
    test = [row for row in rows if official[row] == "Testing"][: shown // 2]
    rest = [row for row in rows if official[row] != "Testing"][: shown - len(test)]
    panels = [
        Overlay(_decoded(grouping.catalog, row), _where(grouping.catalog, row))
        for row in [*rest, *test]
    ]
    return draw_overlays(panels, about(dataset), columns=4)


def leak_rows(grouping: Grouping, splits: dict[str, dict]) -> list[dict]:
    """Return, split by split, how many test images repeat something of training or validation.

    Args:
        grouping: of the catalogue.
        splits: name -> parts -> rows of the same catalogue.
    """
    same = grouping.pairs.where(grouping.pairs.same)
    rows = []
    for name, parts in splits.items():
        test = np.zeros(len(grouping.catalog), bool)
        test[parts["test"]] = True
        other = np.zeros_like(test)
        other[np.concatenate([parts["train"], parts["val"]])] = True
        hit = np.zeros_like(test)
        for one, two in ((same.first, same.second), (same.second, same.first)):
            hit[one[test[one] & other[two]]] = True
        shared = test & np.isin(grouping.groups, grouping.groups[other])
        rows.append(
            {
                "split": name,
                "test images": int(test.sum()),
                "same slice in training": f"{hit.sum() / test.sum():.1%}",
                "same patient or group in training": f"{shared.sum() / test.sum():.1%}",
            }
        )
    return rows


def draw_shortcuts(scores: dict[str, dict[str, dict]], dataset: Dataset) -> Figure:
    """Draw how far simple classifiers get that never look at a tumour, split by split.

    Args:
        scores: from `score_shortcuts`, with the splits "official" and "clean".
        dataset: for the marks.
    """
    names = list(scores["clean"])
    with styled():
        figure = new_figure(0.55 * len(names) + 1.0, about(dataset))
        axes = figure.subplots()
        for split, color, marker in (("official", _LEAKY, "s"), ("clean", _CLEAN, "o")):
            values = [scores[split][name]["accuracy"] for name in names]
            axes.plot(values, range(len(names)), marker, color=color, ms=8, label=f"{split} split")
            for place, value in enumerate(values):
                above = 9 if split == "official" else -17
                axes.annotate(
                    f"{value:.0%}",
                    (value, place),
                    (0, above),
                    textcoords="offset points",
                    ha="center",
                    fontsize=9,
                    color=color,
                )
        axes.axvline(0.25, color="#555555", lw=1, ls=":")
        axes.text(0.25, -0.62, " chance", fontsize=9, color="#444444", va="center")
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.8)
        axes.set_xlim(0, 1.04)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlabel("accuracy on the test part")
        figure.legend(loc="outside lower right", ncols=2)
        return figure


def split_rows(splits: dict[str, dict], labels: np.ndarray, names: Iterable[str] = CLASS_NAMES):
    """Return how many images of each class are in each part of each split, as table rows."""
    return [
        {"split": split, "part": part}
        | {name: int((labels[rows] == label).sum()) for label, name in enumerate(names)}
        | {"all": len(rows)}
        for split, parts in splits.items()
        for part, rows in parts.items()
    ]


def _decoded(catalog: Catalog, row: int) -> np.ndarray:
    return decode_gray(catalog.root / catalog.paths[row], SIDE)


def _where(catalog: Catalog, row: int) -> str:
    part, _, rest = catalog.paths[row].partition("/")
    return f"{part}\n{rest.rpartition('/')[2].rpartition('.')[0]}"
