"""Training steps read nothing off the device: a GPU would wait for Python at each of them."""

import importlib
import math
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import torch
from keras.src import backend as keras_backend
from made_weights import quick_weights
from tensorflow.python.framework import ops
from torch.utils._python_dispatch import TorchDispatchMode

from src.common.clock import WARM_UP
from src.config import preset
from src.experiment import load_twin
from src.training.run import TrainingRun
from src.xception.stages import HEAD

CONFIG = preset(
    "smoke", init="made", head_epochs=1, finetune_epochs=1, optimizer="adam", weight_decay=0.1,
    clip_norm=1.0, ema_decay=0.5, layer_decay=0.8, label_smoothing=0.1, dropout=0.5,
)  # fmt: skip
STEPS = 6


class Features:
    """Batches of pooled features, as the feature cache makes them."""

    sizes, images_per_epoch, class_count = [8] * STEPS, 8 * STEPS, 4

    def __len__(self):
        return STEPS

    def batch(self, _epoch, index):
        features = np.random.default_rng(index).random((8, 2048), np.float32)
        return features, np.arange(8) % 4, np.ones(8, np.float32)


def train(framework: str, folder) -> TrainingRun:
    """Train the head for an epoch of `STEPS` steps."""
    twin = load_twin(framework)
    twin.runtime.configure(CONFIG)
    model = twin.model.build_model(CONFIG, quick_weights())
    twin.model.set_stage(model, HEAD)
    rest = twin.feature_cache.after_block(model, "block14")
    dataset = SimpleNamespace(
        catalog=SimpleNamespace(fingerprint="images"),
        parts_fingerprint=lambda: "parts",
        batches=lambda _part, training: Features(),
    )
    run = TrainingRun(framework, CONFIG, folder, dataset, dict)
    assert next(run.stages()) == HEAD
    run.begin_stage(dict, None)
    features, statistics = (twin.data.make_loader(Features()) for _ in range(2))
    optim = importlib.import_module(f"src.{framework}.optim")
    optimizer, loss = optim.make_optimizer(CONFIG, model, 1e-3), optim.make_loss(CONFIG)
    if framework == "tf":
        rest.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)
        results = twin.train._leave_unread(rest)
        reporter = twin.train._Reporter(run, features, statistics, results)
        rest.fit(features, validation_data=statistics, callbacks=[reporter], verbose=0)
    else:
        scaler = optim.make_scaler(CONFIG, model.device)
        twin.train._train_epoch(rest, features, loss, optimizer, scaler, run)
    return run


@pytest.fixture
def reads(monkeypatch):
    """Return a list to which everything that is read off a device adds its name."""
    seen = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if function is torch.ops.aten._local_scalar_dense.default:
                seen.append(function.name())
            return function(*args, **kwargs or {})

    def counting(read):
        def counted(*arguments, **options):
            seen.append(read.__name__)
            return read(*arguments, **options)

        return counted

    for read in (torch.Tensor.cpu, torch.Tensor.tolist):  # they dispatch nothing on a CPU's tensor
        monkeypatch.setattr(torch.Tensor, read.__name__, counting(read))

    numpy = ops._EagerTensorBase._numpy

    def read(tensor):
        if tensor.dtype != tf.bool:  # whether there is another batch
            seen.append(tensor.dtype.name)
        return numpy(tensor)

    to_numpy = keras_backend.convert_to_numpy  # what Keras reads logs with, past `_numpy`

    def converted(tensor):
        seen.append("convert_to_numpy")
        return to_numpy(tensor)

    monkeypatch.setattr(ops._EagerTensorBase, "_numpy", read)
    monkeypatch.setattr(keras_backend, "convert_to_numpy", converted)
    with Watch():
        yield seen


@pytest.mark.parametrize("framework", ["tf", "pt"])
def test_a_step_reads_nothing(framework, reads, tmp_path, monkeypatch):
    """But when the clock is due: here at its first steps alone, however slow the machine is."""
    monkeypatch.setattr("src.common.clock.TURN", math.inf)
    end_step, ends = TrainingRun.end_step, []

    def counted(run, loss, correct):
        end_step(run, loss, correct)
        ends.append(len(reads))

    monkeypatch.setattr(TrainingRun, "end_step", counted)
    run = train(framework, tmp_path)
    assert np.diff(ends)[WARM_UP - 1 :].tolist() == [0] * (STEPS - WARM_UP)
    assert len(reads) > ends[-1], "nothing was read at the end of the epoch"
    assert len(run.history.step_loss) == STEPS and len(set(run.history.step_loss)) == STEPS
