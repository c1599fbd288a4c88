"""Readers of the datasets that the merge was made of: one table of images from any of them.

`read_source` says which dataset a folder holds and lists its images; no pixels are read until a
`SourceImage` is asked for them.
"""

import os
from pathlib import Path

from src.common.errors import InputError
from src.data.sources.figshare import TABLE, read_exported, read_mat_folder
from src.data.sources.folders import CLASS_FOLDERS, read_folders
from src.data.sources.table import SourceImage, same_patient

__all__ = ["SourceImage", "find_figshare", "read_source", "same_patient"]
_EXPECTED = (
    f"figshare (.mat files, or {TABLE} with images/), the Kaggle merge (glioma, meningioma, "
    "notumor, pituitary), SARTAJ (glioma_tumor, ..., no_tumor) or Br35H (yes, no)"
)


def read_source(folder: Path) -> list[SourceImage]:
    """List the images of one source; the folder's content says which source it is.

    Raises:
        InputError: no such folder, nothing known in it, or something in it is damaged.
    """
    folder = Path(folder).expanduser().resolve()
    if not folder.is_dir():
        raise InputError(f"No such folder: {folder}. Expected {_EXPECTED}.")
    names = {path.name.lower() for path in folder.rglob("*") if path.is_dir()}
    if (folder / TABLE).exists():
        images = read_exported(folder)
    elif names & set(CLASS_FOLDERS["sartaj"]):
        images = read_folders(folder, "sartaj")
    elif len(names & set(CLASS_FOLDERS["merge"])) >= 3:
        images = read_folders(folder, "merge")
    elif "no" in names:
        images = read_folders(folder, "br35h")
    else:
        images = read_mat_folder(folder)
    if not images:
        raise InputError(f"No images of a known source in {folder}. Expected {_EXPECTED}.")
    return images


def find_figshare(given: Path | None = None) -> list[SourceImage] | None:
    """Return figshare's slices from `given`, else FIGSHARE_DATA; None where neither is set.

    Raises:
        InputError: the folder that was named is not figshare's.
    """
    named = given or os.environ.get("FIGSHARE_DATA")
    if not named:
        return None
    images = read_source(Path(named))
    if images[0].source != "figshare":
        raise InputError(f"{named} holds {images[0].source}, not figshare. Expected {_EXPECTED}.")
    return images
