"""A folder becomes the right table, and a wrong folder a clear sentence."""

import errno
import os
import shutil

import numpy as np
import pytest
from image_folders import claim_size, picture, write_flat, write_set

import src.data.catalog as catalog_module
from src.common.errors import InputError
from src.config import CLASS_NAMES
from src.data.catalog import read_catalog
from src.serving.images import find_images

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def root(tmp_path):
    return write_set(tmp_path / "set")


def test_rows_are_sorted_and_labelled_by_folder(root):
    catalog = read_catalog(root)
    assert list(catalog.paths) == sorted(catalog.paths)
    assert len(catalog) == 39 + 16
    assert [CLASS_NAMES[label] for label in catalog.labels] == [
        path.split("/")[1] for path in catalog.paths
    ]
    assert list(catalog.official) == [path.split("/")[0] for path in catalog.paths]
    assert catalog.labels.dtype == np.int64
    assert set(catalog.sizes) == {(40, 40)} and set(catalog.modes) == {"L"}
    assert catalog.counts() == {
        "Training": dict(glioma=12, meningioma=9, notumor=6, pituitary=12),
        "Testing": dict.fromkeys(CLASS_NAMES, 4),
    }


def test_folder_and_suffix_case_do_not_matter(root):
    (root / "Training").rename(root / "TRAINING")
    (root / "Testing" / "glioma").rename(root / "Testing" / "Glioma")
    for suffix in (".JPG", ".jpeg", ".bmp", ".tif", ".TIFF", ".webp"):
        picture(1).save(root / "Testing" / "Glioma" / f"other{suffix}")
    counts = read_catalog(root).counts()
    assert counts["Training"]["glioma"] == 12
    assert counts["Testing"]["glioma"] == 4 + 6


@pytest.mark.parametrize(
    "stray",
    [
        "Training/glioma/.hidden.png",
        "Training/glioma/.ipynb_checkpoints/copy.png",
        "Training/.ipynb_checkpoints/glioma/copy.png",
        "other/copy.png",
    ],
)
def test_hidden_and_stray_images_are_not_counted(root, stray):
    before = read_catalog(root)
    (root / stray).parent.mkdir(parents=True, exist_ok=True)
    picture(5).save(root / stray)
    (root / "Training/glioma/notes.txt").write_text("not an image")
    after = read_catalog(root)
    assert after.paths == before.paths and after.skipped == ()


def test_a_folder_inside_a_class_is_not_read_but_named(root):
    inside = root / "Training/glioma/more"
    inside.mkdir()
    picture(5).save(inside / "one.png")
    ((path, reason),) = read_catalog(root).skipped
    assert path == "Training/glioma/more" and "not read" in reason


def test_one_folder_a_class(tmp_path):
    catalog = read_catalog(write_flat(tmp_path / "flat", 5))
    assert not catalog.has_split
    assert set(catalog.official) == {""}
    assert catalog.counts() == {"unsplit": dict.fromkeys(CLASS_NAMES, 5)}


def test_the_only_dataset_one_level_down_is_found(root):
    assert read_catalog(root.parent).root == root
    write_flat(root.parent / "another", 2)
    with pytest.raises(InputError, match="several datasets: another, set"):
        read_catalog(root.parent)


def _unusable(folder, name):
    path = folder / name
    if name == "zero.jpg":
        path.write_bytes(b"")
    elif name == "text.jpg":
        path.write_text("I am a text file, whatever my name says.")
    elif name == "link.jpg":
        path.symlink_to(folder / "nowhere.jpg")
    elif name == "program.png":  # Pillow would run Ghostscript on it
        path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")
    else:
        claim_size(path, *(int(side) for side in name.split(".")[0].split("x")))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("zero.jpg", "0 bytes"),
        ("text.jpg", "not an image"),
        ("link.jpg", "a link to no file"),
        ("program.png", "not an image"),
        ("10001x10000.png", "too large: over the limit of 100 megapixels"),
        ("60000x60000.png", "too large"),
    ],
)
def test_an_unusable_file_is_named_and_left_out(root, name, reason):
    before = read_catalog(root)
    _unusable(root / "Training/glioma", name)
    after = read_catalog(root)
    assert after.paths == before.paths
    ((path, why),) = after.skipped
    assert path == f"Training/glioma/{name}" and reason in why


def test_an_image_of_just_100_megapixels_is_kept(root):
    claim_size(root / "Training/glioma/large.png", 10_000, 10_000)
    assert "Training/glioma/large.png" in read_catalog(root).paths


