"""Baselines learn from the training part alone, and every image is scored once over the folds."""

import csv

import numpy as np
import pytest

from src.comparison.baselines import (
    BASELINES,
    PROBE,
    baselines_table,
    measure_baselines,
    write_rows,
)
from src.config import preset
from src.data.dataset import open_dataset
from src.data.duplicates.thumbnails import catalog_thumbnails
from src.data.phantom.write import write_phantom


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Return scores and rows of features that give the class away, and of features that do not."""
    config = preset("smoke", split="clean")
    root = write_phantom(tmp_path_factory.mktemp("baselines") / "set", 320, 48)
    dataset = open_dataset(config, root)
    _, thumbnails = catalog_thumbnails(dataset.catalog)
    noise = np.random.default_rng(0).normal(size=(320, 12)).astype(np.float32)
    telling = noise.copy()
    telling[:, :4] += 8 * np.eye(4, dtype=np.float32)[dataset.catalog.labels]
    return dataset, [measure_baselines(dataset, thumbnails, f, config) for f in (telling, noise)]


def test_the_probe_sees_what_its_features_hold_and_no_more(measured):
    _, ((telling, _), (noise, _)) = measured
    assert telling["pooled"][PROBE]["accuracy"]["value"] > 0.98
    assert noise["pooled"][PROBE]["accuracy"]["value"] < 0.4
    assert len(telling["probe tenths"]) == 10
    assert telling["pooled"]["majority"] == noise["pooled"]["majority"]


def test_every_image_is_scored_once_over_the_folds(measured, tmp_path):
    dataset, ((scores, rows), _) = measured
    assert scores["pooled"][PROBE]["count"] == 320 and scores["pooled"][PROBE]["groups"] == 80
    folds = [row["path"] for row in rows if row["split"] != "official"]
    assert sorted(folds) == sorted(dataset.catalog.paths)
    write_rows(tmp_path / "rows.csv", rows)
    with (tmp_path / "rows.csv").open() as file:
        again = list(csv.DictReader(file))
    right = [row[PROBE] == row["label"] for row in again if row["split"] != "official"]
    assert np.mean(right) == pytest.approx(scores["pooled"][PROBE]["accuracy"]["value"])


def test_the_table_names_every_baseline(measured):
    table = baselines_table(measured[1][0][0])
    assert all(f"| {name} |" in table for name in BASELINES)
