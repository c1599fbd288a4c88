"""What `data provenance` says: the JSON, and the lines for the terminal."""

from src.config import CLASS_NAMES
from src.data.catalog import Catalog
from src.data.patients.recover import Origin
from src.data.sources.origin import describe_source


def describe_origins(
    catalog: Catalog, origins: dict[str, Origin], slices: int | None, confirmed: int | None
) -> dict:
    """Return the recovered table and its counts as plain JSON values.

    Args:
        catalog: the images.
        origins: path -> origin of those that are figshare slices.
        slices: how many figshare has; None where the shipped table was used.
        confirmed: how many images the shipped table knows, path and fingerprint.
    """
    split = dict(zip(catalog.paths, catalog.official))
    matched = {
        name: sum(path in origins for path, of in zip(catalog.paths, catalog.labels) if of == label)
        for label, name in enumerate(CLASS_NAMES)
    }
    patients = {
        part: {origins[path].patient for path in origins if split[path] == part}
        for part in set(catalog.official)
    }
    testing, training = patients.get("Testing", set()), patients.get("Training", set())
    labels = dict(zip(catalog.paths, catalog.labels.tolist()))
    correlations = [origin.correlation for origin in origins.values()]
    return {
        "images": len(catalog),
        "source": describe_source(catalog),
        "matched": {"total": len(origins), **matched},
        "figshare_slices": slices,
        "slices_matched": len({origin.slice for origin in origins.values()}),
        "patients": len({origin.patient for origin in origins.values()}),
        "mirrored": sum(origin.mirrored for origin in origins.values()),
        "lowest_correlation": min(correlations, default=None),
        "test_images": sum(split[path] == "Testing" for path in origins),
        "test_patients": len(testing),
        "test_patients_in_train": len(testing & training),
        "test_images_with_patient_in_train": sum(
            split[path] == "Testing" and origin.patient in training
            for path, origin in origins.items()
        ),
        "labels_differ": [
            {"path": path, "label": CLASS_NAMES[labels[path]], "figshare": CLASS_NAMES[o.label]}
            for path, o in sorted(origins.items())
            if o.label != labels[path]
        ],
        "shipped_table_confirms": confirmed,
        "files": {
            path: {
                "slice": origin.slice,
                "patient": origin.patient,
                "mirrored": origin.mirrored,
                "correlation": origin.correlation,
            }
            for path, origin in sorted(origins.items())
        },
    }


def origins_text(about: dict) -> str:
    """Return the counts as lines for a terminal."""
    matched = ", ".join(f"{name} {about['matched'][name]:,}" for name in CLASS_NAMES)
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
