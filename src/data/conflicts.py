"""Copies of one slice under two labels, and which label is right."""

from src.config import CLASS_NAMES
from src.data.catalog import Catalog
from src.data.duplicates.similarity import Pairs
from src.data.patients.recover import Origin


def find_conflicts(
    catalog: Catalog, pairs: Pairs, origins: dict[str, Origin]
) -> list[dict[str, object]]:
    """Return the same-slice pairs whose labels differ: `paths`, `labels`, `truth`, `wrong`.

    `truth` is figshare's class, or None where figshare does not know the slice; `wrong` are the
    paths that contradict it, and both where nothing tells which is right.
    """
    found = []
    for first, second in zip(pairs.first[pairs.same], pairs.second[pairs.same]):
        if catalog.labels[first] == catalog.labels[second]:
            continue
        paths = [catalog.paths[first], catalog.paths[second]]
        labels = [int(catalog.labels[first]), int(catalog.labels[second])]
        truths = {origins[path].label for path in paths if path in origins}
        truth = truths.pop() if len(truths) == 1 else None
        wrong = [path for path, label in zip(paths, labels) if label != truth]
        found.append(
            {
                "paths": paths,
                "labels": [CLASS_NAMES[label] for label in labels],
                "truth": None if truth is None else CLASS_NAMES[truth],
                "wrong": wrong,
            }
        )
    return found


def conflicts_note(conflicts: list[dict]) -> str:
    """Return what a reader must know of copies under two labels, or ""."""
    if not conflicts:
        return ""
    first, second = conflicts[0]["paths"]
    return (
        f"{len(conflicts)} pairs of images show one slice under two classes, the first {first} and "
        f"{second}: each pair is in one part, where one of its labels is wrong. `python -m src "
        "data audit` lists them; remove what is wrong."
    )


def mislabelled(catalog: Catalog, conflicts: list[dict], origins: dict[str, Origin]) -> list[str]:
    """Return the paths whose label figshare, or a copy under another label, contradicts."""
    wrong = {path for conflict in conflicts for path in conflict["wrong"]}
    for path, label in zip(catalog.paths, catalog.labels):
        if path in origins and origins[path].label != label:
            wrong.add(path)
    return sorted(wrong)
