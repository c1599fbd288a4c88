"""Every kind of image file gives the right gray pixels, once."""

import hashlib
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from image_folders import picture, python, truncate, write_set
from PIL import Image

from src.common.errors import InputError
from src.data.catalog import read_catalog
from src.data.pixels import Pixels, decode_gray, load_pixels, to_gray

pytestmark = pytest.mark.usefixtures("cache")
SIZE = 24


@pytest.fixture
def root(tmp_path):
    return write_set(tmp_path / "set")


def _ramp() -> np.ndarray:
    """Return (16, 16) uint8 of all 256 levels."""
    return np.arange(256, dtype=np.uint8).reshape(16, 16)


def _palette() -> Image.Image:
    image = Image.fromarray(255 - _ramp()).convert("P")
    image.putpalette([level for level in range(255, -1, -1) for _ in range(3)])
    return image


def _rgba(alpha: np.ndarray) -> Image.Image:
    return Image.fromarray(np.dstack([_ramp()] * 3 + [alpha.astype(np.uint8)]))


_LEFT = np.where(np.arange(16) < 8, 255, 0)[None, :].repeat(16, 0)

KINDS = {
    "gray": (lambda: Image.fromarray(_ramp()), _ramp()),
    "rgb": (lambda: Image.fromarray(_ramp()).convert("RGB"), _ramp()),
    "palette": (_palette, _ramp()),
    "rgba-opaque": (lambda: _rgba(np.full((16, 16), 255)), _ramp()),
    "rgba-half-hidden": (lambda: _rgba(_LEFT), np.where(_LEFT, _ramp(), 0)),
    "gray-alpha": (lambda: _rgba(_LEFT).convert("LA"), np.where(_LEFT, _ramp(), 0)),
    "16-bit": (lambda: Image.fromarray(_ramp().astype(np.uint16) * 257), _ramp()),
    "12-bit": (lambda: Image.fromarray(_ramp().astype(np.uint16) * 16), _ramp() * (4080 / 4095)),
    "8-in-16-bit": (lambda: Image.fromarray(_ramp().astype(np.uint16)), _ramp()),
    "32-bit": (lambda: Image.fromarray(_ramp().astype(np.int32) * 257), _ramp()),
    "float": (lambda: Image.fromarray(_ramp().astype(np.float32) / 255), _ramp()),
    "float-signed": (lambda: Image.fromarray(_ramp().astype(np.float32) - 128), _ramp()),
    "1-bit": (lambda: Image.fromarray(_LEFT > 0), _LEFT),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_mode_becomes_the_same_gray(kind, tmp_path):
    make, expected = KINDS[kind]
    path = tmp_path / "image.tif"
    make().save(path)
    gray = decode_gray(path, 16)
    assert gray.dtype == np.uint8
    np.testing.assert_allclose(gray.astype(float), expected, atol=0.51)


def test_cmyk_becomes_gray(tmp_path):
    path = tmp_path / "image.jpg"
    Image.fromarray(_ramp()).convert("RGB").convert("CMYK").save(path, quality=100)
    np.testing.assert_allclose(decode_gray(path, 16).astype(float), _ramp(), atol=3)


def test_lab_gives_its_lightness():
    image = Image.merge("LAB", [Image.fromarray(_ramp())] * 3)
    assert np.array_equal(np.asarray(to_gray(image)), _ramp())


def test_a_float_image_with_holes_is_read(tmp_path):
    values = _ramp().astype(np.float32) / 255
    values[0] = np.nan
    Image.fromarray(values).save(tmp_path / "image.tif")
    gray = decode_gray(tmp_path / "image.tif", 16)
    assert (gray[0] == 0).all() and np.array_equal(gray[1:], _ramp()[1:])


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".gif"])
def test_an_animation_gives_its_first_frame(tmp_path, suffix):
    frames = [Image.fromarray(np.full((16, 16), level, np.uint8)) for level in (200, 10, 60)]
    made = tmp_path / f"image{suffix}"
    options = {"lossless": True} if suffix == ".webp" else {}
    frames[0].save(made, save_all=True, append_images=frames[1:], **options)
    path = made.rename(tmp_path / "image.jpg")  # and a name says nothing of the content
    assert np.abs(decode_gray(path, 16).astype(int) - 200).max() <= 1


