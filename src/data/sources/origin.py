"""What is known of where a folder of images comes from, for every record made of them."""

import re
from pathlib import PurePosixPath

from src.common.files import read_json
from src.data.catalog import Catalog

# Beside the images; its `source` is what `data download` fetched (and which version), or that
# `data build` made the folder, and of what.
MARKER = "source.json"
# In the names of files made from others: `Tr-aug-me_89.jpg` (version 2 of the merge, which does not
# say of which) or `p1-aug-2.png` (of `p1.png`). A year after it makes it a date: `12-Aug-2019.png`.
_AUGMENTED = re.compile(r"-aug-(?!(?:19|20)\d\d(?!\d))")


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


def is_augmented(path: str) -> bool:
    """Tell whether a file's name says that it was made from another image, not scanned."""
    return bool(_AUGMENTED.search(PurePosixPath(path).name.lower()))


def original_stem(path: str) -> str:
    """Return what stands before `-aug-` in a file's name, the whole stem where it does not."""
    return _AUGMENTED.split(PurePosixPath(path).stem.lower())[0]


def merge_variant(counts: dict[str, dict[str, int]], augmented: int) -> str:
    """Return a sentence that says which variant of the Kaggle merge these counts fit.

    Args:
        counts: as `Catalog.counts` gives them.
        augmented: images whose names say `-aug-`.
    """
    train, test = (sum(counts.get(part, {}).values()) for part in ("Training", "Testing"))
    if not test:
        return "no Training and Testing folders: not the Kaggle merge as published"
    synthetic = f"{augmented} images of it synthetic (*-aug-*)"
    if (train, test) == (5600, 1600):
        return f"the 7,200 variant (version 2), {synthetic}"
    if 5400 < train <= 5600 and 1400 < test <= 1600:
        missing = 7200 - train - test
        return f"the 7,200 variant (version 2), without {missing} images, {synthetic}"
    if (train, test) == (5712, 1311):
        return "the 7,023 variant (version 1), whole"
    if 5600 < train <= 5712 and 1290 < test <= 1311:
        return f"the 7,023 variant (version 1), without {7023 - train - test} images"
    return "neither published variant of the Kaggle merge"
