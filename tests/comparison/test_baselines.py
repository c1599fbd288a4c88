"""Baselines learn from the training part alone, and every image is scored once over the folds."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest

from src.comparison import baselines
from src.comparison.baselines import (
    BASELINES,
    PROBE,
    baselines_table,
    measure_baselines,
    pooled_features,
    write_rows,
)
from src.config import preset
from src.data.augment import scale
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


def test_an_interrupted_pass_goes_on_where_it_stopped(measured, monkeypatch, tmp_path):
    calls = []

    def block_output(model, images, block):
        if len(calls) == 3:
            calls.append("interrupted")
            raise KeyboardInterrupt
        calls.append(len(images))
        return np.repeat(images.mean(axis=(1, 2), keepdims=True)[..., :1], 1024, axis=-1)

    model = SimpleNamespace(build_model=lambda *_: None, block_output=block_output)
    twin = SimpleNamespace(runtime=SimpleNamespace(configure=lambda _: None), model=model)
    monkeypatch.setattr(baselines, "load_twin", lambda _: twin)
    monkeypatch.setenv("BRAIN_TUMOR_CACHE", str(tmp_path))
    config, dataset = preset("smoke", split="clean"), measured[0]
    with pytest.raises(KeyboardInterrupt):
        pooled_features(config, dataset)
    features = pooled_features(config, dataset)
    assert calls == [32] * 3 + ["interrupted"] + [32] * 7
    assert features.shape == (320, 1024) and features.dtype == np.float32
    assert features[:, 5] == pytest.approx(scale(dataset.pixels).mean(axis=(1, 2)), abs=1e-4)
    assert np.array_equal(pooled_features(config, dataset), features) and len(calls) == 11
