"""Where images are looked for, and what a record says of them."""

import json
import os

import numpy as np
import pytest
from image_folders import picture, python, truncate, write_flat, write_set

import src.data.folders as folders_module
import src.data.phantom.write as phantom_module
from src.common.errors import InputError
from src.config import CLASS_NAMES, preset
from src.data.dataset import open_dataset
from src.data.phantom.write import write_phantom

CONFIG = preset("smoke")


@pytest.fixture(autouse=True)
def nowhere(cache, tmp_path, monkeypatch):
    """No variable, no dataset/, a small phantom set."""
    monkeypatch.delenv("BRAIN_TUMOR_DATA", raising=False)
    monkeypatch.setattr(folders_module, "DATASET_FOLDER", tmp_path / "dataset")
    mounted = [tmp_path / "kaggle/older", tmp_path / "kaggle/newer"]
    monkeypatch.setattr(folders_module, "KAGGLE_FOLDERS", mounted)
    monkeypatch.setattr(phantom_module, "COUNT", 80)
    monkeypatch.setattr(phantom_module, "SIZE", 48)
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset/README.md").write_text("put images here")


def test_the_first_place_that_has_images_is_used(tmp_path, monkeypatch):
    assert open_dataset(CONFIG).kind == "phantom"
    for mounted in ("newer", "older"):  # as Kaggle does when a notebook adds the set
        root = write_set(tmp_path / "kaggle" / mounted)
        assert open_dataset(CONFIG).root == root
    write_set(tmp_path / "dataset/unpacked")
    assert open_dataset(CONFIG).root == tmp_path / "dataset/unpacked"
    monkeypatch.setenv("BRAIN_TUMOR_DATA", str(write_set(tmp_path / "variable")))
    assert open_dataset(CONFIG).root == tmp_path / "variable"
    given = open_dataset(CONFIG, write_set(tmp_path / "given"))
    assert given.root == tmp_path / "given" and given.kind == "real"


@pytest.mark.skipif(os.name != "posix", reason="elsewhere links need rights")
def test_linked_folders_are_seen(tmp_path):
    elsewhere = write_set(tmp_path / "elsewhere")
    for part in ("Training", "Testing"):
        (tmp_path / "dataset" / part).symlink_to(elsewhere / part)
    assert open_dataset(CONFIG).kind == "real"


@pytest.mark.parametrize("where", ["argument", "variable"])
def test_a_place_that_is_named_is_never_passed_over(tmp_path, monkeypatch, where):
    missing = tmp_path / "missing"
    if where == "variable":
        monkeypatch.setenv("BRAIN_TUMOR_DATA", str(missing))
    with pytest.raises(InputError, match=r"does not exist.*BRAIN_TUMOR_DATA"):
        open_dataset(CONFIG, missing if where == "argument" else None)


def test_hidden_images_do_not_make_a_dataset(tmp_path):
    hidden = tmp_path / "dataset/.ipynb_checkpoints"
    hidden.mkdir()
    picture(1).save(hidden / "one.png")
    assert open_dataset(CONFIG).kind == "phantom"


def test_images_in_no_layout_are_not_passed_over(tmp_path):
    picture(1).save(tmp_path / "dataset/one.png")
    with pytest.raises(InputError, match="No class folders"):
        open_dataset(CONFIG)


def test_the_phantom_is_announced_once_and_in_records(capsys):
    dataset = open_dataset(CONFIG)
    open_dataset(CONFIG)
    assert capsys.readouterr().err.count("*** PHANTOM DATA") == 1
    assert "PHANTOM DATA" in dataset.describe()["note"]
    assert dataset.describe()["kind"] == "phantom"
    assert len(dataset.catalog) == 80


def test_a_phantom_written_elsewhere_stays_one(tmp_path):
    root = write_phantom(tmp_path / "own", 40, 32)
    assert open_dataset(CONFIG, root).kind == "phantom"


