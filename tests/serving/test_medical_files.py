"""DICOM and NIfTI: what is shown, what is refused, and that no patient's data gets out."""

import gzip
import logging
import sys
import tracemalloc
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pydicom.data
import pytest
from made_medical import BORN, NAME, SLICES, dicom, nifti
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels import apply_windowing, get_decoder
from pydicom.uid import JPEGLSLossless

from src import load_classifier
from src.common.errors import InputError
from src.config import CLASS_NAMES
from src.serving.images import find_images
from src.serving.medical_files import is_medical, join_series, read_frames

SHIPPED = Path(pydicom.data.__file__).parent / "test_files"  # inside of pydicom's wheel


def gray(path, **options):
    return np.stack([frame.gray for frame in read_frames(path, **options)])


def refusal(path, **options):
    with pytest.raises(InputError) as caught:
        list(read_frames(path, **options))
    assert caught.value.__context__ is None and path.name in str(caught.value)
    return str(caught.value)


def copy_of(name, path, **tags):
    data = pydicom.dcmread(SHIPPED / name)
    for tag, value in tags.items():
        setattr(data, tag, value)
    data.save_as(path)
    return path


@pytest.mark.parametrize(
    "name", ["_RLE", "_bigendian", "_expb", "_implicit", "_jp2klossless", "_padded"]
)
def test_one_image_is_the_same_in_every_encoding(name):
    assert np.array_equal(gray(SHIPPED / f"MR_small{name}.dcm"), gray(SHIPPED / "MR_small.dcm"))


def test_a_missing_decoder_is_named(monkeypatch):
    monkeypatch.setattr(get_decoder(JPEGLSLossless), "_available", {})
    assert "JPEG-LS Lossless Image Compression. Install what does: python -m pip" in refusal(
        SHIPPED / "MR_small_jpeg_ls_lossless.dcm"
    )


def test_a_missing_library_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "nibabel", None)
    (tmp_path / "a.nii").touch()
    assert "reading NIfTI needs nibabel: python -m pip" in refusal(tmp_path / "a.nii")


@pytest.mark.parametrize(
    "name, says",
    [
        ("CT_small.dcm", r"Modality \(0008,0060\) is CT"),
        ("SC_rgb_rle.dcm", "is OT"),
        ("test-SR.dcm", "is SR"),
        ("priv_SQ.dcm", "is missing"),
        ("MR_truncated.dcm", "damaged"),
        ("no_meta.dcm", "no DICOM file"),
        ("README.txt", "no DICOM file"),
    ],
)
def test_pydicoms_other_files_are_refused(name, says):
    with pytest.raises(InputError, match=says):
        list(read_frames(SHIPPED / name))


def test_a_disc_of_dicom_files_without_suffix_is_a_folder_of_images():
    """These are 16 px a side or a part of a body: read, and no head MRI."""
    disc, classifier = SHIPPED / "dicomdirtests" / "98892003", load_classifier()
    answers = classifier.predict([disc, SHIPPED / "MR_small.dcm"])
    assert len(answers) == 18 and all(answer.not_mri for answer in answers)
    names = [name for name, _ in find_images(SHIPPED / "dicomdirtests", 0)]
    assert f"{disc}/MR1/4919" in names and not any(name.endswith("DICOMDIR") for name in names)


def test_what_is_medical(tmp_path):
    assert is_medical(SHIPPED / "CT_small.dcm") and not is_medical(SHIPPED / "README.txt")
    assert is_medical(SHIPPED / "dicomdirtests/98892003/MR1/4919")  # no suffix
    assert is_medical(nifti(tmp_path / "A.NII.GZ", SLICES)) and not is_medical(tmp_path)
    assert not is_medical(tmp_path / "missing.dcm")


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("rescale", [{}, {"RescaleSlope": 2, "RescaleIntercept": -300}])
def test_a_window_is_pydicoms(function, rescale, tmp_path):
    tags = {"WindowCenter": [400, 90], "WindowWidth": [500, 7], "VOILUTFunction": function}
    path = dicom(tmp_path / "a.dcm", SLICES[:1], **tags, **rescale)
    data = pydicom.dcmread(path)
    rescaled = SLICES[0].astype(float) * rescale.get("RescaleSlope", 1) + 0
    shown = apply_windowing(rescaled + rescale.get("RescaleIntercept", 0), data)
    ends = apply_windowing(np.array([-1e6, 1e6]), data)  # black and white
    expected = (shown - ends[0]) / (ends[1] - ends[0]) * 255
    assert np.abs(gray(path)[0] - expected).max() <= 0.51  # rounded, in float32
    assert gray(path).std() > 40


