"""Readers of the datasets that the merge was made of: one table of images from any of them.

`read_source` says which dataset a folder holds and lists its images; no pixels are read until a
`SourceImage` is asked for them.
"""

import os
from pathlib import Path

from src.common.errors import InputError
from src.data.sources.figshare import TABLE, read_exported, read_mat_folder
from src.data.sources.folders import BR35H, MERGE, SARTAJ, read_folders
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
    images = _read(folder)
    if not images:
        raise InputError(f"No images of a known source in {folder}. Expected {_EXPECTED}.")
    return images


def _read(folder: Path) -> list[SourceImage]:
    if (folder / TABLE).exists():
        return read_exported(folder)
    names = {path.name.lower() for path in folder.rglob("*") if path.is_dir()}
    if set(SARTAJ) & names:
        return read_folders(folder, "sartaj", SARTAJ)
    if len(set(MERGE) & names) >= 3:
        return read_folders(folder, "merge", MERGE)
    if "no" in names:
        return read_folders(folder, "br35h", BR35H)
    return read_mat_folder(folder)


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
