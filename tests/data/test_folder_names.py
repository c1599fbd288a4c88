"""Copies of the merge with other folder names are understood; what is left out is named."""

import os
import re

import pytest
from image_folders import picture, write_flat, write_set
from PIL import Image

import src.data.splits.frozen as frozen_module
from src.__main__ import main
from src.common.errors import InputError
from src.config import CLASS_NAMES
from src.data import folders as folders_module
from src.data.catalog import read_catalog
from src.data.folders import standard_path
from src.data.patients import recover
from src.data.patients.recover import catalog_fingerprints
from src.data.splits.frozen import (
    Assignment,
    FrozenSplit,
    read_frozen,
    shipped_file,
    write_frozen,
)

SARTAJ = ("glioma_tumor", "meningioma_tumor", "no_tumor", "pituitary_tumor")
ODD = ("Glioma Tumour", "MENINGIOMA", "no-tumour", "pituitary tumor")


@pytest.fixture(autouse=True)
def nothing_mapped_or_said(monkeypatch):
    monkeypatch.setenv("BRAIN_TUMOR_MAP", "")
    folders_module._say_once.cache_clear()


def rename(root, classes, parts=("Training", "Testing")):
    """Give the folders of `write_set` other names."""
    for part, new in zip(("Training", "Testing"), parts):
        for name, other in zip(CLASS_NAMES, classes):
            (root / part / name).rename(root / part / other)
        (root / part).rename(root / new)
    return root


@pytest.mark.parametrize(
    "classes", [SARTAJ, ODD, ("glioma", "meningioma", "notumour", "Pituitary")]
)
@pytest.mark.parametrize("parts", [("train", "test"), ("Train ", "TEST"), ("Training", "testing")])
def test_other_names_are_understood_and_said_once(classes, parts, tmp_path, capsys):
    plain = read_catalog(write_set(tmp_path / "plain", (3, 2, 2, 2), 1))
    assert not capsys.readouterr().err
    root = rename(write_set(tmp_path / "other", (3, 2, 2, 2), 1), classes, parts)
    catalog = read_catalog(root)
    read_catalog(root)
    assert catalog.classes == CLASS_NAMES and catalog.counts() == plain.counts()
    rows = zip(map(standard_path, catalog.paths), catalog.labels.tolist(), catalog.official)
    assert sorted(rows) == sorted(zip(plain.paths, plain.labels.tolist(), plain.official))
    assert all((root / path).is_file() for path in catalog.paths)
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{classes[2]} as notumor" in line and ("train as Training" in line) == (
        parts[0] == "train"
    )


def test_one_folder_a_class_under_other_names(tmp_path):
    catalog = read_catalog(write_flat(tmp_path / "set", 2, ODD))
    assert catalog.classes == CLASS_NAMES and not catalog.has_split


@pytest.mark.parametrize("tests, part", [(True, "Training"), (False, "Testing")])
@pytest.mark.parametrize("name", ["val", "Valid", "validation"])
def test_a_validation_folder_is_training_unless_nothing_else_tests(tests, part, name, tmp_path):
    root = rename(write_set(tmp_path / "set", (2, 2, 2, 2), 1), SARTAJ, ("train", name))
    if tests:
        write_flat(root / "test", 1)
    catalog = read_catalog(root)
    of = {p for path, p in zip(catalog.paths, catalog.official) if path.startswith(f"{name}/")}
    assert of == {part} and len(catalog) == (16 if tests else 12)


def test_other_names_are_classes_of_their_own_where_the_four_are_not_there(tmp_path, capsys):
    catalog = read_catalog(write_flat(tmp_path / "set", 2, SARTAJ[1:]))
    assert catalog.classes == SARTAJ[1:]
    assert read_catalog(write_flat(tmp_path / "cars", 2, ("test", "train"))).classes == (
        "test",
        "train",
    )
    assert not capsys.readouterr().err


def test_a_folder_too_many_is_named_and_left_out_unless_it_is_mapped(tmp_path, monkeypatch, capsys):
    root = rename(write_set(tmp_path / "set", (2, 2, 2, 2), 1), SARTAJ)
    (root / "Training/Healthy").mkdir()
    picture(1).save(root / "Training/Healthy/one.png")
    catalog = read_catalog(root)
    assert catalog.classes == CLASS_NAMES and len(catalog) == 12
    left_out = ("Training/Healthy", "not one of the four classes: left out")
    assert left_out in catalog.skipped
    assert "Healthy not at all (--map Healthy=CLASS reads it)" in capsys.readouterr().err
    monkeypatch.setenv("BRAIN_TUMOR_MAP", "healthy=No Tumour")
    mapped = read_catalog(root)
    assert mapped.classes == CLASS_NAMES and len(mapped) == 13 and not mapped.skipped
    assert mapped.class_counts(range(13)) == catalog.class_counts(range(12)) | {"notumor": 4}
    assert "Healthy as notumor" in capsys.readouterr().err
    (root / "Testing/healthy").mkdir()
    picture(2).save(root / "Testing/healthy/two.png")
    monkeypatch.setenv("BRAIN_TUMOR_MAP", "healthy=Healthy")
    assert read_catalog(root).classes == ("glioma", "Healthy", *CLASS_NAMES[1:])


