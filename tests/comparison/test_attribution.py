"""The path from stock to exact, and what is measured along it, on run folders made from a seed."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from fake_runs import fake_run
from image_folders import write_set

from src.common.errors import InputError
from src.comparison.attribution import report as reporting
from src.comparison.attribution import runs as module
from src.comparison.attribution.report import attribution_table, write_attribution_figure
from src.comparison.attribution.runs import (
    ATTRIBUTION,
    Cell,
    cell_at,
    interval,
    measure_attribution,
    plan,
    run_cells,
)
from src.config import preset
from src.data.dataset import open_dataset
from src.differences import STOCK
from src.feature_cache.cache import stage_batches
from src.xception.stages import FINETUNE

CONFIG = preset("smoke", **ATTRIBUTION)
# How far each restored default moves the logits of the made runs.
NUDGES = {"bn_momentum": 0.8, "pool_padding": 0.2, "resize": 0.4}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Instead of training, write runs whose logits the restored defaults have moved; three seeds.

    Returns the folder, and what was trained.
    """
    calls = []

    def train_once(framework, out, config, data_dir, *, perturbed, workers):
        calls.append((framework, config.restore_defaults, config.seed))
        nudge = sum(NUDGES.get(row, 0) for row in config.restore_defaults)
        nudge += 0.01 * perturbed
        fake_run(out, framework, nudge=nudge, seed=config.seed)
        (out / "last.safetensors").write_bytes(b"large")

    out = tmp_path_factory.mktemp("attribution")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "train_once", train_once)
        assert [left for _, left in run_cells(CONFIG, [0, 1, 2], out, None)][-1] == 0
    return out, calls


def test_the_path_settles_one_difference_at_a_time():
    points = [set(cell_at("pt", n, CONFIG, 0).restored) for n in range(len(STOCK) + 1)]
    assert "bn_momentum" in points[0] and points[-1] == set()
    assert all(b == a - {name} for name, (a, b) in zip(STOCK, pairwise(points), strict=True))


def test_points_that_train_alike_share_a_run():
    sgd = dataclasses.replace(CONFIG, optimizer="sgd", weight_decay=0.0, clip_norm=0.0, dropout=0.0)
    assert cell_at("tf", 0, sgd, 0).restored == ("head_init", "resize")
    assert "momentum_schedule" in cell_at("pt", 0, sgd, 0).restored
    assert not {"adam_epsilon", "clipping", "weight_decay"} & set(cell_at("pt", 0, sgd, 0).restored)
    cells = plan(CONFIG, [0, 1, 2])
    assert len(cells) == len(set(cells)) == len({cell.folder for cell in cells}) == 60
    assert sum(cell.perturbed for cell in cells) == 3


def test_runs_get_their_defaults_and_seed_and_leave_no_weights(made):
    out, calls = made
    assert len(calls) == len(plan(CONFIG, [0, 1, 2]))
    assert ("pt", (), 2) in calls and ("tf", (), 0) in calls
    assert not list(out.rglob("*.safetensors"))


@pytest.mark.parametrize("augment", ["none", "standard"])
def test_the_floor_run_sees_the_images_of_the_run_it_is_held_against(
    augment, cache, tmp_path, monkeypatch
):
    seen = {}

    def train_once(framework, _out, config, data_dir, *, perturbed, **_):
        if framework == "pt" and not config.restore_defaults:
            batches = open_dataset(config, data_dir).batches("train", training=True)
            batches = stage_batches(batches, config, FINETUNE, None)
            seen[perturbed] = [batches.batch(epoch, 0)[0] for epoch in range(6)]

    monkeypatch.setattr(module, "train_once", train_once)
    config = dataclasses.replace(CONFIG, augment=augment, unfreeze_from="block13", init="a.h5")
    list(run_cells(config, [0], tmp_path / "out", write_set(tmp_path / "data")))
    np.testing.assert_array_equal(seen[True], seen[False])


def test_each_difference_is_given_its_effect_and_no_other(made):
    result = measure_attribution(CONFIG, [0, 1, 2], made[0])
    moved = {(e["row"], e["framework"]): e["moved"]["probs"]["mean"] for e in result["rows"]}
    large = {("bn_momentum", "pt"), ("pool_padding", "pt"), ("resize", "tf")}
    assert {which for which, value in moved.items() if value > 0.005} == large
    assert all(value == 0 for which, value in moved.items() if which not in large)
    assert moved["bn_momentum", "pt"] > moved["pool_padding", "pt"]
    assert result["gaps"][0]["gap"]["probs"]["mean"] > 0.01
    assert result["gaps"][-1]["gap"]["probs"]["mean"] == 0
    assert 0 < result["floor"]["probs"]["mean"] < 0.005


def test_intervals_hold_the_noise_of_seeds():
    many = interval([0.1, 0.2, 0.3])
    # The t quantile for two degrees of freedom, 4.303, by the standard error.
    assert many["mean"] == pytest.approx(0.2)
    assert many["high"] - 0.2 == pytest.approx(4.302653 * np.std([0.1, 0.2, 0.3], ddof=1) / 3**0.5)
    assert interval([0.1])["low"] is None


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_table_and_figure(made, tmp_path, seeds, monkeypatch):
    result = measure_attribution(CONFIG, list(seeds), made[0]) | {"dataset": {"kind": "phantom"}}
    table = attribution_table(result)
    assert "momentum_schedule" in table.splitlines()[-2]  # cannot move Adam
    (quiet,) = (line for line in table.splitlines() if line.startswith("No larger than the floor"))
    assert "clipping (PyTorch)" in quiet and "bn_momentum" not in quiet
    assert table.count("bn_momentum") == 1
    figures = []
    monkeypatch.setattr(reporting, "save_figure", lambda figure, *_: figures.append(figure))
    write_attribution_figure(result, tmp_path / "a.png")
    for axes, quantity in zip(figures[0].axes, reporting._TITLES, strict=True):
        drawn = {float(x) for line in axes.lines for x in line.get_xdata()}
        for entry in result["rows"]:
            moved = entry["moved"][quantity]
            assert drawn >= set(moved["values"] if quantity == "probs" else [moved["mean"]])


def test_a_missing_run_is_an_error(tmp_path):
    with pytest.raises(InputError):
        measure_attribution(CONFIG, [0], tmp_path)


def test_a_cell_has_a_folder_of_its_own():
    assert Cell("pt", (), 0).folder != Cell("pt", (), 0, perturbed=True).folder
