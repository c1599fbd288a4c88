"""Checkpoints: everything survives the file; damaged and foreign ones are refused."""

import dataclasses
import math
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError, safe_open

from src.common.clock import Clock
from src.common.errors import InputError
from src.common.files import read_json, write_json
from src.config import preset
from src.training.checkpoint import (
    LAST,
    PREVIOUS,
    TESTED,
    Checkpoint,
    load_checkpoint,
    read_checked,
    read_model_card,
    remove_checkpoints,
    save_checkpoint,
    weights_sha256,
    write_checked,
    write_model,
)
from src.training.history import EpochMeter, History
from src.training.schedule import Schedule
from src.xception.stages import FINETUNE
from src.xception.weight_files import load_arrays, write_safetensors

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
    save_checkpoint(tmp_path, saved, EXPERIMENT)
    loaded = load_checkpoint(tmp_path, EXPERIMENT)
    assert (loaded.schedule, loaded.history) == (saved.schedule, saved.history)
    assert loaded.epoch == saved.epoch
    for name in ("weights", "optimizer"):
        arrays, expected = getattr(loaded, name), getattr(saved, name)
        assert arrays.keys() == expected.keys()
        for key, array in expected.items():
            assert arrays[key].dtype == array.dtype and arrays[key].shape == array.shape
            np.testing.assert_array_equal(arrays[key], array)


def test_no_checkpoint_is_none(tmp_path):
    assert load_checkpoint(tmp_path, EXPERIMENT) is None


@pytest.mark.parametrize("name", ["seed", "images", "framework", "finetune_epochs"])
def test_another_experiments_checkpoint_is_refused(name, tmp_path):
    save_checkpoint(tmp_path, checkpoint(), EXPERIMENT)
    with pytest.raises(InputError, match=f"another experiment. Different: {name}. Choose"):
        load_checkpoint(tmp_path, EXPERIMENT | {name: "another"})


def test_a_field_that_an_old_checkpoint_lacks_means_its_default(tmp_path):
    old = {name: value for name, value in EXPERIMENT.items() if name != "clip_norm"}
    save_checkpoint(tmp_path, checkpoint(), old)
    assert load_checkpoint(tmp_path, EXPERIMENT)
    with pytest.raises(InputError, match="Different: clip_norm"):
        load_checkpoint(tmp_path, EXPERIMENT | {"clip_norm": 1.0})


def test_a_run_begun_before_the_clock_goes_on():
    """Its checkpoint holds other totals; the speed is then that of the steps to come."""
    history = checkpoint(0.7).history
    old = dataclasses.asdict(history) | {"timed_images": 80, "timed_seconds": 4.0}
    del old["clock"]
    history.clock = Clock()
    assert History.from_json(old) == history


def test_another_versions_checkpoint_is_refused(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, checkpoint(), EXPERIMENT)
    monkeypatch.setattr("src.training.checkpoint.CHECKPOINT_FORMAT", 0)
    with pytest.raises(InputError, match="another version"):
        load_checkpoint(tmp_path, EXPERIMENT)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_checkpoint_is_refused(share, tmp_path):
    path = tmp_path / LAST
    save_checkpoint(tmp_path, checkpoint(0.7), EXPERIMENT)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=f"{LAST} is damaged"):
        load_checkpoint(tmp_path, EXPERIMENT)


def test_a_model_that_this_version_cannot_feed_is_refused(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"no model\.json"):
        read_model_card(tmp_path)
    write_model(tmp_path, {"head_logits/bias": np.zeros(4, np.float32)}, CONFIG, "tf")
    model_card, config = read_model_card(tmp_path)
    assert model_card["framework"] == "tf" and config == CONFIG
    monkeypatch.setattr("src.training.checkpoint.PREPROCESSING", {"range": [0, 1]})
    with pytest.raises(InputError, match="another preprocessing"):
        read_model_card(tmp_path)


