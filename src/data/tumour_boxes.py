"""Where the tumour is: boxes for images that no training image shows."""

import numpy as np

from src.common.errors import InputError
from src.common.files import read_json
from src.data.dataset import Dataset
from src.data.patients.recover import catalog_fingerprints, shipped_origins
from src.data.phantom.write import MARKER
from src.data.sources.readers import find_figshare


def tumour_boxes(dataset: Dataset, part: str = "test") -> tuple[np.ndarray, np.ndarray]:
    """Return the images of a part whose tumour is known, and where it is.

    Known is what its fingerprint confirms as the figshare slice that the shipped table names; a
    box is mirrored where the image is. The phantom set records its lesions; figshare's slices are
    those that FIGSHARE_DATA names.

    Args:
        dataset: opened with a split that keeps patients apart.
        part: "test", or "val".
    Returns:
        rows (n,) int64 of the catalogue, all of the part; boxes (n, 4) float64: centre x,
        centre y, width, height, shares of the image.
    Raises:
        InputError: the split leaks, or figshare's boxes are not at hand.
    """
    if dataset.config.split == "official":
        raise InputError(
            "Boxes are for images of patients that no training image shows; "
            'the official split has none such. Open the dataset with split="clean".'
        )
    phantom = dataset.kind == "phantom"
    known = _phantom_boxes(dataset) if phantom else _figshare_boxes(dataset)
    rows = np.array([row for row in dataset.parts[part] if row in known], np.int64)
    return rows, np.array([known[row] for row in rows], np.float64).reshape(-1, 4)


def _phantom_boxes(dataset: Dataset) -> dict[int, tuple]:
    facts = read_json(dataset.root / MARKER)["images"]
    boxes = {row: facts[path]["box"] for row, path in enumerate(dataset.catalog.paths)}
    return {row: box for row, box in boxes.items() if box}


def _figshare_boxes(dataset: Dataset) -> dict[int, tuple]:
    slices = find_figshare()
    if not slices:
        raise InputError(
            "Tumour boxes come from figshare's slices, and no folder is named. Set FIGSHARE_DATA "
            "to a folder with images/ and slices.csv."
        )
    boxes = {item.name: item.box for item in slices if item.box}
    if not boxes:
        # Masks in .mat files would do, but which way round they lie against the table of
        # recovered patients was never seen here.
        raise InputError("figshare's slices came without boxes: a slices.csv with them is needed.")
    paths = dataset.catalog.paths
    origins = shipped_origins(paths, catalog_fingerprints(dataset.catalog))
    return {
        row: mirrored(boxes[origin.slice]) if origin.mirrored else boxes[origin.slice]
        for row, path in enumerate(paths)
        if (origin := origins.get(path)) and origin.slice in boxes
    }


def mirrored(box: tuple) -> tuple:
    """Return the (centre x, centre y, width, height) of a box after its image is mirrored."""
    return (1 - box[0], *box[1:])
