"""What is known of where a folder of images comes from, for every record made of them."""

from src.common.files import read_json
from src.data.catalog import Catalog

# Beside the images; its `source` is what `data download` fetched (and which version), or that
# `data build` made the folder, and of what.
MARKER = "source.json"


def describe_source(catalog: Catalog) -> dict[str, str | None]:
    """Return `fetched`, what the folder says it is (or None), and `variant`, what it looks like.

    Raises:
        InputError: that file is damaged.
    """
    marker = catalog.root / MARKER
    about = read_json(marker) if marker.exists() else {}
    return {
        "fetched": about.get("source") if isinstance(about, dict) else None,
        "variant": merge_variant(catalog.counts(), sum(map(is_augmented, catalog.paths))),
    }


def is_augmented(name: str) -> bool:
    """Tell whether a file's name says that it was made from another image, not scanned."""
    return "-aug-" in name.lower()


def merge_variant(counts: dict[str, dict[str, int]], augmented: int) -> str:
    """Return a sentence that says which variant of the Kaggle merge these counts fit.

    Args:
        counts: as `Catalog.counts` gives them.
        augmented: images whose names say `-aug-`.
    """
    train, test = (sum(counts.get(part, {}).values()) for part in ("Training", "Testing"))
    if not test:
        return "no Training and Testing folders: not the Kaggle merge as published"
    if augmented or (train, test) == (5600, 1600):
        return f"the 7,200 variant (version 2), {augmented} images of it synthetic (*-aug-*)"
    if (train, test) == (5712, 1311):
        return "the 7,023 variant (version 1), whole"
    if 5600 < train < 5712 and 1290 < test <= 1311:
        return f"the 7,023 variant (version 1), without {7023 - train - test} images"
    return "neither published variant of the Kaggle merge"
