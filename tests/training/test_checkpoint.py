"""Checkpoints: everything survives the file; damaged and foreign ones are refused."""

import dataclasses
import math

import numpy as np
import pytest

from src.common.clock import Clock
from src.common.errors import InputError
from src.config import preset
from src.training.checkpoint import (
    LAST,
    Checkpoint,
    load_checkpoint,
    read_model_card,
    save_checkpoint,
    write_model,
)
from src.training.history import EpochMeter, History
from src.training.schedule import Schedule
from src.xception.stages import FINETUNE

CONFIG = preset("smoke")
EXPERIMENT = CONFIG.to_json() | {"images": "a", "framework": "pt"}


def checkpoint(*val_losses: float) -> Checkpoint:
    """Return a checkpoint after an epoch with each of `val_losses`."""
    schedule, history = Schedule(), History()
    schedule.enter_stage(FINETUNE)
    for val_loss in val_losses:
        epoch = EpochMeter()
        epoch.add(history, 1.5, 3, 8)
        history.end_epoch(epoch, val_loss, 0.5, 1e-3, FINETUNE)
        schedule.end_epoch(CONFIG, val_loss)
    history.feature_cache["2"] = {"block": "block12", "computed": 7}
    history.clock = Clock(turns=[[8, 0.5], [8, 0.25]], first_step_seconds=3.5)
    weights = {"head_logits/bias": np.arange(4, dtype=np.float32)}
    optimizer = {"0000/step": np.array(7, np.float32), "0001": np.eye(2)}
    under_way = EpochMeter(steps=2, images=16, loss_sum=3.5, correct=9, seconds=4.0)
    return Checkpoint(weights, optimizer, schedule, history, under_way if val_losses else None)


@pytest.mark.parametrize("val_losses", [(), (0.7,), (0.7, 0.9)])
def test_everything_survives_the_file(val_losses, tmp_path):
    """Infinity too: before its first epoch a schedule's best loss is infinite."""
    saved = checkpoint(*val_losses)
    assert math.isinf(saved.schedule.stage_best) == (not val_losses)
    save_checkpoint(tmp_path / LAST, saved, EXPERIMENT)
    loaded = load_checkpoint(tmp_path / LAST, EXPERIMENT)
    assert (loaded.schedule, loaded.history) == (saved.schedule, saved.history)
    assert loaded.epoch == saved.epoch
    for name in ("weights", "optimizer"):
        arrays, expected = getattr(loaded, name), getattr(saved, name)
        assert arrays.keys() == expected.keys()
        for key, array in expected.items():
            assert arrays[key].dtype == array.dtype and arrays[key].shape == array.shape
            np.testing.assert_array_equal(arrays[key], array)


def test_no_checkpoint_is_none(tmp_path):
    assert load_checkpoint(tmp_path / LAST, EXPERIMENT) is None


@pytest.mark.parametrize("name", ["seed", "images", "framework"])
def test_another_experiments_checkpoint_is_refused(name, tmp_path):
    save_checkpoint(tmp_path / LAST, checkpoint(), EXPERIMENT)
    with pytest.raises(InputError, match=f"another experiment. Different: {name}. Choose"):
        load_checkpoint(tmp_path / LAST, EXPERIMENT | {name: "another"})


def test_a_field_that_an_old_checkpoint_lacks_means_its_default(tmp_path):
    old = {name: value for name, value in EXPERIMENT.items() if name != "clip_norm"}
    save_checkpoint(tmp_path / LAST, checkpoint(), old)
    assert load_checkpoint(tmp_path / LAST, EXPERIMENT)
    with pytest.raises(InputError, match="Different: clip_norm"):
        load_checkpoint(tmp_path / LAST, EXPERIMENT | {"clip_norm": 1.0})


def test_a_run_begun_before_the_clock_goes_on():
    """Its checkpoint holds other totals; the speed is then that of the steps to come."""
    history = checkpoint(0.7).history
    old = dataclasses.asdict(history) | {"timed_images": 80, "timed_seconds": 4.0}
    del old["clock"]
    history.clock = Clock()
    assert History.from_json(old) == history


def test_another_versions_checkpoint_is_refused(tmp_path, monkeypatch):
    save_checkpoint(tmp_path / LAST, checkpoint(), EXPERIMENT)
    monkeypatch.setattr("src.training.checkpoint.CHECKPOINT_FORMAT", 0)
    with pytest.raises(InputError, match="another version"):
        load_checkpoint(tmp_path / LAST, EXPERIMENT)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_checkpoint_is_refused(share, tmp_path):
    path = tmp_path / LAST
    save_checkpoint(path, checkpoint(0.7), EXPERIMENT)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=f"{LAST} is damaged"):
        load_checkpoint(path, EXPERIMENT)


def test_a_model_that_this_version_cannot_feed_is_refused(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"no model\.json"):
        read_model_card(tmp_path)
    write_model(tmp_path, {"head_logits/bias": np.zeros(4, np.float32)}, CONFIG, "tf")
    model_card, config = read_model_card(tmp_path)
    assert model_card["framework"] == "tf" and config == CONFIG
    monkeypatch.setattr("src.training.checkpoint.PREPROCESSING", {"range": [0, 1]})
    with pytest.raises(InputError, match="another preprocessing"):
        read_model_card(tmp_path)
