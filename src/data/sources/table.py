"""`SourceImage`: one row of the table that every reader gives."""

import re
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from src.data.duplicates.thumbnails import Thumbnails, make_thumbnails, open_upright
from src.data.pixels import to_gray
from src.data.sources.matlab import read_pixels, to_8_bits


@dataclass(frozen=True)
class SourceImage:
    """An image of one source, not yet read.

    Attributes:
        source: "merge", "figshare", "sartaj" or "br35h".
        name: unique within the source; figshare's is the number of its .mat file.
        label: index into CLASS_NAMES.
        file: where the pixels are.
        slice: the number of the figshare slice that it shows, or "" where that is unknown.
        patient: the published id, or "" where none was published.
        box: the lesion's (centre x, centre y, width, height), shares of the image; or None.
        fold: figshare's published cross-validation fold, 1 to 5; 0 where unknown.
        augmented: the name says that the image was made from another (`*-aug-*`).
    """

    source: str
    name: str
    label: int
    file: Path
    slice: str = ""
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
            return Image.fromarray(to_8_bits(read_pixels(self.file)[0]))
        return to_gray(open_upright(self.file))


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
    stamps = [(str(image.file), image.file.stat()) for image in images]
    key = "\n".join(repr((path, at.st_size, at.st_mtime_ns)) for path, at in stamps)
    return make_thumbnails(images, SourceImage.gray, key, f"Thumbnails of {images[0].source}")
