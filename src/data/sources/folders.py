"""Sources that are folders of images, one per class: the Kaggle merge, SARTAJ, Br35H."""

from pathlib import Path

from src.config import CLASS_NAMES
from src.data.catalog import SUFFIXES
from src.data.sources.table import SourceImage

# Source -> its class folders -> ours. Br35H's `yes` does not say which tumour.
CLASS_FOLDERS = {
    "merge": {name: name for name in CLASS_NAMES},
    "sartaj": {
        "glioma_tumor": "glioma",
        "meningioma_tumor": "meningioma",
        "no_tumor": "notumor",
        "pituitary_tumor": "pituitary",
    },
    "br35h": {"no": "notumor"},
}


def read_folders(folder: Path, source: str) -> list[SourceImage]:
    """List the images below `folder` that lie in a class folder, at any depth."""
    classes = CLASS_FOLDERS[source]
    images = []
    for file in sorted(folder.rglob("*")):
        path = file.relative_to(folder)
        kind = classes.get(file.parent.name.lower())
        hidden = any(part.startswith(".") for part in path.parts)
        if kind and file.suffix.lower() in SUFFIXES and file.is_file() and not hidden:
            label, augmented = CLASS_NAMES.index(kind), is_augmented(file.name)
            image = SourceImage(source, path.as_posix(), label, file, augmented=augmented)
            images.append(image)
    return images


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