def test_a_photo_is_turned_as_its_exif_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn a quarter clockwise to view"
    Image.fromarray(_ramp()).save(tmp_path / "image.png", exif=exif)
    assert np.array_equal(decode_gray(tmp_path / "image.png", 16), np.rot90(_ramp(), -1))


def test_shrinking_averages_and_does_not_alias(tmp_path):
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(tmp_path / "image.png")
    assert np.abs(decode_gray(tmp_path / "image.png", 16)[:, 2:-2].astype(int) - 128).max() <= 8


def test_pixels_stand_in_the_catalogue_s_order(root):
    catalog, pixels = load_pixels(read_catalog(root), SIZE)
    assert pixels.array.shape == (len(catalog), SIZE, SIZE) and pixels.array.dtype == np.uint8
    for row in (0, 20, len(catalog) - 1):
        expected = decode_gray(root / catalog.paths[row], SIZE)
        assert np.array_equal(pixels.array[row], expected)
    assert not pixels.array.flags.writeable


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tif"])
def test_a_truncated_image_is_named_and_the_rest_goes_on(root, suffix):
    path = root / "Training/glioma" / f"cut{suffix}"
    picture(9, size=200).save(path)
    truncate(path)
    before = read_catalog(root)
    catalog, pixels = load_pixels(before, SIZE)
    ((name, reason),) = catalog.skipped
    assert name == f"Training/glioma/cut{suffix}" and reason
    assert name not in catalog.paths and len(pixels.array) == len(catalog) == 55
    again, _ = load_pixels(read_catalog(root), SIZE)  # now from the cache
    assert again.skipped == catalog.skipped and again.paths == catalog.paths


def test_a_class_of_truncated_images_is_refused(root):
    for path in (root / "Training/notumor").iterdir():
        truncate(path)
    with pytest.raises(InputError, match="Training/notumor has no usable image: none of its 6"):
        load_pixels(read_catalog(root), SIZE)


def _fail(path, size):
    raise AssertionError(f"decoded {path} again")


def test_a_second_run_decodes_nothing(root):
    _, first = load_pixels(read_catalog(root), SIZE)
    _, second = load_pixels(read_catalog(root), SIZE, decode=_fail)
    assert np.array_equal(first.array, second.array)


@pytest.mark.parametrize("change", ["content", "size", "decoder"])
def test_what_decides_the_pixels_names_the_cache(root, change):
    catalog = read_catalog(root)
    _, first = load_pixels(catalog, SIZE)
    size, name = SIZE, "pillow-gray-bilinear-1"
    if change == "content":
        picture(99).save(root / catalog.paths[3])
        catalog = read_catalog(root)
    elif change == "size":
        size += 1
    else:
        name = "another"
    _, second = load_pixels(catalog, size, decoder_name=name)
    assert second.path != first.path
    expected = decode_gray(root / catalog.paths[3], size)
    assert np.array_equal(second.array[3], expected)


def test_another_decoder_can_be_put_in(root):
    def white(path, size):
        return np.full((size, size), 255, np.uint8)

    _, pixels = load_pixels(read_catalog(root), SIZE, decode=white, decoder_name="white")
    assert (pixels.array == 255).all()
    with pytest.raises(TypeError, match="decode gave float64"):
        load_pixels(
            read_catalog(root), SIZE, decode=lambda path, size: np.ones((2, 2)), decoder_name="bad"
        )


