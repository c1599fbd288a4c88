"""Source datasets made by the tests: figshare's .mat files as MATLAB writes them."""

from pathlib import Path

import h5py
import numpy as np
from image_folders import picture

USER_BLOCK = 512  # bytes before the HDF5 signature, as MATLAB leaves them


def slice_image(number: int, shape: tuple[int, int] = (40, 40)) -> np.ndarray:
    """Return (H, W) int16 of 12 bits, which no other number gives."""
    gray = np.asarray(picture(77, number, size=max(shape)))[: shape[0], : shape[1]]
    return gray.astype(np.int16) * 16


def write_mat(
    path: Path,
    number: int = 1,
    pid: str = "MR040240B",
    label: int = 2,
    lacks: str = "",
    image: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Write one file as MATLAB does: a user block, transposed arrays, uint16 characters.

    Returns:
        image (H, W) int16, mask (H, W) uint8.
    """
    image = slice_image(number, (24, 32)) if image is None else image
    height, width = image.shape
    mask = np.zeros(image.shape, np.uint8)
    top, bottom, left, right = height // 4, height // 2, width // 4, width * 3 // 4
    mask[top:bottom, left:right] = 1
    corners = [left, top, right - 1, top, right - 1, bottom - 1, left, bottom - 1]
    border = np.array(corners, np.float64)
    content = {
        "image": (image.T, "int16"),
        "tumorMask": (mask.T, "uint8"),
        "tumorBorder": (border[:, None], "double"),
        "label": (np.array([[float(label)]]), "double"),
        "PID": (np.array([[ord(letter)] for letter in pid], np.uint16), "char"),
    }
    with h5py.File(path, "w", userblock_size=USER_BLOCK) as file:
        group = file.create_group("cjdata")
        group.attrs["MATLAB_class"] = np.bytes_("struct")
        for name, (values, kind) in content.items():
            if name != lacks:
                # MATLAB deflates large arrays and leaves small ones as they are.
                packed = (
                    {"compression": "gzip", "compression_opts": 3} if values.size > 4096 else {}
                )
                data = group.create_dataset(name, data=values, **packed)
                data.attrs["MATLAB_class"] = np.bytes_(kind)
                if kind == "char":
                    data.attrs["MATLAB_int_decode"] = np.int32(2)
    _sign(path)
    return image, mask


def write_folds(path: Path, count: int) -> None:
    """Write `cvind.mat`: the published fold, 1 to 5, of each of `count` files."""
    with h5py.File(path, "w", userblock_size=USER_BLOCK) as file:
        folds = file.create_dataset("cvind", data=(np.arange(count) % 5 + 1.0)[None])
        folds.attrs["MATLAB_class"] = np.bytes_("double")
    _sign(path)


def _sign(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: PCWIN64, HDF5 schema 1.00 .".ljust(124))
        file.write(b"\x00\x02IM")
