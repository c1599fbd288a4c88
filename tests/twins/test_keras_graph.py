"""The Keras graph is TensorFlow alone, so XLA compiles its training step."""

import numpy as np
import pytest
from made_weights import made_weights
from tensorflow.python.framework import config

from src.config import preset
from src.tf.feature_cache import after_block
from src.tf.model import SharedDropout, build_model, set_stage
from src.tf.optim import make_loss, make_optimizer
from src.xception.stages import HEAD

CONFIG = preset("smoke", dropout=0.5, seed=4)
rng = np.random.default_rng(0)
FEATURES = rng.random((8, 2048), np.float32)  # what the head takes: block14's, pooled
LABELS = np.eye(4, dtype=np.float32)[rng.integers(0, 4, 8)]
WEIGHTS = np.ones(8, np.float32)


def losses(model, jit_compile: bool, first_step: int = 0) -> list[float]:
    """Train the head alone for two steps, and return their losses."""
    model.get_layer("head_logits").set_weights([made_weights()["head_logits/kernel"], np.zeros(4)])
    model.compile(make_optimizer(CONFIG, model, 1e-2), make_loss(CONFIG), jit_compile=jit_compile)
    values = []
    for step in (first_step, first_step + 1):
        model.get_layer("head_dropout").set_step(step)
        logs = model.train_on_batch(FEATURES, LABELS, WEIGHTS, return_dict=True)
        assert 0 <= logs["correct"] <= 8
        values.append(float(logs["loss"]))
    return values


@pytest.fixture(scope="module")
def model():
    model = build_model(CONFIG, made_weights())
    set_stage(model, HEAD)
    return model


@pytest.fixture
def xla():
    """Let Keras compile by XLA, which it refuses once a twin asked for deterministic kernels."""
    deterministic = config.is_op_determinism_enabled()
    config.disable_op_determinism()
    yield
    if deterministic:
        config.enable_op_determinism()


@pytest.mark.filterwarnings("error:.*jit_compile")
def test_xla_takes_the_same_steps(model, xla):
    """With dropout, whose mask of each step is a variable: a mask baked in would not change."""
    tail = after_block(model, "block14")
    plain = losses(tail, jit_compile=False)
    np.testing.assert_allclose(losses(tail, jit_compile=True), plain, rtol=1e-5)
    other_masks = losses(tail, jit_compile=True, first_step=5)
    assert np.abs(np.subtract(other_masks, plain)).min() > 1e-3


def test_predict_traces_once_for_batches_of_any_size(model, monkeypatch):
    tail, call, traced = after_block(model, "block14"), SharedDropout.call, []

    def counted(layer, features, training=False):
        traced.append(features.shape)
        return call(layer, features, training)

    monkeypatch.setattr(SharedDropout, "call", counted)
    logits = tail.predict(FEATURES, batch_size=3, verbose=0)  # 3, 3 and 2 images
    fewer = tail.predict(FEATURES[:5], batch_size=4, verbose=0)
    assert len(traced) == 1
    expected = tail(FEATURES).numpy()  # a matrix product rounds by the number of rows
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(fewer, expected[:5], rtol=1e-5, atol=1e-5)
