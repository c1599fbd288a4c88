"""What is known of where a folder of images comes from, for every record made of them."""

from src.common.files import read_json
from src.data.catalog import Catalog
from src.data.sources.folders import is_augmented, merge_variant

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
    augmented = sum(is_augmented(path) for path in catalog.paths)
    return {
        "fetched": about.get("source") if isinstance(about, dict) else None,
        "variant": merge_variant(catalog.counts(), augmented),
    }
