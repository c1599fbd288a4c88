"""DICOM and NIfTI files -> gray frames of 8 bits, and the answers for a series' slices -> one.

Nothing that tells who a patient is leaves this module. Of a DICOM file only the tags below are
read; pydicom's warnings and log lines, which quote values, are switched off; the free text of a
NIfTI header is not looked at. An error names the file, a technical tag and the kind of a library's
error, never its text. (A file may be *named* after a patient: its name is what the caller gave.)
"""

import contextlib
import gzip
import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from src.common.errors import InputError
from src.common.files import only_file
from src.config import CLASS_NAMES, NO_TUMOUR
from src.data.catalog import LARGEST_IMAGE

SUFFIXES = (".dcm", ".dicom", ".nii", ".nii.gz")
NEIGHBOURS = 3  # slices, the fewest that `join_series` averages
_PERCENTILES = (0.5, 99.5)  # what becomes black and white where no window is given
_TAGS = [
    "Modality",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsStored",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "RescaleSlope",
    "RescaleIntercept",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]
_PLACE_TAGS = [
    "SeriesInstanceUID",
    "NumberOfFrames",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "InstanceNumber",
]
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
# Has a decoder for every compressed syntax that pydicom knows.
_DECODERS = "python -m pip install pylibjpeg[all]"


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a file.

    Attributes:
        number: from 1; None where the file holds one picture.
        gray: (H, W) uint8.
    """

    number: int | None
    gray: np.ndarray


def is_medical(path: Path) -> bool:
    """Say whether a file is meant to be DICOM or NIfTI: by its name, or by DICOM's mark inside."""
    path = Path(path)
    if path.name.lower().endswith(SUFFIXES):
        return path.is_file()
    with contextlib.suppress(OSError), only_file(path).open("rb") as file:
        return file.read(132)[128:] == b"DICM"
    return False


def read_frames(path: Path, frame: int | None = None) -> Iterator[Frame]:
    """Yield the frames of a DICOM file, or the axial slices of a NIfTI volume, one at a time.

    DICOM: stored values are rescaled (slope, intercept) and shown through the first window of the
    file or, in enhanced files, of the frame. Without a window the frame's own percentiles 0.5 and
    99.5 become black and white. MONOCHROME1 is inverted; colour (a secondary capture) becomes gray
    as any other colour image. Only what says that it is MR is read.

    NIfTI: the volume is turned to its closest canonical orientation and cut across its third axis,
    from below to above. A slice is shown as radiologists see it, from the feet: the patient's right
    on the left, the nose up. Percentiles 0.5 and 99.5 of the whole volume become black and white.
    A file with several volumes is refused: of four contrasts in a file none is "the" image. NIfTI
    does not say which machine made it, so CT cannot be refused here.

    Args:
        path: the file; at most 100 megapixels in all its frames, checked before any is decoded.
        frame: 1 for the first; by default every frame.
    Raises:
        InputError: the file cannot be read or is refused; nothing else is raised, whatever is in
            the file. Some of the frames may have come before.
    """
    path = Path(path)
    if path.name.lower().endswith((".nii", ".nii.gz")):
        kind, frames = "NIfTI", _nifti_frames
    else:
        kind, frames = "DICOM", _dicom_frames
    refusal = ""
    try:
        only_file(path)
    except OSError as error:
        raise InputError(f"{path.name} is {error}.") from error
    try:
        yield from frames(path, frame)
    except InputError:
        raise
    except ModuleNotFoundError as error:
        refusal = (
            f"{path.name}: reading {kind} needs {error.name}: python -m pip install {error.name}"
        )
    except OSError as error:
        refusal = f"{path.name} cannot be read: {error.strerror or 'it is damaged'}."
    except Exception as error:  # a damaged file makes the libraries raise almost anything
        refusal = f"{path.name} is no {kind} file, or damaged ({type(error).__name__})."
    if refusal:  # outside of the handler: the library's error, which may quote, is not chained
        raise InputError(refusal)


def sort_series(paths: Sequence[Path]) -> list[list[int]]:
    """Put DICOM files of one picture each that are of one series (0020,000E) together.

    They are ordered by Image Position (0020,0032) along the normal of the slice, where one of them
    has none by Instance Number (0020,0013), and else as they come.

    Args:
        paths: any files.
    Returns:
        their indices: a list for each series, and for each file that belongs to none.
    Source: DICOM PS3.3, C.7.6.2.1.1.
    """
    series: dict[object, list[int]] = {}
    places = [_place(path) for path in paths]
    for index, (uid, *_) in enumerate(places):
        series.setdefault(uid or index, []).append(index)
    for indices in series.values():
        for key in (2, 1):  # the last counts most
            if all(places[index][key] is not None for index in indices):
                indices.sort(key=lambda index, key=key: places[index][key])
    return [*series.values()]


