"""figshare's original files: MATLAB v7.3, which is HDF5 with MATLAB's conventions.

One `cjdata` structure per file: `image` int16, `label`, `PID`, `tumorBorder`, `tumorMask`. MATLAB
stores columns first, so HDF5 shows every array transposed; text is an array of uint16 characters.
Source: Cheng 2017, doi 10.6084/m9.figshare.1512427.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from src.common.errors import InputError
from src.config import CLASS_NAMES

# figshare's label -> our class.
LABELS = {1: "meningioma", 2: "glioma", 3: "pituitary"}
_FIELDS = ("image", "label", "PID", "tumorBorder", "tumorMask")


@dataclass(frozen=True, eq=False)
class MatSlice:
    """The content of one file.

    Attributes:
        image: (H, W) int16, as the scanner gave it.
        label: index into CLASS_NAMES.
        pid: the published patient id.
        border: (P, 2) float64, points on the lesion's outline in pixels, x and y as published.
        mask: (H, W) bool, the lesion.
    """

    image: np.ndarray
    label: int
    pid: str
    border: np.ndarray
    mask: np.ndarray

    @property
    def box(self) -> tuple[float, float, float, float] | None:
        """The lesion's (centre x, centre y, width, height), shares of the image."""
        rows, columns = np.nonzero(self.mask)
        if not len(rows):
            return None
        height, width = self.mask.shape
        left, right = columns.min() / width, (columns.max() + 1) / width
        top, bottom = rows.min() / height, (rows.max() + 1) / height
        sides = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
        return tuple(round(float(side), 4) for side in sides)


def read_slice(path: Path) -> MatSlice:
    """Read one file whole.

    Raises:
        InputError: the file is missing, truncated, of an older MATLAB format, or lacks a field.
    """
    with _opened(path) as data:
        # A transposed view would drag the file's layout along; copies are plain (H, W) arrays.
        image = np.ascontiguousarray(_array(data, "image", path).T)
        mask = np.ascontiguousarray(_array(data, "tumorMask", path).T) > 0
        border = np.asarray(_array(data, "tumorBorder", path), np.float64).ravel()
        label, pid = _label(data, path), _text(data, "PID", path)
    if image.ndim != 2 or image.shape != mask.shape:
        raise InputError(
            f"{path}: image {image.shape} and tumorMask {mask.shape} must be of one size (H, W). "
            "Download the file again."
        )
    points = border[: len(border) // 2 * 2].reshape(-1, 2)  # x1, y1, x2, y2, ...
    return MatSlice(image.astype(np.int16), label, pid, points, mask)


def read_facts(path: Path) -> tuple[int, str]:
    """Return label and patient id without reading the pixels.

    Raises:
        InputError: as `read_slice`.
    """
    with _opened(path) as data:
        return _label(data, path), _text(data, "PID", path)


def read_folds(path: Path) -> dict[int, int]:
    """Return file number -> published fold, 1 to 5, from `cvind.mat`.

    Raises:
        InputError: it is no such file.
    """
    try:
        with h5py.File(path) as file:
            folds = np.asarray(file["cvind"]).ravel().astype(int)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path} is not figshare's table of folds: {error}.") from error
    return {number + 1: int(fold) for number, fold in enumerate(folds)}


def to_8_bits(image: np.ndarray) -> np.ndarray:
    """Return (H, W) uint8: the darkest value becomes 0, the brightest 255."""
    values = image.astype(np.float32)
    low, high = float(values.min()), float(values.max())
    return np.rint((values - low) * (255.0 / ((high - low) or 1.0))).astype(np.uint8)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[h5py.Group]:
    """Give a file's `cjdata`; every error becomes a sentence."""
    if not path.exists():
        raise InputError(f"No such file: {path}.")
    try:
        with path.open("rb") as file:
            if file.read(128).startswith(b"MATLAB 5.0"):
                raise InputError(
                    f"{path} is a MATLAB v5 file; figshare's are v7.3. In MATLAB: load it and "
                    "save(..., '-v7.3')."
                )
        with h5py.File(path, "r") as file:
            data = file.get("cjdata")
            fields = data if isinstance(data, h5py.Group) else ()
            missing = [f"cjdata.{name}" for name in _FIELDS if name not in fields]
            if missing:
                raise InputError(
                    f"{path} lacks {', '.join(missing)}: not a file of figshare 1512427."
                )
            yield data
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{path} is damaged or cut off, or no MATLAB v7.3 file ({error}). Download it again."
        ) from error


def _array(data: h5py.Group, name: str, path: Path) -> np.ndarray:
    if not isinstance(data[name], h5py.Dataset) or not data[name].size:
        raise InputError(f"{path}: cjdata.{name} is empty or no array.")
    return data[name][()]


def _label(data: h5py.Group, path: Path) -> int:
    value = float(np.asarray(_array(data, "label", path)).ravel()[0])
    if value not in LABELS:
        raise InputError(f"{path}: cjdata.label must be 1, 2 or 3. Received: {value:g}.")
    return CLASS_NAMES.index(LABELS[int(value)])


def _text(data: h5py.Group, name: str, path: Path) -> str:
    return "".join(chr(int(code)) for code in np.asarray(_array(data, name, path)).ravel()).strip()
