"""The path from stock to exact, and what is measured along it, on run folders made from a seed."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from fake_runs import fake_run

from src.common.errors import InputError
from src.comparison.attribution import runs as module
from src.comparison.attribution.measure import interval, measure_attribution
from src.comparison.attribution.report import attribution_table, write_attribution_figure
from src.comparison.attribution.runs import (
    ATTRIBUTION,
    Cell,
    cell_at,
    path_to_exact,
    plan,
    run_cells,
)
from src.config import preset
from src.differences import STOCK

CONFIG = preset("smoke", **ATTRIBUTION)
# How far each row, at its own default, moves the logits of the made runs.
NUDGES = {"bn_momentum": 0.8, "pool_padding": 0.2, "resize": 0.4}


@pytest.fixture
def made(monkeypatch):
    """Instead of training, write a run whose logits the rows that are put back have moved."""
    calls = []

    def train_once(framework, out, config, options):
        calls.append((framework, config.restore_defaults, config.seed))
        nudge = sum(NUDGES.get(row, 0) for row in config.restore_defaults)
        nudge += 0.01 * ("--perturbed" in options)
        fake_run(out, framework, nudge=nudge, seed=config.seed)
        (out / "last.safetensors").write_bytes(b"large")

    monkeypatch.setattr(module, "train_once", train_once)
    return calls


def attributed(out, seeds=(0, 1, 2)):
    assert [left for _, left in run_cells(CONFIG, list(seeds), out, None)][-1] == 0
    return measure_attribution(CONFIG, list(seeds), out)


def test_the_path_settles_one_row_at_a_time():
    places = path_to_exact()
    assert places[0] == STOCK and places[-1] == ()
    assert all(set(a) - set(b) == {a[0]} for a, b in pairwise(places))


def test_places_that_train_alike_share_a_run():
    sgd = dataclasses.replace(CONFIG, optimizer="sgd", weight_decay=0.0, clip_norm=0.0, dropout=0.0)
    assert cell_at("tf", STOCK, sgd, 0).rows == ("head_init", "resize")
    assert "momentum_schedule" in cell_at("pt", STOCK, sgd, 0).rows
    assert not {"adam_epsilon", "clipping", "weight_decay"} & set(cell_at("pt", STOCK, sgd, 0).rows)
    cells = plan(CONFIG, [0, 1, 2])
    assert len(cells) == len(set(cells)) == len({cell.folder for cell in cells}) == 60
    assert sum(cell.perturbed for cell in cells) == 3


def test_runs_get_their_rows_and_seed_and_leave_no_weights(made, tmp_path):
    attributed(tmp_path, seeds=(5,))
    assert len(made) == len(plan(CONFIG, [5]))
    assert ("pt", (), 5) in made and ("tf", (), 5) in made
    assert not list(tmp_path.rglob("*.safetensors"))


def test_each_row_is_given_what_it_moved_and_no_other(made, tmp_path):
    result = attributed(tmp_path)
    moved = {(e["row"], e["framework"]): e["moved"]["probs"]["mean"] for e in result["rows"]}
    large = {("bn_momentum", "pt"), ("pool_padding", "pt"), ("resize", "tf")}
    assert {place for place, value in moved.items() if value > 0.005} == large
    assert all(value == 0 for place, value in moved.items() if place not in large)
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
def test_table_and_figure(made, tmp_path, seeds):
    result = attributed(tmp_path, seeds) | {"dataset": {"kind": "phantom"}}
    table = attribution_table(result)
    assert "momentum_schedule" in table.splitlines()[-2]  # cannot move Adam
    quiet, *_ = (line for line in table.splitlines() if "no more than one epsilon" in line)
    assert "clipping (PyTorch)" in quiet and "bn_momentum" not in quiet
    assert table.count("bn_momentum") == 1
    assert write_attribution_figure(result, tmp_path / "a.png").stat().st_size > 10_000


def test_a_missing_run_is_an_error(tmp_path):
    with pytest.raises(InputError):
        measure_attribution(CONFIG, [0], tmp_path)


def test_a_cell_has_a_folder_of_its_own():
    assert Cell("pt", (), 0).folder != Cell("pt", (), 0, perturbed=True).folder
