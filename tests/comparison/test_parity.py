"""Exact twins stay at the rounding floor; every restored framework default is caught.

TensorFlow runs in processes of its own, PyTorch runs here. The exact runs and the floor, which all
faults are compared with, are made once.
"""

import contextlib
import dataclasses
import functools
import io

import numpy as np
import pytest

from src.common.errors import InputError
from src.comparison.agreement import relative_distance
from src.comparison.parity import worker
from src.comparison.parity.measure import compare_traces
from src.comparison.parity.settings import GREEN, NOT_JUDGED, RED, judge, parity_config
from src.comparison.parity.worker import (
    StepSnapshot,
    calibrated_random_weights,
    read_snapshots,
    write_snapshot,
    write_step_trace,
)
from src.comparison.process import run_twin
from src.differences import RESTORABLE

STEPS = 2
# Not 71 px: there all sides are odd, and the pools pad the same way in both frameworks.
SHORT = dict(dtype="float64", steps=STEPS, image_size=73, batch_size=4)
# Everything that a difference could change is in use, and every block trains. The second step
# belongs to the second epoch: between the two lies a validation, with its statistics.
FULL = parity_config(
    **SHORT,
    finetune_epochs=2,
    hyper="everyday",  # for `float32_hyper`; all the others show with any values
    recipe="deep",
    optimizer="adam",
    warmup_epochs=1.5,
    weight_decay=0.004,
    clip_norm=0.1,
)
# A changing rate, and nothing that undoes the loss's scale, as Adam and active clipping do. Only
# the head trains, which is enough for an update rule, and quick; all else is frozen.
SGD = parity_config(
    **SHORT, optimizer="sgd", head_epochs=1, finetune_epochs=0, unfreeze_from="block14",
    schedule="cosine", balance="class_weights",
)  # fmt: skip
SGD_ROWS = ("bn_frozen_mode", "class_weights", "momentum_schedule")
KERAS_ROWS = ("resize",)  # those that change TensorFlow, not PyTorch


class EnoughError(Exception):
    """Stops a faulty run after its last step: nothing looks at its validation and its end."""


def started(config):
    path = io.BytesIO()
    calibrated_random_weights("pt", FULL, None, path)
    return dataclasses.replace(config, init=path.getvalue().decode())


@functools.cache
def tf_run(config) -> list[StepSnapshot]:
    written = run_twin(write_step_trace, "tf", started(config), perturbed=False)
    return list(read_snapshots(io.BytesIO(written)))


def pt_run(config, perturbed=False, to_the_end=False) -> list[StepSnapshot]:
    snapshots = []

    def keep(_, snapshot):
        snapshots.append(snapshot)
        if snapshot.step == STEPS and not to_the_end:
            raise EnoughError

    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(EnoughError):
        patch.setattr(worker, "write_snapshot", keep)
        # A checkpoint is 668 MB, and nothing reads it.
        patch.setattr("src.training.run.TrainingRun._save", lambda *_: None)
        write_step_trace("pt", started(config), None, None, perturbed=perturbed)
    return snapshots


@functools.cache  # faulty runs are used once, and are 334 MB each
def exact_pt_run(config) -> list[StepSnapshot]:
    return pt_run(config, to_the_end=True)


def compared(*runs) -> list[dict]:
    logits = StepSnapshot(0, 0.0, {"logits": np.ones((1, 4))})
    return compare_traces(*([*run[:STEPS], logits] for run in runs))["steps"]


@functools.cache
def floor_of(config) -> dict:
    """Return what compares the exact PyTorch with itself, one epsilon away."""
    exact = exact_pt_run(config)
    return compare_traces(exact, exact, pt_run(config, perturbed=True, to_the_end=True))


def verdict_of(config, tf_rows=(), pt_rows=()) -> dict:
    """Judge one twin with defaults restored against the other, exact one."""
    tf = tf_run(dataclasses.replace(config, restore_defaults=tf_rows))
    faulty = dataclasses.replace(config, restore_defaults=pt_rows)
    pt = pt_run(faulty) if pt_rows else exact_pt_run(config)
    steps = compared(tf, pt, pt)
    for step, floor in zip(steps, floor_of(config)["steps"], strict=True):
        step |= {"floor": floor["floor"], "bn_floor": floor["bn_floor"]}
    return judge(steps, config)


@pytest.fixture(scope="module", autouse=True)
def forget():
    """Free the snapshots when the tests of this file are over."""
    yield
    for function in (tf_run, exact_pt_run, floor_of):
        function.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize("config", [FULL, SGD], ids=["adam", "sgd"])
def test_exact_twins_are_at_the_floor(config):
    verdict = verdict_of(config)
    assert verdict["verdict"] == GREEN, verdict["reason"]
    # The logits are of the tested weights: averages, with their BatchNorm statistics.
    tf, pt = (run(config)[-1].arrays["logits"] for run in (tf_run, exact_pt_run))
    assert relative_distance(tf, pt) <= 10 * floor_of(config)["eval_logits_floor"]


