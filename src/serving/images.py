"""What a classifier is asked about -> gray squares: files, folders, PIL images, arrays, frames."""

import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from src.common.errors import InputError
from src.common.files import only_file
from src.data.catalog import FORMATS, inspect_image, why_unreadable
from src.data.folders import SUFFIXES
from src.data.pixels import Decode, decode_gray, gray_square, scale_to_8_bits
from src.serving import medical_files
from src.serving.overlay import is_heat_map

PICTURE_FILES = (*SUFFIXES, ".gif")  # by the end of their name
IMAGE_FILES = (*PICTURE_FILES, *medical_files.SUFFIXES)
Images = str | Path | Image.Image | np.ndarray | Iterable
Found = tuple[str, Path | np.ndarray | str]  # name; file, pixels, or why there are none


class Single(NamedTuple):
    """One picture that is asked about.

    Attributes:
        name: of a frame of several, the file's with `#` and the frame's number behind it.
        frame: that number; None for the only picture of a file, and for what is no such file.
        series: a name for the frames of a file, or for the DICOM files of one series, that follow
            one another; None for what belongs to none.
        image: as in `find_images`.
    """

    name: str
    frame: int | None
    series: str | None
    image: Path | np.ndarray | str


def find_images(images: Images, image_size: int) -> Iterator[Found]:
    """Yield a name for each image, and its file, its (S, S) uint8 pixels, or why it has none.

    Pictures are not read yet. A folder is searched with all that is below it but what is hidden
    and the heat maps of `predict`.

    Raises:
        InputError: neither an image nor a path; or an array that is no image, or may be several
            things (the rules: src/serving/README.md).
    """
    if isinstance(images, str | os.PathLike):
        yield from _find_files(Path(images))
    elif isinstance(images, Image.Image | np.ndarray):
        for number, image in enumerate(_parts(images)):
            yield _named(image, number, image_size)
    elif isinstance(images, Iterable) and not isinstance(images, bytes | bytearray | dict):
        number = 0  # of the images that have no name
        for each in images:
            if isinstance(each, str | os.PathLike):
                yield from _find_files(Path(each))
                continue
            for image in _parts(each):
                yield _named(image, number, image_size)
                number += 1
    else:
        _parts(images)  # refuses it


def is_one(images: Images) -> bool:
    """Tell whether `images` is a single image, and no list, stack or folder."""
    if isinstance(images, np.ndarray):
        return images.ndim == 2 or (images.ndim == 3 and images.shape[-1] in _CHANNELS)
    if isinstance(images, str | os.PathLike):
        return not Path(images).is_dir()
    return isinstance(images, Image.Image)


def read_image(path: Path, image_size: int, decode: Decode = decode_gray) -> np.ndarray | str:
    """Return the (S, S) uint8 pixels of a file, or one sentence that says why it has none."""
    if reason := inspect_image(path)["bad"]:
        return reason
    try:
        with Image.open(path, formats=FORMATS) as image:
            frames = getattr(image, "n_frames", 1)
            if frames > 1 and image.format != "MPO":  # a phone's JPEG with a second, small picture
                return f"holds {frames} pictures: save the one that is meant as a file of its own"
        return decode(path, image_size)
    except Exception as error:  # Pillow's plugins raise almost anything on damaged data
        return why_unreadable(error)


def split_frames(
    found: Iterable[Found], image_size: int, frame: int | None = None
) -> Iterator[Single]:
    """Yield what was found picture by picture; a DICOM or NIfTI file becomes its frames.

    Of DICOM files that follow one another, those of one series are put together, in the order in
    which they lie in the head (`src.serving.medical_files.sort_series`).

    Args:
        found: from `find_images`.
        image_size: S, px, of the frames' pixels.
        frame: the one that is meant, from 1; by default every one.
    """
    for medical, some in itertools.groupby(found, _is_medical):
        if not medical:
            yield from (Single(name, None, None, image) for name, image in some)
            continue
        names, files = zip(*some)
        for indices in medical_files.sort_series(files):
            first, last = names[indices[0]], files[indices[-1]].name
            series = f"{first} to {last}" if len(indices) > 1 else None
            for index in indices:
                yield from _read_frames(names[index], files[index], series, image_size, frame)


def _is_medical(found: Found) -> bool:
    _, image = found
    picture = not isinstance(image, Path) or image.suffix.lower() in PICTURE_FILES
    return not picture and medical_files.is_medical(image)


