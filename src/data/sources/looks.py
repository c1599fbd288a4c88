"""Thumbnails of a source's images, made once."""

from src.common.errors import InputError
from src.data.duplicates.thumbnails import Thumbnails, make_thumbnails
from src.data.sources.table import SourceImage


def look_at_source(images: list[SourceImage]) -> tuple[Thumbnails, dict[int, str]]:
    """Return the thumbnails of those images that can be read, and row -> reason of the rest.

    Raises:
        InputError: the cache cannot be written, or no image can be read.
    """
    key = "\n".join(repr(_stamp(image)) for image in images)
    return make_thumbnails(images, SourceImage.gray, key, f"Looking at {images[0].source}")


def _stamp(image: SourceImage) -> tuple[str, int, int]:
    try:
        status = image.file.stat()
    except OSError as error:
        raise InputError(f"{image.file} cannot be read: {error.strerror or error}.") from error
    return str(image.file), status.st_size, status.st_mtime_ns