def test_real_images_are_announced_by_nothing(tmp_path, capsys):
    dataset = open_dataset(CONFIG, write_set(tmp_path / "set"))
    assert "***" not in capsys.readouterr().err
    assert dataset.describe()["note"] == "" and dataset.describe()["kind"] == "real"


def test_describe_says_what_a_record_needs(tmp_path, capsys):
    root = write_set(tmp_path / "set")
    truncate(root / "Testing/notumor/Te-no_0000.png")
    (root / "Training/glioma/zero.jpg").touch()
    dataset = open_dataset(CONFIG, root)
    about = json.loads(json.dumps(dataset.describe(), allow_nan=False))
    assert about == dataset.describe()
    assert about["name"] == "set" and str(tmp_path) not in json.dumps(about)
    assert about["counts"]["Testing"]["notumor"] == 3
    assert [path for path, _ in about["skipped"]] == [
        "Testing/notumor/Te-no_0000.png",
        "Training/glioma/zero.jpg",
    ]
    assert about["parts"] == {part: len(rows) for part, rows in dataset.parts.items()}
    assert about["split"] == "clean" and len(about["fingerprint"]) == 64
    err = capsys.readouterr().err
    assert "2 files are not used" in err and "Te-no_0000.png: cannot be decoded" in err
    assert len(dataset.pixels) == len(dataset.catalog) == 39 + 15


def test_describe_says_that_parts_were_made(tmp_path):
    about = open_dataset(CONFIG, write_flat(tmp_path / "flat")).describe()
    assert about["split"] == "made at runtime" and "made at runtime" in about["note"]
    assert about["counts"] == {"unsplit": dict.fromkeys(CLASS_NAMES, 20)}


def test_parts_and_groups_index_the_catalogue(tmp_path):
    dataset = open_dataset(CONFIG, write_set(tmp_path / "set"))
    assert set(dataset.parts) == {"train", "val", "test"}
    assert len(dataset.groups) == len(dataset.catalog)
    assert dataset.pixels.shape == (len(dataset.catalog), 71, 71)
    assert dataset.pixels.dtype == np.uint8


def test_all_but_training_images_have_the_test_side(tmp_path):
    root = write_set(tmp_path / "set")
    truncate(root / "Training/glioma/Tr-gl_0000.png")  # which no side can decode
    dataset = open_dataset(preset("smoke", test_size=96), root)
    low, high = (open_dataset(preset("smoke", image_size=side), root) for side in (71, 96))
    expected = {part: high.batches(part) for part in ("train", "val", "test")}
    expected["statistics"] = high.statistics_batches()
    for part, batches in expected.items():
        seen = dataset.statistics_batches() if part == "statistics" else dataset.batches(part)
        assert seen.batch(0, 0)[0].shape[1] == 96
        np.testing.assert_array_equal(seen.batch(0, 0)[0], batches.batch(0, 0)[0], err_msg=part)
    training = [each.batches("train", training=True) for each in (dataset, low)]
    np.testing.assert_array_equal(*(batches.batch(0, 0)[0] for batches in training))
    assert training[0].batch(0, 0)[0].shape[1] == 71
    assert dataset.pixels.shape[1] == 71 and dataset.test_pixels.shape[1] == 96


def test_the_data_half_loads_no_framework():
    code = """
import sys
import src.data, src.cli.data
loaded = {"tensorflow", "keras", "torch", "torchvision", "timm", "kagglehub"} & set(sys.modules)
sys.exit(", ".join(loaded) or 0)
"""
    process = python(code)
    assert process.wait() == 0, process.stderr.read()


def test_scaling_loads_nothing_heavy():
    code = """
import sys
import src.data
from src.data.augment import scale
heavy = {"h5py", "sklearn", "scipy", "matplotlib", "src.data.phantom", "src.data.sources"}
sys.exit(", ".join(heavy & set(sys.modules)) or 0)
"""
    process = python(code)
    assert process.wait() == 0, process.stderr.read()
