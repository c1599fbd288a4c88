"""What `data provenance` says: the JSON, and the lines for the terminal."""

import dataclasses

from src.config import CLASS_NAMES
from src.data.catalog import Catalog
from src.data.patients.recover import Origin
from src.data.sources.origin import describe_source


def describe_origins(
    catalog: Catalog, origins: dict[str, Origin], slices: int | None, confirmed: int | None
) -> dict:
    """Return the recovered table and its counts as plain JSON values.

    Args:
        catalog, origins: as `recover` takes and gives them.
        slices: how many figshare has; None where the shipped table was used.
        confirmed: how many images the shipped table knows.
    """
    label_of = dict(zip(catalog.paths, catalog.labels.tolist()))
    part_of = dict(zip(catalog.paths, catalog.official))
    known, names = origins.values(), catalog.classes
    labels = [label_of[path] for path in origins]
    test = [origin.patient for path, origin in origins.items() if part_of[path] == "Testing"]
    train = {origin.patient for path, origin in origins.items() if part_of[path] == "Training"}
    return {
        "images": len(catalog),
        "source": describe_source(catalog),
        "matched": {
            "total": len(origins),
            **{name: labels.count(label) for label, name in enumerate(names)},
        },
        "figshare_slices": slices,
        "slices_matched": len({origin.slice for origin in known}),
        "patients": len({origin.patient for origin in known}),
        "mirrored": sum(origin.mirrored for origin in known),
        "lowest_correlation": min((origin.correlation for origin in known), default=None),
        "test_images": len(test),
        "test_patients": len(set(test)),
        "test_patients_in_train": len(set(test) & train),
        "test_images_with_patient_in_train": sum(patient in train for patient in test),
        "labels_differ": [
            {"path": path, "label": names[label_of[path]], "figshare": CLASS_NAMES[o.label]}
            for path, o in sorted(origins.items())
            if o.contradicts(names[label_of[path]])
        ],
        "shipped_table_confirms": confirmed,
        "files": {path: dataclasses.asdict(origin) for path, origin in sorted(origins.items())},
    }


def origins_text(about: dict) -> str:
    """Return the counts as lines for a terminal."""
    classes = [name for name in about["matched"] if name != "total"]
    matched = ", ".join(f"{name} {about['matched'][name]:,}" for name in classes)
    lines = [
        f"{about['matched']['total']:,} of {about['images']:,} images are figshare slices:",
        f"  {matched}",
        f"{about['slices_matched']:,} different slices of {about['patients']} patients, "
        f"{about['mirrored']:,} images mirrored left-right",
    ]
    if about["lowest_correlation"] is not None:
        lines.append(f"lowest correlation of a match: {about['lowest_correlation']:.4f}")
    if about["test_images"]:
        lines.append(
            f"Testing: {about['test_images']} images of {about['test_patients']} known patients; "
            f"{about['test_patients_in_train']} of these patients are in Training too, and so "
            f"{about['test_images_with_patient_in_train']} of the images show one"
        )
    for row in about["labels_differ"]:
        lines.append(f"label: {row['path']} is {row['figshare']} in figshare, not {row['label']}")
    if about["shipped_table_confirms"] is not None:
        lines.append(
            f"the shipped table knows {about['shipped_table_confirms']:,} of the images, by path "
            "and by a fingerprint that tolerates re-encoding"
        )
    return "\n".join(lines)
