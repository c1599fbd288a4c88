"""Baselines learn from the training part alone, and every image is scored once over the folds."""

import csv
import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from src.common.errors import InputError
from src.common.files import write_csv
from src.comparison import baselines
from src.comparison.baselines import (
    BASELINES,
    PROBE,
    PROBE_C,
    PROBE_SOLVER,
    baselines_table,
    fit_probe,
    measure_baselines,
    pooled_features,
    tune_probe,
)
from src.config import preset
from src.data.audit.shortcuts import score_shortcuts
from src.data.augment import scale
from src.data.dataset import open_dataset
from src.data.duplicates.thumbnails import catalog_thumbnails
from src.data.phantom.write import write_phantom
from src.data.splits import split as splits
from src.data.splits.frozen import freeze, write_frozen
from src.data.splits.groups import group_catalog
from src.evaluation.intervals import group_intervals
from src.feature_cache.cache import find_cache
from src.feature_cache.plan import output_shape
from src.xception.stages import FINETUNE
from src.xception.weights import initial_weights

CONFIG = preset("smoke", split="clean")


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Return what is measured of features that tell the class, and of others without a selection.

    The first have a frozen split. On its selection part they tell nothing, so that what is asked of
    that part is seen by its score.
    """
    folder = tmp_path_factory.mktemp("baselines")
    dataset = open_dataset(CONFIG, write_phantom(folder / "set", 320, 48))
    _, thumbnails = catalog_thumbnails(dataset.catalog)
    write_frozen(folder / "split.csv", freeze("clean", group_catalog(dataset.catalog), 0))
    noise = np.random.default_rng(0).normal(size=(320, 12)).astype(np.float32)
    telling = noise.copy()
    telling[:, :4] += 8 * np.eye(4, dtype=np.float32)[dataset.catalog.labels]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splits, "shipped_file", lambda _kind: folder / "split.csv")
        config = dataclasses.replace(CONFIG, fold=5)
        selection = splits.split_catalog(dataset.catalog, config).parts
        telling[selection["test"]] = noise[selection["test"]]
        first = measure_baselines(dataset, thumbnails, telling, CONFIG)
    second = measure_baselines(dataset, thumbnails, noise, CONFIG)
    names = ("dataset", "thumbnails", "selection", "telling", "noise", "of_telling", "of_noise")
    values = (dataset, thumbnails, selection, telling, noise, first, second)
    return SimpleNamespace(**dict(zip(names, values)))


def test_the_probe_sees_what_its_features_hold_and_no_more(measured):
    (telling, _, _), (noise, _, _) = measured.of_telling, measured.of_noise
    assert telling["pooled"][PROBE]["accuracy"]["value"] > 0.98
    assert noise["pooled"][PROBE]["accuracy"]["value"] < 0.4
    majorities = [
        scores["official"]["majority"]["accuracy"]["value"] for scores in (telling, noise)
    ]
    assert majorities[0] == majorities[1]


def test_every_image_outside_the_selection_part_is_scored_once_over_the_folds(measured, tmp_path):
    paths, selection = np.array(measured.dataset.catalog.paths), measured.selection["test"]
    for (scores, rows, _), tested in (
        (measured.of_telling, np.delete(paths, selection)),
        (measured.of_noise, paths),
    ):
        assert scores["pooled"][PROBE]["count"] == len(tested)
        folds = [row["path"] for row in rows if row["split"] != "official"]
        assert sorted(folds) == sorted(tested)
        write_csv(tmp_path / "rows.csv", list(rows[0]), rows)
        with (tmp_path / "rows.csv").open() as file:
            again = list(csv.DictReader(file))
        right = [row[PROBE] == row["label"] for row in again if row["split"] != "official"]
        assert np.mean(right) == pytest.approx(scores["pooled"][PROBE]["accuracy"]["value"])
    assert measured.of_noise[0]["pooled"][PROBE]["groups"] == 80


def test_the_audit_gives_a_baseline_the_same_score(measured):
    catalog = measured.dataset.catalog
    config = dataclasses.replace(CONFIG, split="official")
    parts = {"official": splits.split_catalog(catalog, config).parts}
    audited = score_shortcuts(measured.thumbnails, catalog, parts)["official"]
    scores = measured.of_noise[0]["official"]
    names = sorted(set(audited) & set(scores))
    assert len(names) == 4
    rates = [scores[name]["accuracy"]["value"] for name in names]
    assert [audited[name]["accuracy"] for name in names] == pytest.approx(rates)


def test_the_table_names_every_baseline(measured):
    table = baselines_table(measured.of_telling[0])
    assert all(f"| {name} |" in table for name in BASELINES)


def test_the_table_shows_a_rate_of_too_few_groups_without_an_interval(measured):
    labels, groups = np.array([0] * 30 + [1] * 5), np.array([0] * 30 + [1] * 5)
    few = group_intervals(labels, np.tile([0.6, 0.4], (35, 1)), groups, classes=("a", "b"))
    scores = measured.of_telling[0] | {"official": dict.fromkeys(BASELINES, few)}
    assert f"| {BASELINES[0]} | 85.7% | " in baselines_table(scores)


def test_the_selection_part_chooses_c_once_and_is_in_no_tenth(measured):
    labels, parts = measured.dataset.catalog.labels, measured.selection
    scores, _, probe = measured.of_telling
    chosen = tune_probe(measured.telling, labels, parts["train"], parts["test"])
    assert probe["tuning"] == {"selection": chosen} and chosen["images"] == len(parts["test"])
    assert max(score["accuracy"] for score in chosen["scores"]) < 0.6
    assert len(scores["probe tenths"]) == 10 and np.mean(scores["probe tenths"]) > 0.98
    official = dataclasses.replace(CONFIG, split="official")
    train = splits.split_catalog(measured.dataset.catalog, official).parts["train"]
    again = fit_probe(measured.telling[train], labels[train], chosen["C"])
    assert probe["iterations"]["official"] == again[-1].n_iter_[0]


def test_without_a_selection_part_each_cut_chooses_on_its_validation_part(measured):
    tuning = measured.of_noise[2]["tuning"]
    assert list(tuning) == ["official", *(f"fold {k}" for k in range(5))]
    config = dataclasses.replace(CONFIG, fold=2)
    val = splits.split_catalog(measured.dataset.catalog, config).parts["val"]
    assert tuning["fold 2"]["images"] == len(val)


@pytest.mark.parametrize("kind", ["telling", "noise"])
def test_c_is_chosen_by_accuracy_and_then_by_log_loss(measured, kind):
    labels, features = measured.dataset.catalog.labels, getattr(measured, kind)
    rows = np.arange(320)
    if kind == "telling":
        rows = np.delete(rows, measured.selection["test"])
    chosen = tune_probe(features, labels, rows[::2], rows[1::2])
    assert tuple(score["C"] for score in chosen["scores"]) == PROBE_C
    most = max(score["accuracy"] for score in chosen["scores"])
    losses = {s["log_loss"]: s["C"] for s in chosen["scores"] if s["accuracy"] == most}
    assert chosen["C"] == losses[min(losses)]
    if kind == "telling":  # several are as accurate
        assert len(losses) > 1
    else:  # the best log loss is elsewhere
        assert min(losses) > min(score["log_loss"] for score in chosen["scores"])


def test_a_probe_that_did_not_converge_is_refused(measured, monkeypatch):
    monkeypatch.setitem(PROBE_SOLVER, "max_iter", 2)
    with pytest.raises(InputError, match="did not converge with C=1 on 320 images"):
        fit_probe(measured.noise, measured.dataset.catalog.labels, 1.0)


def test_the_features_are_those_that_training_keeps(measured, monkeypatch, tmp_path):
    dataset, computed = measured.dataset, []
    weights, shape = initial_weights(CONFIG), output_shape("block13", CONFIG.image_size)
    side = shape[0]
    pattern = np.linspace(-1, 1, side * side).reshape(side, side)  # of mean 0

    def block_function(_model, _block):
        def compute(images):
            computed.append(len(images))
            outputs = images.mean(axis=(1, 2, 3))[:, None, None] + pattern
            return np.repeat(outputs[..., None], shape[-1], axis=-1)

        return compute

    model = SimpleNamespace(build_model=lambda *_: None, get_weights=lambda _: weights)
    twin = SimpleNamespace(
        runtime=SimpleNamespace(configure=lambda _: None),
        model=model,
        feature_cache=SimpleNamespace(block_function=block_function),
    )
    monkeypatch.setattr(baselines, "load_twin", lambda _: twin)
    monkeypatch.setenv("BRAIN_TUMOR_CACHE", str(tmp_path))
    from_block14 = dict(init="a.safetensors", reinit=("block14",), unfreeze_from="block14")
    trained = preset("smoke", feature_cache=True, **from_block14)
    compute = block_function(None, None)
    cache = find_cache(trained, FINETUNE, "tf", lambda: weights, lambda _block: compute)
    cache.batches(dataset.batches("train"))
    computed.clear()
    features = pooled_features(CONFIG, dataset)
    rest = 320 - len(dataset.parts["train"])
    assert 0 < rest <= sum(computed) < rest + 16
    assert features.shape == (320, 1024) and features.dtype == np.float32
    assert features[:, 5] == pytest.approx(scale(dataset.pixels).mean(axis=(1, 2)), abs=1e-4)
    computed.clear()
    assert np.array_equal(pooled_features(CONFIG, dataset), features) and not computed
