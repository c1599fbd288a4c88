"""What `data split` says: where every image goes, as JSON and as lines for the terminal."""

import dataclasses

import numpy as np

from src.config import CLASS_NAMES, ExperimentConfig
from src.data.catalog import Catalog
from src.data.duplicates.thumbnails import catalog_thumbnails
from src.data.splits.folds import FOLDS
from src.data.splits.frozen import DROPPED
from src.data.splits.split import PARTS, split_catalog


def describe_split(catalog: Catalog, config: ExperimentConfig) -> dict:
    """Return `parts` (path -> part), `folds` (path -> 0..4), `groups` and counts, as JSON values.

    The folds of the official split are none: its makers gave one test part.

    Raises:
        InputError: as `split_catalog`.
    """
    catalog, _ = catalog_thumbnails(catalog)
    split = split_catalog(catalog, config)
    part_of = np.full(len(catalog), DROPPED, dtype=object)
    for part, rows in split.parts.items():
        part_of[rows] = part
    folds = {}
    if config.split != "official":
        for fold in range(FOLDS):
            cut = split_catalog(catalog, dataclasses.replace(config, fold=fold))
            folds |= {catalog.paths[row]: fold for row in cut.parts["test"]}
    used = part_of != DROPPED
    return {
        "kind": config.split,
        "fold": config.fold,
        "seed": config.seed,
        "note": split.note,
        "made_at_runtime": split.made_at_runtime,
        "counts": {
            part: {
                name: int(((part_of == part) & (catalog.labels == label)).sum())
                for label, name in enumerate(CLASS_NAMES)
            }
            for part in (*PARTS, DROPPED)
        },
        "groups_per_part": {part: len(set(split.groups[split.parts[part]])) for part in PARTS},
        "groups_total": len(set(split.groups[used])),
        "parts": dict(zip(catalog.paths, part_of.tolist())),
        "folds": dict(sorted(folds.items())),
        "groups": dict(zip(catalog.paths, split.groups.tolist())),
        "skipped": [list(row) for row in catalog.skipped],
    }


def split_text(about: dict) -> str:
    """Return the counts as lines for a terminal."""
    lines = [f"split {about['kind']}" + (f", fold {about['fold']}" if about["fold"] >= 0 else "")]
    lines.append(f"{'':10}" + "".join(f"{name:>12}" for name in (*CLASS_NAMES, "all", "groups")))
    for part, counts in about["counts"].items():
        numbers = (*counts.values(), sum(counts.values()))
        groups = about["groups_per_part"].get(part, "")
        lines.append(f"{part:10}" + "".join(f"{n:12,}" for n in numbers) + f"{groups:>12}")
    if about["folds"]:
        sizes = np.bincount(list(about["folds"].values()), minlength=FOLDS)
        lines.append(f"five folds of {', '.join(map(str, sizes))} images")
    if about["note"]:
        lines.append(about["note"])
    return "\n".join(lines)