def _read_frames(
    name: str, file: Path, series: str | None, image_size: int, frame: int | None
) -> Iterator[Single]:
    """Yield the frames of one file, or why there are none."""
    try:
        for each in medical_files.read_frames(file, frame):
            pixels = gray_square(Image.fromarray(each.gray), image_size)
            if each.number:
                yield Single(f"{name}#{each.number}", each.number, name, pixels)
            else:
                yield Single(name, None, series, pixels)
    except InputError as error:
        yield Single(name, None, series, str(error))


def _find_files(path: Path) -> Iterator[Found]:
    if not path.is_dir():
        missing = not os.path.lexists(path)  # a link to nowhere is there
        yield str(path), "no such file or folder" if missing else _openable(path)
        return
    found = False
    problems: list[OSError] = []
    for folder, folders, files in os.walk(path, onerror=problems.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            file = Path(folder) / name
            if not name.startswith(".") and _is_image_file(file) and not is_heat_map(file):
                found = True
                yield str(file), _openable(file)
    for problem in problems:
        yield str(problem.filename), f"cannot read this folder: {problem.strerror}"
    if not found and not problems:
        yield str(path), f"no images in this folder; expected files: {', '.join(IMAGE_FILES)}"


def _is_image_file(path: Path) -> bool:
    """Tell by a file's name; of DICOM, which often has no suffix, by the mark inside."""
    if path.name.lower().endswith(IMAGE_FILES):
        return True
    # DICOMDIR lists the files of a disc.
    try:
        return path.is_file() and path.name != "DICOMDIR" and medical_files.is_medical(path)
    except OSError:  # in a folder that cannot be searched
        return False


def _openable(path: Path) -> Path | str:
    """Return `path`, or why it is not to be opened."""
    try:
        return only_file(path)
    except OSError as error:
        return str(error)


_CHANNELS = (1, 3, 4)  # gray, RGB, RGBA


def _parts(given: object) -> Iterable[Image.Image | np.ndarray]:
    """Return the single images of an array, or the one that `given` is.

    Raises:
        InputError: it is none.
    """
    if isinstance(given, Image.Image):
        return (given,)
    if not isinstance(given, np.ndarray):
        raise InputError(
            "Expected paths, PIL images or NumPy arrays, one or a list of them. Received: "
            f"{type(given).__name__}."
        )
    if is_one(given):
        _check(given)
        return (given,)
    stack = given.ndim == 3 or (given.ndim == 4 and given.shape[-1] in _CHANNELS)
    if not stack or (given.ndim == 3 and len(given) in _CHANNELS[1:]):
        raise InputError(
            "Expected an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) for one image, or (N, H, "
            f"W) or (N, H, W, channels) for N. Received: {given.shape}. Give images whose channels "
            "come first as image.transpose(1, 2, 0), and 3 or 4 gray ones as a list."
        )
    for image in given:
        _check(image)
    return given


def _check(image: np.ndarray) -> None:
    """Raise InputError unless the numbers of one image have one meaning."""
    if not image.size:
        raise InputError(f"Expected an image with pixels. Received: an array of {image.shape}.")
    if image.dtype.kind == "f":
        low, high = float(image.min()), float(image.max())  # NaN stays NaN, and fails
        if not 0 <= low <= high <= 1:
            raise InputError(
                f"Expected floats from 0 (black) to 1 (white). Received: {low:g} to {high:g}. "
                "Scale them, or give 8 bits as uint8 and up to 16 as uint16."
            )
    elif image.dtype.kind not in "iu" or not 0 <= image.min() <= image.max() <= 65535:
        shown = f", {image.min()} to {image.max()}" if image.dtype.kind in "iu" else ""
        raise InputError(
            "Expected an array of integers from 0 to 65535, or of floats from 0 to 1. Received: "
            f"{image.dtype}{shown}."
        )


def _named(image: Image.Image | np.ndarray, number: int, image_size: int) -> Found:
    name = getattr(image, "filename", "") or f"image {number}"
    try:
        if isinstance(image, np.ndarray):
            image = image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
            image = Image.fromarray(image if image.dtype == np.uint8 else scale_to_8_bits(image))
        return str(name), gray_square(image, image_size)
    except Exception as error:  # a PIL image is read only now
        return str(name), why_unreadable(error)