def test_without_a_usable_window_the_frames_own_levels_are_stretched(tmp_path):
    ramp = np.arange(1000).reshape(1, 20, 50)
    for number, dtype in enumerate((np.uint16, np.int16)):
        values = (ramp - (500 if dtype is np.int16 else 0)).astype(dtype)
        tags = {} if number else {"WindowCenter": 5, "WindowWidth": 0}
        shown = gray(dicom(tmp_path / f"{number}.dcm", values, **tags)).ravel().astype(int)
        assert (shown[:5] == 0).all() and (shown[-5:] == 255).all()
        assert (np.diff(shown) >= 0).all() and abs(shown[500] - 128) <= 1
    twelve = dicom(tmp_path / "12.dcm", ramp.astype(np.uint16), BitsStored=12, HighBit=11)
    assert np.array_equal(gray(twelve), gray(tmp_path / "0.dcm"))
    small = dicom(tmp_path / "8.dcm", np.arange(256, dtype=np.uint8).reshape(1, 16, 16))
    assert np.abs(gray(small).ravel() - np.arange(256.0)).max() <= 2  # half a percent of each end
    assert (gray(dicom(tmp_path / "flat.dcm", np.full((1, 4, 4), 7, np.uint8))) == 0).all()


def test_monochrome1_is_inverted(tmp_path):
    inverted = copy_of("MR_small.dcm", tmp_path / "a.dcm", PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(gray(inverted), 255 - gray(SHIPPED / "MR_small.dcm"))


def test_frames_come_one_by_one_and_are_numbered_from_1(tmp_path):
    path = dicom(tmp_path / "a.dcm", WindowCenter=500, WindowWidth=1000)
    assert [frame.number for frame in read_frames(path)] == [1, 2, 3]
    assert np.abs(gray(path) - SLICES / 999 * 255).max() <= 1
    assert np.array_equal(gray(path, frame=2), gray(path)[1:2])
    assert [frame.number for frame in read_frames(path, frame=2)] == [2]
    assert [frame.number for frame in read_frames(SHIPPED / "MR_small.dcm")] == [None]
    for wrong in (0, 4, -1):
        assert "has frames 1 to 3; there is no frame" in refusal(path, frame=wrong)


def test_enhanced_files_have_a_window_per_frame_or_for_all(tmp_path):
    def group(center, slope):
        item, window, rescale = Dataset(), Dataset(), Dataset()
        window.WindowCenter, window.WindowWidth = center, 400
        rescale.RescaleSlope, rescale.RescaleIntercept = slope, 0
        item.FrameVOILUTSequence, item.PixelValueTransformationSequence = [window], [rescale]
        return item

    def plain(number, center, slope):
        path = dicom(
            tmp_path / "one.dcm",
            SLICES[number : number + 1],
            **{"WindowCenter": center, "WindowWidth": 400, "RescaleSlope": slope},
            RescaleIntercept=0,
        )
        return gray(path)[0]

    settings = ((200, 1), (500, 2), (800, 0.5))
    groups = [group(*setting) for setting in settings]
    path = dicom(tmp_path / "a.dcm", PerFrameFunctionalGroupsSequence=groups, WindowCenter=1)
    shown = [plain(number, *setting) for number, setting in enumerate(settings)]
    assert np.array_equal(gray(path), shown)
    assert np.array_equal(gray(path, frame=3), shown[2:])
    shared = dicom(tmp_path / "b.dcm", SharedFunctionalGroupsSequence=groups[1:2])
    assert np.array_equal(gray(shared), [plain(number, *settings[1]) for number in range(3)])


@pytest.mark.parametrize("name", ["SC_rgb_rle_2frame.dcm", "SC_rgb_rle_16bit_2frame.dcm"])
def test_colour_becomes_gray_as_any_image_does(name, tmp_path):
    data = pydicom.dcmread(SHIPPED / name)
    data.decompress()
    data.Modality, low = "MR", 8 * data.pixel_array.itemsize - 8
    eight = data.pixel_array >> low
    data.PixelData = (eight << low).tobytes()  # only the upper 8 bits
    data.save_as(path := tmp_path / "a.dcm")
    eight = eight.astype(np.uint8)
    expected = [np.asarray(Image.fromarray(frame).convert("L")) for frame in eight]
    assert np.array_equal(gray(path), expected) and np.ptp(expected) > 100


def test_what_has_no_picture_is_refused(tmp_path):
    assert "no pixels" in refusal(dicom(tmp_path / "a.dcm", PixelData=None))
    assert "no pixels" in refusal(dicom(tmp_path / "b.dcm", Rows=None))
    palette = dicom(tmp_path / "c.dcm", PhotometricInterpretation="PALETTE COLOR")
    assert "(0028,0004) PALETTE COLOR is not read" in refusal(palette)
    assert "cannot be read: No such file" in refusal(tmp_path / "missing.dcm")
    (tmp_path / "empty.nii").touch()
    assert "no NIfTI file" in refusal(tmp_path / "empty.nii")


def _claims(path, shape, offset=352, **fields):
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape(shape)
    header["magic"], header["vox_offset"] = b"n+1", offset
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(gzip.compress(header.binaryblock + bytes(20_000_000)))
    return path


def test_a_size_that_a_header_claims_is_checked_before_anything_is_decoded(tmp_path, monkeypatch):
    claims = dicom(tmp_path / "a.dcm", Rows=20000, Columns=2000)
    assert "3 frames of 20000 x 2000 x 1 values are over the limit of 100" in refusal(claims)
    assert "over the limit" in refusal(dicom(tmp_path / "b.dcm", NumberOfFrames=10**9))
    monkeypatch.setattr("nibabel.Nifti1Header.data_from_fileobj", lambda *_: pytest.fail("read"))
    assert "over the limit" in refusal(_claims(tmp_path / "c.nii.gz", (30000, 30000, 2)))
    assert "no sensible place" in refusal(_claims(tmp_path / "d.nii.gz", (2, 2, 2), 3e9))
    assert "several volumes, 2 x 2 x 2 x 4" in refusal(_claims(tmp_path / "e.nii.gz", (2, 2, 2, 4)))
    assert "not gray levels" in refusal(_claims(tmp_path / "f.nii.gz", (2, 2, 2), datatype=128))


def test_a_zip_bomb_is_unpacked_no_further_than_its_header_says(tmp_path):
    path = _claims(tmp_path / "a.nii.gz", (10, 10, 2))
    gray(path)  # imports
    tracemalloc.start()
    assert gray(path).shape == (2, 10, 10)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000  # of the 20 million bytes
    tracemalloc.stop()


def list_or_refusal(path):
    try:
        return list(read_frames(path))
    except InputError as error:
        return str(error)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAI", "PIR", "SRA"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_slices_are_axial_whatever_way_the_volume_is_stored(codes, suffix, tmp_path):
    volume = np.zeros((4, 5, 3), np.float32)  # to the right, to the front, up
    volume[3, 4, :] = [10, 20, 30]  # right, front
    volume[0, 0, :] = 5  # left, back
    slices = gray(nifti(tmp_path / f"a{suffix}", volume, codes))
    assert slices.shape == (3, 5, 4)  # front to back, right to left
    assert 100 < 1.5 * slices[0, 0, 0] < slices[1, 0, 0] < slices[2, 0, 0] == 255
    assert np.ptp(slices[:, 4, 3]) == 0
    assert slices.astype(bool).sum() == 6
    (one,) = read_frames(tmp_path / f"a{suffix}", frame=3)
    assert one.number == 3 and np.array_equal(one.gray, slices[2])


def test_a_flat_volume_and_scaled_or_broken_values(tmp_path):
    flat = nibabel.Nifti1Image(np.eye(4, dtype=np.int16), np.eye(4))
    flat.header.set_slope_inter(2, 10)
    flat.to_filename(tmp_path / "flat.nii")
    assert (
        gray(tmp_path / "flat.nii").shape == (1, 4, 4) and gray(tmp_path / "flat.nii").max() == 255
    )
    values = np.full((4, 4, 2), np.nan, np.float32)
    values[0, 0, 0] = 1
    assert gray(nifti(tmp_path / "nan.nii", values)).sum() == 255
    scanner = Path(nibabel.__file__).parent / "tests/data/anatomical.nii"
    if scanner.exists():  # it is part of some builds of nibabel only
        assert gray(scanner).shape == (25, 41, 33)


def _mutations(content, count, rng):
    for number in range(count):
        changed = bytearray(content)
        if number % 10 == 0:
            del changed[rng.integers(len(changed)) :]
        for place in rng.integers(len(content) if number % 2 else 400, size=rng.integers(1, 9)):
            if place < len(changed):
                changed[place] = rng.integers(256)
        yield bytes(changed)


@pytest.mark.parametrize("kind", ["a.dcm", "rle.dcm", "a.nii", "a.nii.gz"])
def test_damage_gives_frames_or_a_sentence(kind, tmp_path):
    path = tmp_path / kind
    if kind == "rle.dcm":
        path.write_bytes((SHIPPED / "MR_small_RLE.dcm").read_bytes())
    else:
        write = dicom if kind == "a.dcm" else nifti
        write(path, SLICES)
    refused, count = 0, 300 if kind in ("a.dcm", "a.nii") else 100
    for content in _mutations(path.read_bytes(), count, np.random.default_rng(19)):
        path.write_bytes(content)
        refused += isinstance(list_or_refusal(path), str)
    assert refused >= count / 10  # truncated ones at the least


def test_no_patient_data_gets_out(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("BRAIN_TUMOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    root, handler = logging.getLogger(), logging.StreamHandler()
    monkeypatch.setattr(root, "handlers", [*root.handlers, handler])
    monkeypatch.setattr(root, "level", logging.DEBUG)
    files = [
        dicom(tmp_path / "good.dcm"),
        dicom(tmp_path / "bad.dcm", PixelData=b"12"),
        nifti(tmp_path / "good.nii", SLICES),
        nifti(tmp_path / "long.nii", SLICES[..., None].repeat(2, axis=3)),
    ]
    # A name where a number is meant: pydicom quotes it in a warning, in its log, in an error.
    for tag in ("RescaleSlope", "NumberOfFrames"):
        content = dicom(tmp_path / f"{tag}.dcm", **{tag: 11111111}).read_bytes()
        assert content.count(b"11111111") == 1
        files.append(tmp_path / f"{tag}.dcm")
        files[-1].write_bytes(content.replace(b"11111111", NAME.encode()))
    (tmp_path / "cut.nii").write_bytes((tmp_path / "good.nii").read_bytes()[:-9])
    files.append(tmp_path / "cut.nii")
    before = sorted(tmp_path.rglob("*"))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        answers = [list_or_refusal(path) for path in files]
    refused = [path.name for path, answer in zip(files, answers) if isinstance(answer, str)]
    assert refused == ["bad.dcm", "long.nii", "RescaleSlope.dcm", "NumberOfFrames.dcm", "cut.nii"]
    said = "".join(map(str, [*answers, *warned, *capfd.readouterr()]))
    assert "Frame" in said and not [secret for secret in ("Doe", "Jane", BORN) if secret in said]
    assert sorted(tmp_path.rglob("*")) == before
    assert {path.name for path in before if path.is_dir()} == set()


GLIOMA, NONE = np.eye(4)[0], np.eye(4)[CLASS_NAMES.index("notumor")]


def _series(length, *tumours):
    return np.stack([GLIOMA if slice_ in tumours else NONE for slice_ in range(length)])


@pytest.mark.parametrize(
    "length, tumours, expected",
    [
        (1, (), 0),
        (1, (0,), 1),
        (2, (0,), 1 / 2),  # fewer than three: all
        (20, (), 0),
        (20, range(20), 1),
        (20, (11,), 1 / 3),  # one alone is a false alarm
        (20, (10, 11, 12), 1),
        (20, (0, 1, 2), 1),
        (20, (17, 18, 19), 1),
        (20, (2, 8, 14), 1 / 3),  # so are some apart
        (100, range(40, 50), 1),
        (100, range(40, 43), 3 / 10),
    ],
)
def test_a_series_is_its_most_suspicious_neighbours(length, tumours, expected):
    joined = join_series(_series(length, *tumours))
    assert joined == pytest.approx(expected * GLIOMA + (1 - expected) * NONE)


def test_a_series_of_other_classes_is_the_mean():
    assert join_series(np.array([[1, 0], [0, 1], [1, 0], [1, 0]]), ("a", "b")) == pytest.approx(
        [0.75, 0.25]
    )
    with pytest.raises(InputError, match="has no answer"):
        join_series(np.empty((0, 4)))