@pytest.mark.slow
def test_statistics_measured_by_one_twin_alone_are_caught(monkeypatch):
    monkeypatch.setattr("src.pt.train.measure_statistics", lambda model, loader: None)
    steps = compared(tf_run(FULL), pt_run(FULL), exact_pt_run(FULL))
    assert steps[0]["bn_gap"] < 1e-12 < 1e-3 < steps[1]["bn_gap"]  # validation comes between them


@pytest.mark.slow
def test_a_run_ends_with_the_logits_of_its_model():
    *steps, last = tf_run(SGD)
    assert [snapshot.step for snapshot in steps] == [1, 2]
    assert last.arrays["logits"].shape == (8, 4) and last.arrays["logits"].dtype == np.float64


@pytest.mark.slow
@pytest.mark.parametrize("row", sorted(set(RESTORABLE) - set(SGD_ROWS + KERAS_ROWS)))
def test_a_default_restored_in_pytorch_is_caught(row):
    verdict = verdict_of(FULL, pt_rows=(row,))
    assert verdict["verdict"] == RED, verdict["reason"]


@pytest.mark.slow
@pytest.mark.parametrize("row", SGD_ROWS)
def test_a_default_that_needs_plain_sgd_or_frozen_blocks_is_caught(row):
    verdict = verdict_of(SGD, pt_rows=(row,))
    assert verdict["verdict"] == RED, verdict["reason"]


@pytest.mark.slow
@pytest.mark.parametrize("row", KERAS_ROWS)
def test_a_default_restored_in_keras_is_caught(row):
    verdict = verdict_of(SGD, tf_rows=(row,))
    assert verdict["verdict"] == RED, verdict["reason"]


def test_keras_passes_numbers_through_float32():
    """The reproduction of the difference `float32_hyper`: the dtype is float64."""
    import keras

    assert float(keras.ops.cast(0.9, "float64")) == 0.8999999761581421 == float(np.float32(0.9))
    assert float(keras.ops.cast(0.875, "float64")) == 0.875  # why dyadic values prove more


def snapshot(step, value, loss=1.0):
    return StepSnapshot(step, loss, {"trainable": np.full(3, value), "moving": np.ones(2)})


def test_snapshots_survive_a_stream_that_ends_within_one():
    stream = io.BytesIO()
    for number in (1, 2, 3):
        write_snapshot(stream, snapshot(number, number / 3))
    whole = list(read_snapshots(io.BytesIO(stream.getvalue())))
    assert [(each.step, each.loss) for each in whole] == [(1, 1.0), (2, 1.0), (3, 1.0)]
    assert whole[1].arrays["trainable"].tolist() == [2 / 3] * 3
    for missing in (1, 20):
        truncated = read_snapshots(io.BytesIO(stream.getvalue()[:-missing]))
        assert [each.step for each in truncated] == [1, 2]


def test_runs_of_different_length_or_without_an_end_are_errors():
    one = [snapshot(1, 1.0)]
    with pytest.raises(InputError, match="before its end"):
        compare_traces(one, one, one)
    with pytest.raises(InputError, match="before its end, after step 1"):
        compare_traces([*one, snapshot(2, 1.0)], one, one)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_diverged_runs_are_errors(bad):
    with pytest.raises(InputError, match="diverged"):
        compare_traces([snapshot(1, bad)], [snapshot(1, 1.0)], [snapshot(1, 1.0)])


def test_distance_is_relative_to_the_reference():
    assert relative_distance(np.array([3.0, 4.5]), np.array([3.0, 4.0])) == pytest.approx(0.1)
    assert relative_distance(np.float32([1, 0]), np.float32([1, 1e-30])) == pytest.approx(1e-30)


def row(step=2, gap=1e-15, bn_gap=1e-15):
    return {"step": step, "gap": gap, "bn_gap": bn_gap, "floor": 1e-15, "bn_floor": 1e-15}


@pytest.mark.parametrize(
    "dtype, steps, expected",
    [
        ("float64", [row(), row(gap=1e-14, bn_gap=2e-14)], GREEN),
        ("float64", [row(gap=1.01e-14), row()], RED),
        ("float64", [row(bn_gap=2.01e-14)], RED),
        ("float64", [row() | {"gap": 1.1e-12, "floor": 1e-12}], RED),
        ("float32", [row(step=1, gap=1.0), row(gap=3e-15)], GREEN),
        ("float32", [row(), row(gap=3.01e-15)], RED),
        ("bfloat16", [row(gap=1.0)], NOT_JUDGED),
        ("float64", [], NOT_JUDGED),
    ],
)
def test_verdicts(dtype, steps, expected):
    assert judge(steps, parity_config(dtype=dtype))["verdict"] == expected


def test_why_a_run_is_not_judged():
    too_short = judge([row(step=1, gap=1.0)], parity_config(dtype="float32"))
    assert too_short["verdict"] == NOT_JUDGED
    assert too_short["reason"] == "the first step that counts is step 2."
    assert "no limit is set" in judge([row()], parity_config(dtype="bfloat16"))["reason"]
