"""Exact and stock steps take turns, and a failure of one ends both.

What the feature cache saves is measured on equal losses, and unequal ones show.
"""

import dataclasses
import io
import json

import pytest
from made_weights import backbone_file

from src.common.errors import InputError
from src.comparison import speed
from src.config import PRESETS, preset
from src.differences import STOCK
from src.feature_cache.cache import CachedBatches


def measured(monkeypatch, folder, turns):
    # 96 px and batches of 16, as in test_twins_with_cache.py: else PyTorch's rounding depends on
    # an image's position in its batch.
    monkeypatch.setattr(speed, "IMAGES", {"train": 32, "val": 16})
    monkeypatch.setattr(speed, "TURNS", turns)
    options = dict(init=str(backbone_file(folder)), reinit=("block14",), augment="none")
    config = preset("smoke", image_size=96, batch_size=16, **options)
    config = dataclasses.replace(
        config, head_learning_rate=0.1, finetune_learning_rate=0.01
    )  # so losses move
    written = io.BytesIO()
    speed.write_stage_costs("pt", config, None, written)
    return json.loads(written.getvalue())


@pytest.mark.slow
def test_losses_with_and_without_the_cache_are_equal(monkeypatch, tmp_path):
    stages = {name: speed.STAGES[name] for name in ("head", "block13")}
    monkeypatch.setattr(speed, "STAGES", stages)
    costs = measured(monkeypatch, tmp_path, turns=1)
    assert [row["fill"]["block"] for row in costs.values()] == ["block14", "block12"]
    for name, row in costs.items():
        assert row["fill"]["computed"] == 48  # all images of both parts, once
        assert {len(each) for each in row["seconds"].values()} == {1}
        assert {len(each) for each in row["losses"].values()} == {2 * speed.EPOCHS}
        assert row["largest_difference"] < 2e-6, name
    assert costs["head"]["by_multiply_adds"] > 1000
    # Issue 6 counts 3.4 at 299 px without validation images, which only pass forward.
    assert 3.4 < costs["block13"]["by_multiply_adds"] < 6


def test_a_default_without_which_pytorch_keeps_nothing_is_refused_at_once(monkeypatch):
    monkeypatch.setattr(speed, "run_twin", lambda *_: pytest.fail("it ran"))
    for restored in (("bn_frozen_mode",), STOCK):
        with pytest.raises(InputError, match="bn_frozen_mode"):
            speed.measure_feature_cache(preset("smoke", restore_defaults=restored))


@pytest.mark.parametrize("name", PRESETS)
def test_the_stages_fit_every_preset(name):
    for fields in speed.STAGES.values():
        assert preset(name, **fields).image_size == preset(name).image_size


def test_the_table_shows_medians_and_ranges():
    row = {
        "seconds": {"plain": [18.44, 38.0, 20.06], "cached": [0.151, 0.16, 0.158]},
        "times_cheaper": 20.06 / 0.158,
        "fill": {"seconds": 9.26, "computed": 48},
        "largest_difference": 2.6e-7,
    }
    served = row | {"fill": {"seconds": 0.0, "computed": 0}, "largest_difference": 0.0}
    table = speed.feature_cache_table({"frameworks": {"tf": {"head": row}, "pt": {"head": served}}})
    times = "20.1 (18.4 to 38.0) | 0.16 (0.15 to 0.16) | 130"
    assert f"| TensorFlow | head | {times} | 9.3 | 2.6e-07 |" in table
    assert f"| PyTorch | head | {times} | - | 0 |" in table


@pytest.mark.slow
def test_a_cache_that_gives_outputs_of_other_images_shows(monkeypatch, tmp_path):
    batch = CachedBatches.batch

    def reversed_images(self, *given):
        outputs, *rest = batch(self, *given)
        return outputs[::-1].copy(), *rest

    monkeypatch.setattr(CachedBatches, "batch", reversed_images)
    monkeypatch.setattr(speed, "STAGES", {"head": speed.STAGES["head"]})
    costs = measured(monkeypatch, tmp_path, turns=2)
    assert {len(each) for each in costs["head"]["seconds"].values()} == {2}
    assert costs["head"]["largest_difference"] > 1e-3


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setattr("src.feature_cache.cache._FOLDER", f"feature_cache-{tmp_path.name}")


def steps(order, name, failure=None):
    """A function of four steps, which `take_turns` may run; it raises before step `failure`."""

    def fit(on_step):
        for number in range(4):
            if number == failure:
                raise ValueError("diverged")
            order.append(name)
            on_step()

    return fit


def test_the_configs_take_turns():
    order = []
    seconds = speed.take_turns([steps(order, "exact"), steps(order, "stock")], 4)
    assert order == ["exact", "stock"] * 4
    assert [len(each) for each in seconds] == [4, 4]


@pytest.mark.parametrize("failures", [(2, None), (None, 2)])
def test_a_failure_of_one_ends_both(failures):
    with pytest.raises(ValueError, match="diverged"):
        speed.take_turns([steps([], "any", failure) for failure in failures], 4)
