"""With the feature cache both twins train as without it, and one serves the other."""

import dataclasses
import shutil
from functools import cache

import numpy as np
import pytest

from src import experiment
from src.common.errors import InputError
from src.common.files import cache_dir
from src.common.hardware import missing_arithmetic
from src.config import CLASS_NAMES, preset
from src.data.dataset import open_dataset
from src.experiment import load_twin
from src.feature_cache.plan import cached_block
from src.training.run import TrainingRun
from src.xception.stages import FINETUNE, HEAD

# 96 px and whole batches of 16: at 71 px, block13's 3 x 3 px, PyTorch's convolutions round by an
# image's place in the batch, and the losses part by 1e-6 relative.
BOTH = pytest.mark.parametrize("framework", ["tf", "pt"])
SMOKE = preset(
    "smoke",
    image_size=96,
    batch_size=16,
    max_images_per_epoch=32,
    feature_cache=True,
    augment="none",
)


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """Keep outputs in an empty folder of the test's own: another process reads the shared one."""
    folder = f"feature_cache-{tmp_path.name}"
    monkeypatch.setattr("src.feature_cache.cache._FOLDER", folder)
    return cache_dir() / folder


@cache
def images(size: int = 96):
    return open_dataset(preset("smoke", image_size=size, batch_size=16)).batches("test").batch(0, 0)


def built(framework, config, weights=None):
    twin = load_twin(framework)
    twin.runtime.configure(config)
    return twin, twin.model.build_model(config, weights)


def logits(twin, model, inputs) -> np.ndarray:
    """Predict one batch as `predict_logits` would."""

    class One:
        images_per_epoch, sizes, class_count = len(inputs), [len(inputs)], len(CLASS_NAMES)

        def __len__(self):
            return 1

        def batch(self, epoch, index):
            return inputs, np.zeros(len(inputs), np.int64), np.ones(len(inputs), np.float32)

    return twin.predict.predict_logits(model, twin.data.make_loader(One()))


@pytest.mark.slow
@BOTH
def test_the_two_halves_make_the_whole(framework, backbone):
    config = dataclasses.replace(SMOKE, init=backbone, hidden_units=8)
    twin, model = built(framework, config)
    whole = logits(twin, model, images()[0])
    for block in ("block1", "block4", "block13", "block14"):
        outputs = twin.feature_cache.block_function(model, block)(images()[0])
        rest = twin.feature_cache.after_block(model, block)
        np.testing.assert_array_equal(logits(twin, rest, outputs), whole, err_msg=block)


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize("precision", ["bfloat16", "float64"])
def test_the_halves_fit_in_other_precisions(framework, backbone, precision):
    config = dataclasses.replace(SMOKE, init=backbone, precision=precision)
    if missing_arithmetic(precision, load_twin(framework).runtime.gpu_name()):
        with pytest.raises(InputError, match="lacks the flag"):
            built(framework, config)
        return
    twin, model = built(framework, config)
    whole = logits(twin, model, images()[0])
    for block in ("block12", "block14"):
        outputs = twin.feature_cache.block_function(model, block)(images()[0])
        assert outputs.dtype == ("float64" if precision == "float64" else "float32")
        rest = twin.feature_cache.after_block(model, block)
        np.testing.assert_allclose(logits(twin, rest, outputs), whole, rtol=1e-7, atol=1e-6)


def whole_batches(config):
    """The phantom set, cut so that every batch is full: only those round alike."""
    dataset = open_dataset(config)
    rows = {part: dataset.parts[part][:48] for part in ("train", "val", "test")}
    rows["val"], rows["test"] = rows["val"][:16], rows["test"][:32]
    return dataset.with_parts(rows)


def fitted(framework, config, folder, cached=True, saves=False):
    """Train; return history and weights. Uncached runs see the same views of the images."""
    with pytest.MonkeyPatch.context() as patch:
        if not saves:
            patch.setattr("src.training.run.TrainingRun._save", lambda *_: None)
        if not cached:
            patch.setattr("src.feature_cache.plan.cached_block", lambda *_: None)
        twin, model = built(framework, config)
        history = twin.train.fit(model, whole_batches(config), config, folder)
    return history, twin.model.get_weights(model)


def same_bits(one, two):
    (history, weights), (other_history, other_weights) = one, two
    for curve in ("loss", "val_loss", "accuracy", "val_accuracy", "step_loss"):
        assert getattr(history, curve) == getattr(other_history, curve), curve
    for name, array in weights.items():
        np.testing.assert_array_equal(array, other_weights[name], err_msg=name)


def same_steps(framework, one, two):
    """Require TensorFlow's runs equal to the bit, PyTorch's to rounding.

    PyTorch's convolutions round by an image's place in the batch and by what ran in the process
    before: alone these tests find equal bits, after others losses up to 1e-6 nats apart, whether
    they are 0.6 or 0.005. (Copying the arrays into memory that PyTorch aligned changes nothing.)
    """
    if framework == "tf":
        return same_bits(one, two)
    for curve in ("loss", "val_loss", "step_loss"):
        values, others = (getattr(history, curve) for history, _ in (one, two))
        assert np.isfinite(values).all()
        np.testing.assert_allclose(values, others, rtol=0, atol=2e-6, err_msg=curve)