def _place(path: Path) -> tuple[str | None, float | None, int | None]:
    """Return the series of a DICOM file, its place along the normal in mm, and its number."""
    nothing = None, None, None
    try:
        header = _pydicom().dcmread(
            only_file(path), stop_before_pixels=True, specific_tags=_PLACE_TAGS
        )
        if int(header.get("NumberOfFrames") or 1) > 1 or not header.get("SeriesInstanceUID"):
            return nothing
        place, number = None, header.get("InstanceNumber")
        if (turn := header.get("ImageOrientationPatient")) and header.get("ImagePositionPatient"):
            normal = np.cross(*np.array(turn, float).reshape(2, 3))
            place = float(normal @ np.array(header.ImagePositionPatient, float))
        return str(header.SeriesInstanceUID), place, None if number is None else int(number)
    except Exception:  # no DICOM, damaged, or no pydicom: whoever reads it says so
        return nothing


def _numbers(path: Path, frame: int | None, count: int, shape: Sequence[int]) -> Sequence[int]:
    """Return the indices of the frames to decode, or refuse before anything is decoded."""
    if min(count, *shape) < 1:
        raise InputError(f"{path.name} says it has {count} frames of {shape}: no picture.")
    if count * math.prod(shape) > LARGEST_IMAGE:
        raise InputError(
            f"{path.name} is too large: {count} frames of {' x '.join(map(str, shape))} values are "
            f"over the limit of {LARGEST_IMAGE // 10**6} megapixels."
        )
    if frame is None:
        return range(count)
    if not 1 <= frame <= count:
        raise InputError(f"{path.name} has frames 1 to {count}; there is no frame {frame}.")
    return [frame - 1]