def test_a_map_completes_the_four(tmp_path, monkeypatch):
    names = ("glioma tumor", "meningioma", "normal", "pituitary")
    root = write_flat(tmp_path / "set", 2, names)
    assert read_catalog(root).classes == names
    monkeypatch.setenv("BRAIN_TUMOR_MAP", "normal=notumor")
    assert read_catalog(root).classes == CLASS_NAMES


@pytest.mark.parametrize(
    "extra, variable, says",
    [
        ("Training/no tumor", "", "holds both no tumor/ and no_tumor/.*Merge or rename"),
        ("train/x", "", "holds both Training/ and train/"),
        ("", "healthy", r"takes FOLDER=CLASS.*Received: 'healthy'"),
        ("", "=glioma", "takes FOLDER=CLASS"),
        (
            "",
            "normal=notumor",
            "--map names normal, but no folder of images in .*set is",
        ),
    ],
)
def test_what_is_not_clear_is_refused(extra, variable, says, tmp_path, monkeypatch):
    root = rename(write_set(tmp_path / "set", (2, 2, 2, 2), 1), SARTAJ)
    if extra:
        (root / extra).mkdir(parents=True)
    monkeypatch.setenv("BRAIN_TUMOR_MAP", variable)
    with pytest.raises(InputError, match=says):
        read_catalog(root)


def test_a_class_without_a_usable_image_is_named_as_it_is_called(tmp_path):
    root = rename(write_set(tmp_path / "set", (2, 2, 1, 2), 1), SARTAJ, ("train", "test"))
    next((root / "train/no_tumor").iterdir()).write_text("no image")
    with pytest.raises(InputError, match=r"set/train/no_tumor has no usable .* its 1 can be used"):
        read_catalog(root)


def test_the_flag_reaches_whoever_reads_folders(tmp_path, monkeypatch, capsys):
    root = write_flat(tmp_path / "set", 8, (*SARTAJ, "healthy"))
    command = ["data", "summary", "--data", str(root)]
    assert main(command) == 0
    assert "healthy: not one of the four classes" in capsys.readouterr().out
    assert main([*command, "--map", "healthy=notumor", "--map", "no_tumor=notumor"]) == 0
    assert re.search(r"unsplit +8 +8 +16 +8 +40", capsys.readouterr().out)
    assert os.environ["BRAIN_TUMOR_MAP"] == "healthy=notumor,no_tumor=notumor"


def _frozen(file, catalog):
    """Freeze made parts of a catalogue, every image in a group of its own."""
    parts = ("train", "train", "val", "test")
    assignments = {
        path: Assignment(fingerprint, f"g{row:04}", 1, parts[row % 4])
        for row, (path, fingerprint) in enumerate(zip(catalog.paths, catalog_fingerprints(catalog)))
    }
    write_frozen(file, FrozenSplit("made", assignments))
    return assignments


def test_the_clean_split_is_found_under_other_names(tmp_path, monkeypatch):
    file = tmp_path / "clean_split.csv"
    expected = _frozen(file, read_catalog(write_set(tmp_path / "set")))
    monkeypatch.setattr(recover, "MERGE", file)
    monkeypatch.setattr(frozen_module, "FOLDER", tmp_path)
    assert shipped_file("clean") == file
    root = rename(write_set(tmp_path / "other"), ODD, ("train", "test"))
    # Names count, too: this file's fingerprint is further away than a renamed file's may be.
    one = root / "train/no-tumour/Tr-no_0000.png"
    Image.open(one).point(lambda level: min(level, 230)).save(one)  # by 5 bits
    catalog = read_catalog(root)
    known = read_frozen(file).known(catalog)
    assert {standard_path(path): each for path, each in known.items()} == expected
    # A split that was frozen from the copy itself has the copy's own paths.
    _frozen(tmp_path / "own.csv", catalog)
    assert len(read_frozen(tmp_path / "own.csv").known(catalog)) == len(catalog)


def test_the_shipped_split_fits_real_files_under_other_names(real_data, tmp_path):
    table = read_frozen(shipped_file("clean")).assignments
    chosen = {}
    for name, other in zip(CLASS_NAMES, SARTAJ):
        old = [path for path in table if path.split("/")[1] == name]
        for part, new in (("Training", "Train"), ("Testing", "test")):
            for path in [path for path in old if path.startswith(part)][:60:15]:
                link = tmp_path / new / other / path.split("/")[2]
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(real_data / path)
                chosen[link.relative_to(tmp_path).as_posix()] = path
    known = read_frozen(shipped_file("clean")).known(read_catalog(tmp_path))
    assert known == {link: table[path] for link, path in chosen.items()} and len(known) == 32
