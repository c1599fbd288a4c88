"""Images that the shipped classifier has seen do not test what starts from it, unless marked."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from fake_grid import FakeGrid
from fake_runs import fake_record
from PIL import Image, ImageOps
from shipped_split import phantom_split_ships

from src import experiment
from src.__main__ import main
from src.common.errors import InputError
from src.common.files import write_json
from src.comparison.report.style import figure_notices
from src.config import CLASS_NAMES, preset
from src.data.catalog import read_catalog
from src.data.dataset import open_dataset, seen_mark
from src.data.splits import frozen
from src.data.splits.folds import SELECTION
from src.data.splits.frozen import shipped_file
from src.data.splits.seen import seen_images
from src.data.splits.split import split_catalog
from src.results.grid import declared_grid
from src.results.markdown import results_page
from src.results.statistics import measure
from src.training.checkpoint import model_card

ROOT = Path(__file__).parents[2]
OFFICIAL_SEEN = 1168  # of the 1,311 images of Testing


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    with phantom_split_ships(tmp_path_factory.mktemp("split")) as dataset:
        yield dataset


@pytest.fixture
def real_split(monkeypatch):
    monkeypatch.setattr(frozen, "FOLDER", ROOT / "dataset")


@pytest.fixture(scope="module")
def copies(phantom, tmp_path_factory):
    """Return a folder of renamed copies: of each class JPEG, mirror, neighbour, test image."""
    root = tmp_path_factory.mktemp("copies")
    for label, name in enumerate(CLASS_NAMES):
        (root / name).mkdir()
        of_class = {
            part: rows[phantom.catalog.labels[rows] == label]
            for part, rows in phantom.parts.items()
        }
        train, val, test = (of_class[part][0] for part in ("train", "val", "test"))
        for new, row in (("jpeg", train), ("mirror", val), ("new", test)):
            with Image.open(phantom.root / phantom.catalog.paths[row]) as image:
                image = ImageOps.mirror(image) if new == "mirror" else image.copy()
            image.save(root / name / f"{new}.jpg", quality=70)
    return root


def test_copies_are_known_by_fingerprint_and_bring_their_group(copies):
    catalog = read_catalog(copies)
    names = np.array([path.rpartition("/")[2] for path in catalog.paths])
    alone = np.arange(len(catalog))
    assert set(names[seen_images(catalog, alone)]) == {"jpeg.jpg", "mirror.jpg"}
    assert seen_images(catalog, alone)[names != "new.jpg"].all()
    with_neighbour = np.where((names == "new.jpg") & (catalog.labels == 0), 0, alone)
    assert seen_images(catalog, with_neighbour)[names == "new.jpg"].sum() == 1


def test_phantoms_are_no_images_of_the_merge(phantom, real_split):
    """Else the README's first command could not start from the shipped model."""
    assert not seen_images(phantom.catalog, phantom.groups).any()


def test_seen_test_images_are_refused_with_their_number_or_marked(phantom):
    assert open_dataset(preset("smoke", init="pretrained")).describe()["seen_test_images"] == 0
    fold = preset("smoke", init="pretrained", fold=1)
    with pytest.raises(InputError, match=r"(\d+) of \1 test images, .*--allow-seen-test"):
        open_dataset(fold)
    allowed = open_dataset(dataclasses.replace(fold, allow_seen_test=True)).describe()
    assert allowed["seen_test_images"] == allowed["parts"]["test"] > 0
    assert "seen_test_images" not in open_dataset(preset("smoke")).describe()


def test_the_shipped_model_is_not_scored_on_them_either(copies, monkeypatch, tmp_path, capsys):
    """Checked before a framework loads its weights, which are not there."""
    config = preset("smoke", init="scratch")
    (tmp_path / "model.json").write_text(json.dumps(model_card(config, "pt")))
    record = fake_record("pt", np.arange(4), np.eye(4, dtype=np.float32))
    write_json(tmp_path / "record.json", record)
    monkeypatch.setattr("src.xception.weight_files.PRETRAINED", tmp_path)
    with pytest.raises(InputError, match=r"of 4 test images, .*--allow-seen-test"):
        experiment.evaluate(tmp_path, copies)
    with pytest.raises(InputError, match=r"lacks its weights, model\.safetensors"):
        experiment.evaluate(tmp_path, copies, allow_seen_test=True)
    assert main(["evaluate", str(tmp_path), "--data", str(copies)]) == 2
    assert "--allow-seen-test" in capsys.readouterr().err


def test_the_mark_is_shown_wherever_the_scores_are(tmp_path):
    labels = np.arange(8) % 4
    record = fake_record("pt", labels, np.full((8, 4), 0.25, np.float32), init="pretrained")
    assert not seen_mark(record["dataset"])
    record["dataset"]["seen_test_images"] = 5
    assert seen_mark(record["dataset"]).startswith("5 of 8 test images")
    assert any("5 test images" in text and loud for text, loud in figure_notices(record).items())
    config = preset("smoke", init="pretrained", allow_seen_test=True)
    assert "shipped model" in model_card(config, "pt")["note"]
    cell, grid = declared_grid()[0], FakeGrid()
    data = record["dataset"] | {"aside": {}, "parts": {"train": 3, "val": 3, "test": 94}}
    grid.write(tmp_path, [cell], dataset=data)
    scores, _ = grid.write_baselines(tmp_path)
    measured = measure([cell], tmp_path)
    assert "5 of 94 test images" in results_page(measured, scores, {"val_images": 1})


def test_the_pages_say_how_many_official_test_images_were_seen(real_split):
    with shipped_file("clean").open(newline="") as file:
        next(file)
        rows = list(csv.DictReader(file))
    trained = {row["group"] for row in rows if row["part"] in ("train", "val", SELECTION)}
    testing = [row["group"] in trained for row in rows if row["path"].startswith("Testing/")]
    assert sum(testing) == OFFICIAL_SEEN
    for page in ("README.md", "src/pretrained/README.md"):
        text = " ".join((ROOT / page).read_text().split())
        assert f"{OFFICIAL_SEEN:,} of the {len(testing):,} official test images" in text, page


def test_on_the_real_merge(real_catalog, real_split):
    for split, expected in {"official": OFFICIAL_SEEN, "clean": 0}.items():
        cut = split_catalog(real_catalog, preset("smoke", split=split))
        seen = seen_images(real_catalog, cut.groups)
        assert seen[cut.parts["test"]].sum() == expected
