"""A run goes on only with the images, the parts, the framework and the weights it began with."""

import dataclasses
import math
import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest

from src.common.errors import InputError
from src.config import preset
from src.training.run import TrainingRun

CONFIG = preset("smoke", head_epochs=1, finetune_epochs=1)


class Batches:
    images_per_epoch, sizes = 8, [8]

    paths = np.array([f"glioma/{number}.png" for number in range(8)])

    def __len__(self):
        return 1

    def sample_indices(self, _epoch, _index):
        return np.arange(8)[::-1], None, None


def training_run(folder, framework="pt", images="a", parts="b", start=0.0, config=CONFIG):
    dataset = SimpleNamespace(
        catalog=SimpleNamespace(fingerprint=images),
        parts_fingerprint=lambda: parts,
        batches=lambda part, training: Batches(),
    )
    weights = {"head_logits/bias": np.full(4, start, np.float32)}
    return TrainingRun(framework, config, folder, dataset, lambda: weights)


@pytest.mark.parametrize(
    "changed, named",
    [
        ({"images": "c"}, "images"),
        ({"parts": "c"}, "images of each part"),
        ({"framework": "tf"}, "framework"),
        ({"start": np.spacing(np.float32(1))}, r"starting weights \(or --perturbed\)"),
    ],
)
def test_what_differs_is_named_and_refused(changed, named, tmp_path):
    run = training_run(tmp_path)
    assert next(run.stages()) == 1
    run.begin_stage(dict, None)
    run.begin_epoch()
    run.end_step(1.0, 4)
    run.end_training_pass()
    run.end_epoch(1.0, 0.5)
    run.save()
    assert training_run(tmp_path).schedule.epoch == 1
    with pytest.raises(InputError, match=f"Different: {named}. Choose another --out"):
        training_run(tmp_path, **changed)


def an_epoch(run, loss=1.0, val_loss=1.0):
    run.begin_epoch()
    run.end_step(loss, 4)
    run.end_training_pass()
    run.end_epoch(val_loss, 0.5)
    run.save()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("what", ["loss", "val_loss"])
def test_a_run_stops_at_the_first_loss_that_is_not_finite(what, bad, tmp_path):
    config = dataclasses.replace(CONFIG, head_epochs=2)
    run = training_run(tmp_path, config=config)
    next(run.stages())
    run.begin_stage(dict, None)
    an_epoch(run)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    said = f"is {bad} at step 1 of 1 in stage 1, epoch 2, at the learning rate .*"
    said += "--head-learning-rate, or --clip-norm 1.*glioma/7.png, glioma/6.png"
    with pytest.raises(InputError, match=said):
        an_epoch(run, **{what: bad})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert training_run(tmp_path, config=config).schedule.epoch == 1


def test_weights_that_are_not_finite_are_not_saved_within_an_epoch(tmp_path, monkeypatch):
    """Their loss was finite: the update came after it."""
    monkeypatch.setattr("src.training.run.SAVE_EVERY", -1.0)
    monkeypatch.setattr(Batches, "__len__", lambda _: 2)
    run = training_run(tmp_path, start=math.nan)
    next(run.stages())
    run.begin_stage(dict, None)
    run.begin_epoch()
    with pytest.raises(InputError, match="the weights are not finite at step 1 of 2"):
        run.end_step(1.0, 4)
    assert not list(tmp_path.iterdir())


def test_what_a_killed_write_left_is_swept(tmp_path):
    for name in (".tmpA1b2C3", ".last.0a1b2c3d.tmp.safetensors"):  # safetensors' and ours
        (tmp_path / name).touch()
    training_run(tmp_path)
    assert not list(tmp_path.iterdir())


class ThreeSteps(Batches):
    images_per_epoch, sizes = 24, [8, 8, 8]

    def __len__(self):
        return 3


def a_stop(run, number):
    os.kill(os.getpid(), number)
    run.end_step(1.0, 4)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_stop_waits_for_the_step_and_saves_it(number, tmp_path, monkeypatch):
    monkeypatch.setitem(training_run.__globals__, "Batches", ThreeSteps)
    before = signal.getsignal(number)
    run = training_run(tmp_path)
    next(run.stages())
    run.begin_stage(dict, None)
    with pytest.raises(KeyboardInterrupt), run.stop_signals:
        run.begin_epoch()
        run.end_step(1.0, 4)
        a_stop(run, number)
    assert signal.getsignal(number) == before
    again = training_run(tmp_path)
    assert again.steps_done == 2
    # In the last step the signal waits for the end of the epoch.
    next(again.stages())
    again.begin_stage(dict, None)
    with pytest.raises(KeyboardInterrupt), again.stop_signals:
        again.begin_epoch()
        a_stop(again, number)
        again.end_training_pass()
        again.end_epoch(1.0, 0.5)
        again.save()
    assert training_run(tmp_path).schedule.epoch == 1


def test_outside_of_a_training_pass_and_when_repeated_a_signal_stops_at_once(tmp_path):
    run = training_run(tmp_path)
    with pytest.raises(KeyboardInterrupt), run.stop_signals:
        os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), run.stop_signals as signals:
        signals.waits, signals.asked = True, signals.asked - 3.0
        os.kill(os.getpid(), signal.SIGTERM)