def _stretch(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return 0 to 255 for `low` to `high`."""
    share = (values - low) / ((high - low) or 1.0)
    return np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)


def _pydicom():
    """Import pydicom, silent."""
    import pydicom

    # Each time: whoever catches warnings, as test runners do, takes filters away again.
    warnings.filterwarnings("ignore", module="pydicom")
    logging.getLogger("pydicom").propagate = False
    return pydicom


def _dicom_frames(path: Path, frame: int | None) -> Iterator[Frame]:
    pydicom = _pydicom()
    from pydicom.pixels import iter_pixels

    with path.open("rb") as file:
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_TAGS)
        if (modality := str(header.get("Modality") or "missing")) != "MR":
            raise InputError(
                f"{path.name} is no MR image: Modality (0008,0060) is {modality[:16]}."
            )
        if not header.get("Rows") or file.read(4) == b"":
            raise InputError(f"{path.name} holds no pixels: no Pixel Data (7FE0,0010).")
        samples, colours = header.get("SamplesPerPixel", 1), str(header.PhotometricInterpretation)
        if colours not in (*_COLOURS, "MONOCHROME1", "MONOCHROME2"):
            raise InputError(
                f"{path.name}: Photometric Interpretation (0028,0004) {colours[:16]} is not read; "
                "MONOCHROME1, MONOCHROME2 and RGB are."
            )
        count = int(header.get("NumberOfFrames") or 1)
        indices = _numbers(path, frame, count, (header.Rows, header.Columns, samples))
        _check_decoder(path, header.file_meta.TransferSyntaxUID)
        for index, stored in zip(indices, iter_pixels(file, indices=indices), strict=True):
            if colours in _COLOURS:
                gray = _colour_to_gray(stored, header.BitsStored)
            else:
                gray = _show(stored, header, index)
            gray = 255 - gray if colours == "MONOCHROME1" else gray
            yield Frame(index + 1 if count > 1 else None, gray)


def _check_decoder(path: Path, syntax: object) -> None:
    """Refuse a compressed syntax that no installed package decodes."""
    from pydicom.pixels import get_decoder

    name = str(syntax.name)
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:  # how pydicom says that it knows no decoder at all
        decoder = None
    if decoder is None or syntax.is_deflated:
        raise InputError(f"{path.name}: Transfer Syntax (0002,0010) {name} is not read.")
    if not decoder.is_available:
        raise InputError(
            f"{path.name}: nothing installed decodes Transfer Syntax (0002,0010) {name}. "
            f"Install what does: {_DECODERS}"
        )


def _colour_to_gray(stored: np.ndarray, bits: int) -> np.ndarray:
    return np.asarray(Image.fromarray((stored >> max(bits - 8, 0)).astype(np.uint8)).convert("L"))


def _show(stored: np.ndarray, header: object, index: int) -> np.ndarray:
    """Return stored values (H, W) as (H, W) uint8, through rescale and window.

    Source: DICOM PS3.3, C.11.2.1.2 and C.11.2.1.3.
    """
    slope = _number(header, index, "PixelValueTransformationSequence", "RescaleSlope")
    intercept = _number(header, index, "PixelValueTransformationSequence", "RescaleIntercept")
    values = stored.astype(np.float32) * (1.0 if slope is None else slope) + (intercept or 0.0)
    center = _number(header, index, "FrameVOILUTSequence", "WindowCenter")
    width = _number(header, index, "FrameVOILUTSequence", "WindowWidth")
    if center is None or width is None or width <= 0:
        return _stretch(values, *np.percentile(values, _PERCENTILES))
    function = _value(header, index, "FrameVOILUTSequence", "VOILUTFunction") or "LINEAR"
    if function == "SIGMOID":
        exponent = np.clip(-4 * (values - center) / width, -700, 700)
        return _stretch(1 / (1 + np.exp(exponent)), 0, 1)
    if function == "LINEAR" and width > 1:
        center, width = center - 0.5, width - 1
    return _stretch(values, center - width / 2, center + width / 2)


def _value(header: object, index: int, sequence: str, keyword: str) -> object:
    """Return what holds for one frame: enhanced files say it per frame or once for all frames."""
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or []
    shared = header.get("SharedFunctionalGroupsSequence") or []
    for group in (*per_frame[index : index + 1], *shared[:1]):
        if found := group.get(sequence):
            return found[0].get(keyword)
    return header.get(keyword)


def _number(header: object, index: int, sequence: str, keyword: str) -> float | None:
    value = _value(header, index, sequence, keyword)
    if isinstance(value, Sequence) and not isinstance(value, str):  # several windows: the first
        value = value[0] if len(value) else None
    if value is None or value == "" or not math.isfinite(float(value)):
        return None
    return float(value)


def _nifti_frames(path: Path, frame: int | None) -> Iterator[Frame]:
    from nibabel import Nifti1Header, Nifti2Header
    from nibabel.orientations import apply_orientation, io_orientation

    with path.open("rb") as plain:
        zipped = plain.read(2) == b"\x1f\x8b"
        plain.seek(0)
        file = gzip.GzipFile(fileobj=plain) if zipped else plain
        start = file.read(540)
        for kind, magic, place in ((Nifti1Header, b"n+1", 344), (Nifti2Header, b"n+2", 4)):
            if start[place : place + 3] == magic:
                header = kind(start[: kind.template_dtype.itemsize], check=False)
                break
        else:
            raise InputError(f"{path.name} is no NIfTI file: its header has no magic string.")
        shape = header.get_data_shape()
        while len(shape) > 3 and shape[-1] == 1:
            shape = shape[:-1]
        shape = (*shape, 1, 1)[: max(len(shape), 3)]
        if len(shape) > 3:
            raise InputError(
                f"{path.name} holds several volumes, {' x '.join(map(str, shape))} values: which "
                "is meant is not clear. Save one volume as its own file."
            )
        # Before anything is read, or unzipped, whose size the header says.
        _numbers(path, None, shape[2], shape[:2])
        if header.get_data_dtype().kind not in "iuf":
            raise InputError(f"{path.name}: datatype {header.get_data_dtype()} is not gray levels.")
        if not 0 <= header.get_data_offset() <= LARGEST_IMAGE:
            raise InputError(f"{path.name} is damaged: its values start at no sensible place.")
        volume = header.data_from_fileobj(file).reshape(shape)
        volume = apply_orientation(volume, io_orientation(header.get_best_affine()))
    volume = np.nan_to_num(volume.astype(np.float32), copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = np.percentile(volume, _PERCENTILES)
    count = volume.shape[2]
    for index in _numbers(path, frame, count, volume.shape[:2]):
        # Axes run to the right and to the front; rows run to the back, columns to the left.
        gray = _stretch(volume[::-1, ::-1, index].T, low, high)
        yield Frame(index + 1 if count > 1 else None, gray)


def join_series(probabilities: np.ndarray, classes: Sequence[str] = CLASS_NAMES) -> np.ndarray:
    """Join the answers for the slices of one series into one for the series.

    The mean over the neighbouring slices, a tenth of the series and at least three, whose mean
    probability of `notumor` is lowest. A tumour shows on some neighbouring slices and not at the
    skull base or the vertex, so the mean over all slices would drown it, and the most suspicious
    slice alone would turn one false alarm among a hundred into the answer.

    Without a class `notumor` it is the mean over all slices. The rule was reasoned, not measured:
    the images that the models were trained on are single slices.

    Args:
        probabilities: (N, K), slices in the order in which they lie in the head.
        classes: the K names.
    Returns:
        (K,), with the sum 1 where each slice's is.
    Raises:
        InputError: there is no slice.
    """
    count = len(probabilities)
    if not count:
        raise InputError("A series without an answered slice has no answer.")
    size = count
    if NO_TUMOUR in classes:
        size = min(count, max(NEIGHBOURS, math.ceil(count / 10)))
    sums = np.cumsum(np.vstack([np.zeros(len(classes)), probabilities]), axis=0)
    means = (sums[size:] - sums[:-size]) / size  # of every run of `size` neighbours
    if NO_TUMOUR not in classes:
        return means[0]
    return means[means[:, list(classes).index(NO_TUMOUR)].argmin()]