def change_a_byte(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def full(*_, **__):
    raise SafetensorError("I/O error: No space left on device (os error 28)")


def of_nan():
    bad = checkpoint(0.7)
    bad.weights["head_logits/bias"][2] = np.nan
    return bad


@pytest.mark.parametrize("bad", ["changed", "NaN", "missing"])
def test_where_the_last_is_bad_the_one_before_is_taken(bad, tmp_path, capsys, monkeypatch):
    save_checkpoint(tmp_path, checkpoint(0.9), EXPERIMENT)
    save_checkpoint(tmp_path, of_nan() if bad == "NaN" else checkpoint(0.7), EXPERIMENT)
    if bad == "changed":
        change_a_byte(tmp_path / LAST)
    if bad == "missing":  # killed while it was being written
        (tmp_path / LAST).unlink()
    assert load_checkpoint(tmp_path, EXPERIMENT).history.val_loss == [0.9]
    assert ("goes on from previous.safetensors" in capsys.readouterr().err) == (bad != "missing")
    with monkeypatch.context() as patch:  # the next one cannot be written either
        patch.setattr("src.xception.weight_files.save_file", full)
        with pytest.raises(InputError):
            save_checkpoint(tmp_path, checkpoint(0.5), EXPERIMENT)
    assert load_checkpoint(tmp_path, EXPERIMENT).history.val_loss == [0.9]
    (tmp_path / PREVIOUS).write_bytes(b"")
    (tmp_path / LAST).write_bytes(b"")
    with pytest.raises(InputError, match=r"previous\.safetensors is damaged.*begins again"):
        load_checkpoint(tmp_path, EXPERIMENT)


def test_a_changed_state_is_refused(tmp_path):
    """In a checkpoint each byte counts, the numbers of the schedule too."""
    save_checkpoint(tmp_path, checkpoint(0.7), EXPERIMENT)
    content = (tmp_path / LAST).read_bytes()
    assert content.count(rb'"val_loss\": [0.7]') == 1 or b"0.7]" in content
    (tmp_path / LAST).write_bytes(content.replace(b"0.7]", b"0.1]"))
    with pytest.raises(InputError, match="SHA-256 is another"):
        load_checkpoint(tmp_path, EXPERIMENT)


def test_a_checkpoint_from_before_the_checksum_is_read(tmp_path):
    save_checkpoint(tmp_path, checkpoint(0.7), EXPERIMENT)
    with safe_open(tmp_path / LAST, "np") as file:
        state = file.metadata()["state"]
    write_safetensors(tmp_path / LAST, load_arrays(tmp_path / LAST), {"state": state})
    assert load_checkpoint(tmp_path, EXPERIMENT).history.val_loss == [0.7]
    write_safetensors(tmp_path / TESTED, checkpoint().weights)
    assert read_checked(tmp_path / TESTED)[0].keys() == checkpoint().weights.keys()


@pytest.mark.parametrize("spoil", [change_a_byte, Path.unlink, lambda path: path.write_bytes(b"")])
def test_damaged_weights_to_test_are_refused_with_a_cure(spoil, tmp_path):
    write_checked(tmp_path / TESTED, checkpoint().weights, {})
    spoil(tmp_path / TESTED)
    with pytest.raises(InputError, match=r"tested\.safetensors is damaged.*the run begins again"):
        read_checked(tmp_path / TESTED)


def test_a_finished_run_keeps_no_checkpoint(tmp_path):
    for name in (LAST, PREVIOUS, TESTED):
        (tmp_path / name).touch()
    remove_checkpoints(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "file, change, named",
    [
        ("model.json", {"image_size": 299}, "image_size"),
        ("model.json", {"framework": "jax"}, "framework"),
        ("model.json", {"note": None}, "note"),
        ("model.json", {"config": []}, "no JSON object"),
        ("model.json", {"config": CONFIG.to_json() | {"bn_epsilon": 0.1}}, "config bn_epsilon"),
        ("model.json", {"calibration": {"temperature": 50.0}}, "does not say what was saved"),
        ("config.json", {"bn_epsilon": 0.1}, "config bn_epsilon"),
    ],
)
def test_a_changed_model_card_is_refused(file, change, named, tmp_path):
    write_model(tmp_path, {"head_logits/bias": np.zeros(4, np.float32)}, CONFIG, "pt")
    write_json(tmp_path / "config.json", CONFIG.to_json())
    read_model_card(tmp_path)
    write_json(tmp_path / file, read_json(tmp_path / file) | change)
    with pytest.raises(InputError, match=named):
        read_model_card(tmp_path)


def test_changed_weights_of_a_model_are_refused(tmp_path):
    write_model(tmp_path, {"head_logits/bias": np.zeros(4, np.float32)}, CONFIG, "pt")
    weights_sha256(tmp_path)
    change_a_byte(tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"not the file that was saved with model\.json"):
        weights_sha256(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has these modes")
def test_saved_weights_can_be_read_by_others(tmp_path):
    before = os.umask(0o022)  # many systems have another for their users
    try:
        write_model(tmp_path, {"head_logits/bias": np.zeros(4, np.float32)}, CONFIG, "pt")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o644}


def test_a_full_disk_is_a_sentence_and_the_last_checkpoint_stays(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, checkpoint(0.7), EXPERIMENT)
    monkeypatch.setattr("src.xception.weight_files.save_file", full)
    with pytest.raises(InputError, match=r"Cannot write .*No space left.*Free some space"):
        save_checkpoint(tmp_path, checkpoint(0.9), EXPERIMENT)
    assert load_checkpoint(tmp_path, EXPERIMENT).history.val_loss == [0.7]
