"""Exact twins stay at the rounding floor; every ledger row put back is caught.

TensorFlow runs in processes of its own, once for all tests; PyTorch runs here.
"""

import dataclasses
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from src.common.errors import InputError
from src.common.files import write_json
from src.comparison.features import relative_distance
from src.comparison.parity.measure import compare_traces
from src.comparison.parity.settings import GREEN, NOT_JUDGED, RED, judge, parity_config
from src.comparison.parity.trace import StepSnapshot, read_frames, write_frame
from src.comparison.parity.worker import made_weights, trace_run
from src.differences import RESTORABLE

ROOT = Path(__file__).parents[2]

# Not 71 px: there all sides are odd, and the pools pad the same way in both frameworks.
SHORT = dict(dtype="float64", steps=2, image_size=73, batch_size=4)
# Everything that a row could touch is in play. Block1 is frozen, for `bn_frozen_mode`.
FULL = parity_config(
    **SHORT,
    hyper="everyday",  # for `float32_hyper`; all the others show with any values
    optimizer="adam",
    unfreeze_from="block2",
    weight_decay=0.004,
    clip_norm=0.1,
    label_smoothing=0.1,
    dropout=0.3,
)
# A changing rate, and nothing that undoes the loss's scale, as Adam and active clipping do. Only
# the head trains, which is enough for an update rule, and quick.
SGD = parity_config(
    **SHORT, optimizer="sgd", head_epochs=1, finetune_epochs=0, unfreeze_from="block14",
    schedule="cosine", balance="class_weights",
)  # fmt: skip
SGD_ROWS = ("class_weights", "momentum_schedule")
KERAS_ROWS = ("resize",)  # those that move TensorFlow, not PyTorch


class Runs:
    """Makes runs, TensorFlow's and the floor's only once each."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.weights = str(made_weights(FULL, None))
        self.floors = {}

    def tf(self, config):
        """Return the frames of a TensorFlow run, in a process of its own, kept in a file."""
        path = self.folder / f"{hash(config)}.trace"
        if not path.exists():
            written = path.with_suffix(".json")
            write_json(written, self.started(config).to_json())
            command = [sys.executable, "-m", "src.comparison.parity.worker", "tf", "--config"]
            with path.open("wb") as output:
                subprocess.run([*command, written], stdout=output, cwd=ROOT, check=True)
        with path.open("rb") as file:
            yield from read_frames(file)

    def pt(self, config, perturbed=False):
        frames = []
        trace_run("pt", self.started(config), None, frames.append, perturbed=perturbed)
        return frames

    def started(self, config):
        return dataclasses.replace(config, init=self.weights)

    def floor(self, config):
        """Return the steps that compare the exact PyTorch with itself, one epsilon away."""
        if config not in self.floors:
            exact, moved = self.pt(config), self.pt(config, perturbed=True)
            self.floors[config] = compare_traces(exact, exact, moved)["steps"]
        return self.floors[config]

    def verdict(self, config, tf_rows=(), pt_rows=()):
        """Judge one twin with rows put back against the other, exact one."""
        tf_run = self.tf(dataclasses.replace(config, restore_defaults=tf_rows))
        pt_run = self.pt(dataclasses.replace(config, restore_defaults=pt_rows))
        steps = compare_traces(tf_run, pt_run, pt_run)["steps"]
        for step, floor in zip(steps, self.floor(config), strict=True):
            step |= {"floor": floor["floor"], "bn_floor": floor["bn_floor"]}
        return judge(steps, config)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return Runs(tmp_path_factory.mktemp("traces"))


@pytest.mark.parametrize("config", [FULL, SGD], ids=["adam", "sgd"])
def test_exact_twins_are_at_the_floor(runs, config):
    verdict = runs.verdict(config)
    assert verdict["verdict"] == GREEN, verdict["reason"]


@pytest.mark.parametrize("row", sorted(set(RESTORABLE) - set(SGD_ROWS + KERAS_ROWS)))
def test_a_row_put_back_in_pytorch_is_caught(runs, row):
    verdict = runs.verdict(FULL, pt_rows=(row,))
    assert verdict["verdict"] == RED, verdict["reason"]


@pytest.mark.parametrize("row", SGD_ROWS)
def test_a_row_that_needs_plain_sgd_is_caught(runs, row):
    verdict = runs.verdict(SGD, pt_rows=(row,))
    assert verdict["verdict"] == RED, verdict["reason"]


@pytest.mark.parametrize("row", KERAS_ROWS)
def test_a_row_put_back_in_keras_is_caught(runs, row):
    verdict = runs.verdict(SGD, tf_rows=(row,))
    assert verdict["verdict"] == RED, verdict["reason"]


def test_keras_passes_numbers_through_float32():
    """The reproduction of the row `float32_hyper`: float64 was asked for."""
    import keras

    assert float(keras.ops.cast(0.9, "float64")) == 0.8999999761581421 == float(np.float32(0.9))
    assert float(keras.ops.cast(0.875, "float64")) == 0.875  # why dyadic values prove more


def frame(step, value, loss=1.0):
    return StepSnapshot(step, loss, {"trainable": np.full(3, value), "moving": np.ones(2)})


def test_frames_survive_a_stream():
    stream = io.BytesIO()
    for number in (1, 2):
        write_frame(stream, frame(number, number / 3))
    stream.seek(0)
    for number, read in enumerate(read_frames(stream), 1):
        assert (read.step, read.loss) == (number, 1.0)
        assert read.arrays["trainable"].tolist() == [number / 3] * 3


def test_a_torn_stream_is_an_error():
    stream = io.BytesIO()
    write_frame(stream, frame(1, 1.0))
    with pytest.raises(InputError, match="middle of a step"):
        list(read_frames(io.BytesIO(stream.getvalue()[:-1])))


def test_runs_of_unlike_length_or_without_an_end_are_errors():
    one = [frame(1, 1.0)]
    with pytest.raises(InputError, match="before its end"):
        compare_traces(one, one, one)
    with pytest.raises(InputError, match="after step 1"):
        compare_traces([*one, frame(2, 1.0)], one, one)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_diverged_runs_are_errors(bad):
    with pytest.raises(InputError, match="diverged"):
        compare_traces([frame(1, bad)], [frame(1, 1.0)], [frame(1, 1.0)])


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
        ("float32", [row(step=1, gap=1.0), row(gap=2e-15)], GREEN),
        ("float32", [row(), row(gap=2.01e-15)], RED),
        ("bfloat16", [row(gap=1.0)], NOT_JUDGED),
        ("float64", [], NOT_JUDGED),
    ],
)
def test_verdicts(dtype, steps, expected):
    assert judge(steps, parity_config(dtype=dtype))["verdict"] == expected