@pytest.mark.slow
@BOTH
def test_the_head_trains_as_without_the_cache_and_a_second_run_computes_nothing(
    framework, backbone, tmp_path, empty_cache, monkeypatch
):
    config = dataclasses.replace(SMOKE, init=backbone, head_epochs=2, finetune_epochs=0)
    plain = fitted(framework, config, tmp_path / "plain", cached=False)
    cached = fitted(framework, config, tmp_path / "cached")
    described = cached[0].feature_cache["1"]
    assert not plain[0].feature_cache
    assert described["block"] == "block14" and described["computed"] == 64
    same_steps(framework, plain, cached)

    def never(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr(f"src.{framework}.feature_cache.block_function", lambda *_: never)
    again = fitted(framework, config, tmp_path / "again")
    assert again[0].feature_cache["1"]["computed"] == 0
    same_bits(cached, again)


@pytest.mark.slow
@BOTH
def test_augmented_blocks_train_as_without_the_cache(framework, backbone, tmp_path, empty_cache):
    config = dataclasses.replace(
        SMOKE, init=backbone, reinit=("block14",), augment="standard", cached_views=2,
        finetune_epochs=2, test_size=112,
    )  # fmt: skip
    plain = fitted(framework, config, tmp_path / "plain", cached=False)
    cached = fitted(framework, config, tmp_path / "cached")
    assert [cached[0].feature_cache[stage]["block"] for stage in "12"] == ["block13", "block12"]
    same_steps(framework, plain, cached)


@pytest.mark.slow
def test_one_twins_cache_serves_the_other(backbone, tmp_path, empty_cache):
    config = dataclasses.replace(SMOKE, init=backbone, finetune_epochs=0)
    by_pytorch = fitted("pt", config, tmp_path / "pt")[0]
    assert by_pytorch.feature_cache["1"]["made_by"] == {"pt": 64}
    served = fitted("tf", config, tmp_path / "served")[0]
    assert served.feature_cache["1"]["made_by"] == {"pt": 64}
    assert served.feature_cache["1"]["computed"] == 0
    shutil.rmtree(empty_cache)
    alone = fitted("tf", config, tmp_path / "alone")[0]
    assert alone.feature_cache["1"]["made_by"] == {"tf": 64}
    # The twins differ by rounding as they train, from whichever outputs they began.
    np.testing.assert_allclose(served.step_loss, alone.step_loss, rtol=1e-4)
    np.testing.assert_allclose(served.step_loss, by_pytorch.step_loss, rtol=1e-4)


@pytest.mark.slow
@BOTH
def test_what_was_trained_on_kept_outputs_is_scored_without_them(
    framework, backbone, tmp_path, empty_cache, monkeypatch
):
    """Whole forward passes give the validation loss that training had from kept outputs."""

    def kept(*_):
        raise AssertionError("kept outputs were read")

    monkeypatch.setattr("src.experiment.open_dataset", lambda config, *_: whole_batches(config))
    config = dataclasses.replace(SMOKE, init=backbone, max_images_per_epoch=16, finetune_epochs=0)
    record = experiment.train(framework, config, tmp_path)
    assert record["feature_cache"]["1"]["block"] == "block14"
    monkeypatch.setattr(f"src.{framework}.feature_cache.block_function", kept)
    monkeypatch.setattr("src.feature_cache.cache.CachedBatches.batch", kept)
    scored = experiment.evaluate(tmp_path, part="val")["metrics"]["val"]
    np.testing.assert_allclose(scored["log_loss"], record["history"]["val_loss"][-1], rtol=1e-5)
    assert scored["accuracy"] == record["history"]["val_accuracy"][-1]


@pytest.mark.slow
def test_a_resumed_run_keeps_account_of_what_was_computed(
    backbone, tmp_path, empty_cache, monkeypatch
):
    config = dataclasses.replace(SMOKE, init=backbone, head_epochs=2, finetune_epochs=0)
    save = TrainingRun.save

    def stop(self):
        save(self)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(TrainingRun, "save", stop)
        fitted("pt", config, tmp_path / "broken", saves=True)
    resumed = fitted("pt", config, tmp_path / "broken", saves=True)
    assert resumed[0].feature_cache["1"]["computed"] == 64
    spent = resumed[0].feature_cache["1"]["seconds"] + resumed[0].epoch_seconds[0]
    assert resumed[0].earlier_seconds > spent
    whole = fitted("pt", config, tmp_path / "whole")
    assert whole[0].earlier_seconds == 0 and whole[0].feature_cache["1"]["computed"] == 0
    same_bits(whole, resumed)


def test_the_stock_arm_of_pytorch_goes_on_without():
    config = dataclasses.replace(
        SMOKE, restore_defaults=("bn_frozen_mode",), reinit=("block14",), init="a"
    )
    for framework, expected in (("tf", "block13"), ("pt", None)):
        assert cached_block(config, HEAD, framework) == expected
        assert cached_block(config, FINETUNE, framework) == ("block12" if expected else None)
