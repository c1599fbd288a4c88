"""`SourceImage`: one row of the table that every reader gives."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from src.common.errors import InputError
from src.data.catalog import FORMATS
from src.data.duplicates.thumbnails import Thumbnails, make_thumbnails
from src.data.pixels import to_gray
from src.data.sources.matlab import read_slice, to_8_bits


@dataclass(frozen=True)
class SourceImage:
    """An image of one source, not yet read.

    Attributes:
        source: "merge", "figshare", "sartaj" or "br35h".
        name: unique within the source; figshare's is the number of its .mat file.
        label: index into CLASS_NAMES.
        file: where the pixels are.
        patient: the published id, or "" where none was published.
        box: the lesion's (centre x, centre y, width, height), shares of the image; or None.
        fold: figshare's published cross-validation fold, 1 to 5; 0 where unknown.
        augmented: the name says that the image was made from another (`*-aug-*`).
    """

    source: str
    name: str
    label: int
    file: Path
    patient: str = ""
    box: tuple[float, float, float, float] | None = None
    fold: int = 0
    augmented: bool = False

    def gray(self) -> Image.Image:
        """Return the image as 8-bit gray.

        Raises:
            InputError: a .mat file is damaged.
            Exception: whatever Pillow raises on a damaged image.
        """
        if self.file.suffix == ".mat":
            return Image.fromarray(to_8_bits(read_slice(self.file).image))
        with Image.open(self.file, formats=FORMATS) as image:
            return to_gray(ImageOps.exif_transpose(image)).copy()

    def mask(self) -> np.ndarray | None:
        """Return the lesion's (H, W) bool mask, where the source has one."""
        return read_slice(self.file).mask if self.file.suffix == ".mat" else None


def same_patient(pid: str) -> str:
    """Return the patient that a published figshare id stands for.

    43 ids end in a letter (MR040240 and MR040240B): the same patient, scanned again.
    """
    return re.sub(r"(?<=\d)[A-Za-z]$", "", pid.strip())


def source_thumbnails(images: list[SourceImage]) -> tuple[Thumbnails, dict[int, str]]:
    """Return the thumbnails of those images that can be read, and row -> reason of the rest.

    Raises:
        InputError: the cache cannot be written, or no image can be read.
    """
    key = "\n".join(repr(_stamp(image)) for image in images)
    return make_thumbnails(images, SourceImage.gray, key, f"Thumbnails of {images[0].source}")


def _stamp(image: SourceImage) -> tuple[str, int, int]:
    try:
        status = image.file.stat()
    except OSError as error:
        raise InputError(f"{image.file} cannot be read: {error.strerror or error}.") from error
    return str(image.file), status.st_size, status.st_mtime_ns