def _no_classes(root):
    shutil.rmtree(root)
    (root / "photos").mkdir(parents=True)
    picture(1).save(root / "photos" / "one.png")


def _empty_class(root):
    shutil.rmtree(root / "Training/glioma")
    (root / "Training/glioma").mkdir()


def _unreadable_class(root):
    for path in (root / "Testing/notumor").iterdir():
        path.write_text("no image")


def _two_cases(root):
    shutil.copytree(root / "Training/glioma", root / "Training/GLIOMA")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (shutil.rmtree, "does not exist"),
        (_no_classes, "No class folders in .*Found: photos"),
        (_empty_class, "set/Training/glioma has no usable image: it is empty"),
        (_unreadable_class, "none of its 4 can be used .*Testing/notumor/Te-no_0000.png: not an"),
        (lambda root: shutil.rmtree(root / "Training/pituitary"), "no folder Training/pituitary/"),
        (lambda root: shutil.rmtree(root / "Testing"), "no folder Testing/"),
        (_two_cases, "holds both GLIOMA/ and glioma/"),
    ],
)
def test_a_folder_that_is_no_dataset_is_refused(root, spoil, says):
    spoil(root)
    with pytest.raises(InputError, match=says):
        read_catalog(root)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file, not a folder"):
        read_catalog(tmp_path / "file")


def test_a_second_look_opens_no_file(root, monkeypatch):
    first = read_catalog(root)

    def fail(path):
        raise AssertionError(f"opened {path} again")

    monkeypatch.setattr(catalog_module, "inspect_image", fail)
    second = read_catalog(root)
    assert second.sha256 == first.sha256 and second.sizes == first.sizes


def test_what_the_disk_would_not_give_once_is_looked_at_again(root, monkeypatch):
    lost, real = root / read_catalog(root).paths[0], catalog_module.only_file
    lost.touch()  # so that it is looked at again

    def fails(path):
        if path == lost:
            raise OSError(errno.EIO, "Input/output error")
        return real(path)

    monkeypatch.setattr(catalog_module, "only_file", fails)
    less = read_catalog(root)
    monkeypatch.setattr(catalog_module, "only_file", real)
    assert len(read_catalog(root)) == len(less) + 1


def test_a_changed_file_is_seen_even_with_its_old_size_and_time(root):
    first = read_catalog(root)
    path = root / first.paths[0]
    status, content = path.stat(), path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    second = read_catalog(root)
    assert second.sha256[0] != first.sha256[0]
    assert second.sha256[1:] == first.sha256[1:]


@pytest.mark.parametrize(
    "content", ["[1, 2", "[1, 2]", '{"facts": 1}', "without a field", "another byte"]
)
def test_a_damaged_cache_is_built_again(content, root, tmp_path):
    first = read_catalog(root)
    (store,) = (tmp_path / "cache/catalog").iterdir()
    if content == "without a field":
        content = store.read_text().replace('"bad"', '"good"')
    if content == "another byte":
        other = ("f" if first.sha256[0][0] == "0" else "0") + first.sha256[0][1:]
        content = store.read_text().replace(first.sha256[0], other)
    store.write_text(content)
    assert read_catalog(root).sha256 == first.sha256


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_what_is_no_file_is_not_opened(root, tmp_path):
    """Reading a pipe without a writer, or /dev/zero, would never end."""
    os.mkfifo(root / "Training/glioma/pipe.png")
    (root / "Training/glioma/zero.png").symlink_to("/dev/zero")
    named = ["Training/glioma/pipe.png", "Training/glioma/zero.png"]
    assert read_catalog(root).skipped == tuple((n, "a pipe or a device, not a file") for n in named)
    found = list(find_images(root / "Training/glioma/pipe.png", 71))
    found += [each for each in find_images(root, 71) if each[0].endswith(("pipe.png", "zero.png"))]
    assert [image for _, image in found] == ["a pipe or a device, not a file"] * 3


def test_the_fingerprint_names_paths_and_contents_but_no_place(root, tmp_path):
    first = read_catalog(root).fingerprint
    shutil.copytree(root, tmp_path / "copy")
    assert read_catalog(tmp_path / "copy").fingerprint == first
    picture(77).save(tmp_path / "copy/Training/glioma/Tr-gl_0000.png")
    assert read_catalog(tmp_path / "copy").fingerprint != first


def test_an_unwritable_cache_says_what_to_do(root, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BRAIN_TUMOR_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"Cannot write to .*Set BRAIN_TUMOR_CACHE"):
        read_catalog(root)
