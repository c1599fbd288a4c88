"""figshare's original files: MATLAB v7.3, which is HDF5 with MATLAB's conventions.

One `cjdata` structure per file: `image` int16, `label`, `PID`, `tumorMask` and an outline. MATLAB
stores columns first, so HDF5 shows every array transposed; text is an array of uint16 characters.
Source: Cheng 2017, doi 10.6084/m9.figshare.1512427.
"""

from pathlib import Path

import h5py
import numpy as np

from src.common.errors import InputError
from src.common.files import only_file
from src.config import CLASS_NAMES
from src.data.catalog import LARGEST_IMAGE

_LABELS = {1: "meningioma", 2: "glioma", 3: "pituitary"}  # figshare's -> ours
_FIELDS = ("image", "label", "PID", "tumorMask")


def read_pixels(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the slice (H, W) int16, as the scanner gave it, and the lesion's mask (H, W) bool.

    Raises:
        InputError: the file is missing, truncated, of an older MATLAB format, or lacks a field.
    """
    image, mask = _read(path, "image", "tumorMask")
    return image.astype(np.int16), mask > 0


def read_facts(path: Path) -> tuple[int, str]:
    """Return class (an index into CLASS_NAMES) and patient id without reading the pixels.

    Raises:
        InputError: as `read_pixels`, or figshare has no such label.
    """
    label, pid = _read(path, "label", "PID")
    kind = _LABELS.get(float(label.sum()))
    if not kind:
        raise InputError(f"{path}: cjdata.label must be 1, 2 or 3. Received: {label.sum():g}.")
    return CLASS_NAMES.index(kind), "".join(map(chr, pid.ravel())).strip()


def read_folds(path: Path) -> dict[int, int]:
    """Return file number -> published fold, 1 to 5, from `cvind.mat`.

    Raises:
        InputError: it is no such file.
    """
    try:
        with h5py.File(only_file(path)) as file:
            _check(path, "cvind", file["cvind"])
            folds = np.asarray(file["cvind"]).ravel()
        if not np.isin(folds, range(1, 6)).all():
            raise ValueError("a fold is none of 1 to 5")
    except Exception as error:  # h5py raises almost anything on damaged data
        raise InputError(f"{path} is not figshare's table of folds: {error}.") from error
    return dict(enumerate(folds.astype(int).tolist(), 1))


def to_8_bits(image: np.ndarray) -> np.ndarray:
    """Return (H, W) uint8: the darkest value becomes 0, the brightest 255."""
    values = image.astype(np.float32)
    low, high = float(values.min()), float(values.max())
    return np.rint((values - low) * (255.0 / ((high - low) or 1.0))).astype(np.uint8)


def lesion_box(mask: np.ndarray) -> tuple[float, float, float, float] | None:
    """Return the (centre x, centre y, width, height) of a mask (H, W), shares of the image."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return None
    height, width = mask.shape
    left, right = columns.min() / width, (columns.max() + 1) / width
    top, bottom = rows.min() / height, (rows.max() + 1) / height
    sides = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
    return tuple(round(float(side), 4) for side in sides)


def _check(path: Path, name: str, stored: h5py.Dataset) -> None:
    """Refuse what damage made of an array: HDF5 would take all memory, or for ever."""
    if stored.dtype.kind not in "biuf" or stored.size > LARGEST_IMAGE:
        raise InputError(
            f"{path} says that {name} holds {stored.size:,} values of type {stored.dtype}: it is "
            "damaged."
        )


def _read(path: Path, *names: str) -> list[np.ndarray]:
    """Return fields of a file's `cjdata`, turned to rows first; every error becomes a sentence."""
    try:
        with h5py.File(only_file(path)) as file:
            data = file.get("cjdata", {})
            missing = [f"cjdata.{name}" for name in _FIELDS if name not in data]
            if missing:
                raise InputError(
                    f"{path} lacks {', '.join(missing)}: not a file of figshare 1512427."
                )
            for name in names:
                _check(path, name, data[name])
            return [np.ascontiguousarray(data[name][()].T) for name in names]
    except InputError:
        raise
    except Exception as error:  # h5py raises almost anything on damaged data
        raise InputError(
            f"{path} is damaged, cut off, or no MATLAB v7.3 file ({error}). Download it again; in "
            "MATLAB, a v5 file becomes one of v7.3 with save(..., '-v7.3')."
        ) from error