def test_a_kill_in_the_middle_leaves_no_half_cache(root, cache):
    code = """
import os, sys
from pathlib import Path
from src.data.catalog import read_catalog
from src.data.pixels import decode_gray, load_pixels
def decode(path, size):
    if "Training/notumor/Tr-no_0003" in path.as_posix():
        os._exit(9)
    return decode_gray(path, size)
load_pixels(read_catalog(Path(sys.argv[1])), 24, decode=decode)
"""
    assert python(code, root).wait() == 9
    assert not list((cache / "pixels").glob("[!.]*.bin"))
    catalog, pixels = load_pixels(read_catalog(root), SIZE)
    assert np.array_equal(pixels.array[-1], decode_gray(root / catalog.paths[-1], SIZE))


def test_a_cache_file_cut_short_is_built_again(root):
    _, pixels = load_pixels(read_catalog(root), SIZE)
    expected = pixels.array.tobytes()
    truncate(pixels.path, 0.9)
    _, pixels = load_pixels(read_catalog(root), SIZE)
    assert pixels.array.tobytes() == expected


def _change_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda store, _: _change_a_byte(store),
        lambda store, _: store.write_bytes(store.read_bytes()[::-1]),  # of the right length
        lambda _, index: truncate(index),
        lambda _, index: index.write_text("[]"),
        lambda _, index: index.write_text("{}"),
        lambda _, index: index.write_text('{"skipped": []}'),
        lambda _, index: index.unlink(),
    ],
)
def test_a_cache_that_was_changed_is_built_again(root, spoil):
    _, pixels = load_pixels(read_catalog(root), SIZE)
    expected = pixels.path.read_bytes()
    spoil(pixels.path, pixels.path.with_suffix(".json"))
    _, again = load_pixels(read_catalog(root), SIZE)
    assert pixels.path.read_bytes() == expected and again.sha256 == pixels.sha256


def test_a_cache_without_its_checksum_is_built_again(root):
    _, pixels = load_pixels(read_catalog(root), SIZE)
    right = pixels.array.copy()
    pixels.path.write_bytes(bytes(len(pixels.path.read_bytes())))
    pixels.path.with_suffix(".json").write_text('{"skipped": {}}')
    _, again = load_pixels(read_catalog(root), SIZE)
    np.testing.assert_array_equal(again.array, right)


def test_two_processes_can_build_at_once(root):
    code = """
import hashlib, sys
from pathlib import Path
from src.data.catalog import read_catalog
from src.data.pixels import load_pixels
_, pixels = load_pixels(read_catalog(Path(sys.argv[1])), 24)
print(hashlib.sha256(pixels.array.tobytes()).hexdigest())
"""
    both = [python(code, root) for _ in range(2)]
    digests = [process.communicate()[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    _, pixels = load_pixels(read_catalog(root), SIZE, decode=_fail)
    assert set(digests) == {hashlib.sha256(pixels.array.tobytes()).hexdigest()}


def test_a_disk_that_fails_at_reading_is_a_sentence(root):
    def fail(path, size):
        raise OSError(5, "Input/output error")

    with pytest.raises(InputError, match=r"could not be read: Input/output error\. Run it again"):
        load_pixels(read_catalog(root), SIZE, decode=fail)


def test_a_full_disk_is_a_sentence_and_leaves_nothing(root, cache, monkeypatch):
    catalog, opened = read_catalog(root), Path.open

    class Full(io.FileIO):
        def write(self, _):
            raise OSError(28, "No space left on device")

    def open_full(path, mode="r", **how):
        is_pixels = path.name.endswith(".tmp.bin")
        return Full(path, mode) if is_pixels else opened(path, mode, **how)

    monkeypatch.setattr(Path, "open", open_full)
    said = r"Cannot write .*\.bin: No space left on device\. Free \d+ MB there, or set BRAIN"
    with pytest.raises(InputError, match=said):
        load_pixels(catalog, SIZE)
    assert not [*(cache / "pixels").glob("*.bin")]


def test_pixels_pickle_as_their_path(root):
    _, pixels = load_pixels(read_catalog(root), SIZE)
    assert pixels.array is pixels.array
    content = pickle.dumps(pixels)
    assert len(content) < 2000
    copy = pickle.loads(content)
    assert isinstance(copy, Pixels) and np.array_equal(copy.array, pixels.array)
