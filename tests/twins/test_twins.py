"""One body of tests for both frameworks."""

import dataclasses
import subprocess
import sys
from functools import cache, lru_cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from made_weights import made_weights
from scipy.special import log_softmax

from src.common.errors import InputError
from src.common.hardware import missing_arithmetic
from src.comparison.agreement import relative_distance
from src.config import preset
from src.data.dataset import open_dataset
from src.experiment import load_twin
from src.serving.backends import ImageBatches
from src.training.checkpoint import LAST
from src.xception.stages import FINETUNE, HEAD, dropout_mask, trainable_layers
from src.xception.weights import initial_weights

ROOT = Path(__file__).parents[2]
BOTH = pytest.mark.parametrize("framework", ["tf", "pt"])
SMOKE = preset("smoke")


def loaded(backbone, **fields):
    """Return a smoke config that starts from the made file, block14 redrawn."""
    return preset("smoke", init=backbone, reinit=["block14"], **fields)


@cache
def batch(training: bool = False):
    return open_dataset(SMOKE).batches("train", training=training).batch(0, 0)


# What a built network depends on; all else of a config belongs to weights or to training.
BUILT = ("precision", "dropout", "hidden_units", "seed", "image_size", "batch_size")


@lru_cache(maxsize=8)
def network(framework: str, *values):
    """Return a network built once for several tests; each sets all its weights."""
    return load_twin(framework).model.build_model(preset("smoke", **dict(zip(BUILT, values))))


class Twin:
    """What the tests do to a model, in the words of each framework."""

    def __init__(self, framework: str, config, weights=None):
        self.config = config
        self.modules = load_twin(framework)
        self.modules.runtime.configure(config)
        self.model = network(framework, *(getattr(config, name) for name in BUILT))
        self.model.config = config
        self.modules.model.set_weights(self.model, weights or initial_weights(config))
        self.is_tf = framework == "tf"
        for layer in self.modules.model.named_layers(self.model).values():
            if self.is_tf:
                layer.trainable = True
            else:
                layer.requires_grad_(True).zero_grad()
        if self.is_tf:
            self.model.get_layer("head_dropout").set_step(0)
        else:
            self.model.eval().head.dropout.step = 0

    def stage(self, stage):
        self.modules.model.set_stage(self.model, stage)
        return self

    def weights(self):
        return self.modules.model.get_weights(self.model)

    def logits(self, images, training=False):
        if self.is_tf:
            return self.model(images, training=training).numpy()
        import torch

        self.model.train(training)
        return self.model(torch.from_numpy(images).permute(0, 3, 1, 2)).detach().numpy()

    def trainable(self) -> dict[str, int]:
        """Return how many numbers train, and how many of them are BatchNorm's."""
        layers = self.modules.model.named_layers(self.model)
        sizes = {}
        for name, layer in layers.items():
            if self.is_tf:
                size = sum(int(np.prod(w.shape)) for w in layer.trainable_weights)
            else:
                size = sum(p.numel() for p in layer.parameters() if p.requires_grad)
            if size:
                sizes[name] = size
        return sizes

    def step_of_ones(self, rate: float) -> None:
        """Take a step of the config's optimizer where every gradient is 1."""
        if self.is_tf:
            import tensorflow as tf

            from src.tf.optim import make_optimizer

            variables = self.model.trainable_variables
            optimizer = make_optimizer(self.config, self.model, rate)
            optimizer.apply([tf.ones(variable.shape) for variable in variables], variables)
            return
        import torch

        from src.pt.optim import decay_kernels, make_optimizer

        optimizer = make_optimizer(self.config, self.model, rate)
        for parameter in self.model.parameters():
            parameter.grad = torch.ones_like(parameter)
        decay_kernels(optimizer, self.config)
        optimizer.step()

    def gradients(self, images, labels) -> list[np.ndarray]:
        if self.is_tf:
            import tensorflow as tf

            from src.tf.optim import make_loss

            with tf.GradientTape() as tape:
                logits = self.model(images, training=True)
                loss = make_loss(self.config)(tf.one_hot(labels, 4), logits)
            gradients = tape.gradient(loss, self.model.trainable_variables)
            return [None if g is None else g.numpy() for g in gradients]
        import torch

        from src.pt.optim import make_loss

        self.model.train()
        logits = self.model(torch.from_numpy(images).permute(0, 3, 1, 2))
        make_loss(self.config)(logits, torch.from_numpy(labels), torch.ones(len(labels))).backward()
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        return [None if p.grad is None else p.grad.numpy() for p in parameters]


@BOTH
def test_shapes(framework, backbone):
    images, _, _ = batch()
    for hidden in (0, 16):
        twin = Twin(framework, loaded(backbone, hidden_units=hidden))
        assert twin.logits(images).shape == (8, 4)
        assert np.isfinite(twin.logits(images, training=True)).all()


# Numbers that train: head 2048 x 4 + 4; block14's kernels and BatchNorm; block13 likewise.
HEAD_SIZE = 8_196
BLOCK14_KERNELS = 9 * 1024 + 1024 * 1536 + 9 * 1536 + 1536 * 2048
BLOCK14_BN = 2 * (1536 + 2048)
BLOCK13_KERNELS = 2 * 9 * 728 + 728 * 728 + 728 * 1024 + 728 * 1024
BLOCK13_BN = 2 * (728 + 1024 + 1024)


@BOTH
@pytest.mark.parametrize(
    "fields, stage, expected",
    [
        ({}, HEAD, HEAD_SIZE + BLOCK14_KERNELS + BLOCK14_BN),
        ({}, FINETUNE, HEAD_SIZE + BLOCK14_KERNELS + BLOCK14_BN + BLOCK13_KERNELS),
        (
            {"batch_norm": "update"},
            FINETUNE,
            HEAD_SIZE + BLOCK14_KERNELS + BLOCK14_BN + BLOCK13_KERNELS + BLOCK13_BN,
        ),
        ({"reinit": [], "unfreeze_from": "block14"}, HEAD, HEAD_SIZE),
        ({"reinit": [], "unfreeze_from": "block14"}, FINETUNE, HEAD_SIZE + BLOCK14_KERNELS),
    ],
)
def test_frozen_counts(framework, backbone, fields, stage, expected):
    config = dataclasses.replace(loaded(backbone), **fields)
    twin = Twin(framework, config, made_weights()).stage(stage)
    assert sum(twin.trainable().values()) == expected
    assert set(twin.trainable()) == trainable_layers(config, stage)


@BOTH
def test_a_frozen_batch_norm_uses_and_keeps_its_moving_statistics(framework, backbone):
    images, _, _ = batch()
    twin = Twin(framework, loaded(backbone, dropout=0.0)).stage(FINETUNE)
    before = twin.weights()
    twin.logits(images, training=True)
    moved = {
        name for name, array in twin.weights().items() if not np.array_equal(array, before[name])
    }
    statistics = ("moving_mean", "moving_variance")
    assert moved == {f"block14_sepconv{i}_bn/{what}" for i in (1, 2) for what in statistics}


@BOTH
def test_every_trainable_parameter_has_a_gradient(framework):
    images, labels, _ = batch()
    config = dataclasses.replace(SMOKE, dropout=0.0, hidden_units=8)
    weights = made_weights() | {
        name: array
        for name, array in Twin(framework, config).weights().items()
        if name.startswith("head")
    }
    gradients = Twin(framework, config, weights).stage(FINETUNE).gradients(images, labels)
    assert len(gradients) == 40 + 40 * 2 + 34 + 4  # kernels, BatchNorms, second kernels, head
    for gradient in gradients:
        assert gradient is not None and np.isfinite(gradient).all() and np.abs(gradient).max() > 0


@BOTH
def test_the_learning_rate_and_the_decay_fall_with_each_block_below_the_head(framework):
    config = dataclasses.replace(
        SMOKE, optimizer="sgd", momentum=0.0, layer_decay=0.5, weight_decay=0.25
    )
    twin = Twin(framework, config).stage(FINETUNE)
    before = twin.weights()
    twin.step_of_ones(2**-4)
    for name, array in twin.weights().items():
        block = name.partition("_")[0]
        blocks_above = 0 if block == "head" else 15 - int(block.removeprefix("block"))
        step = 2**-4 * 0.5**blocks_above * (0 if "/moving" in name else 1)
        decayed = before[name] * (1 - 0.25 * step) if name.endswith("kernel") else before[name]
        np.testing.assert_allclose(array, decayed - step, rtol=0, atol=2e-7, err_msg=name)


class SizedBatches:
    """`count` times the same batch, in the shape of `src.data.batches.Batches`."""

    count, class_count = 1, 4

    @property
    def images_per_epoch(self):
        return 8 * self.count

    @property
    def sizes(self):
        return [8] * self.count

    def __len__(self):
        return self.count

    def batch(self, epoch, index):
        return batch()


class Fixed:
    """A dataset whose training part is `kind`, and whose other parts are one batch."""

    catalog = SimpleNamespace(fingerprint="")

    def __init__(self, kind):
        self.kind = kind

    def batches(self, part, training=False):
        return self.kind() if training else SizedBatches()

    def statistics_batches(self):
        return SizedBatches()

    def parts_fingerprint(self):
        return ""


@BOTH
@pytest.mark.slow
def test_one_batch_can_be_learned_by_heart(framework, backbone, tmp_path):
    config = loaded(
        backbone,
        head_epochs=1,
        finetune_epochs=0,
        dropout=0.0,
        schedule="constant",
        head_learning_rate=2e-3,
    )
    twin = Twin(framework, config)
    images, labels, _ = batch()

    class Repeated(SizedBatches):
        count = 25

    history = twin.modules.train.fit(twin.model, Fixed(Repeated), config, tmp_path)
    assert history.step_loss[0] > 1.0
    # Validation and inference see it too: the moving statistics alone would lag far behind.
    losses = -log_softmax(twin.logits(images), axis=1)[np.arange(8), labels]
    assert losses.mean() < 0.1
    assert history.val_loss[-1] == pytest.approx(losses.mean(), rel=1e-4)


@BOTH
@pytest.mark.slow
def test_the_average_is_validated_and_tested_and_training_goes_on_without_it(
    framework, backbone, tmp_path
):
    """Only the head trains, on one batch again and again: its loss falls with every step."""
    config = loaded(
        backbone, head_epochs=2, finetune_epochs=0, dropout=0.0, schedule="constant", ema_decay=0.9
    )
    config = dataclasses.replace(config, reinit=[])
    twin = Twin(framework, config, made_weights())
    kernels = []

    class Repeated(SizedBatches):
        count = 4

    history = twin.modules.train.fit(
        twin.model, Fixed(Repeated), config, tmp_path,
        on_step=lambda _step, _loss, weights: kernels.append(weights()["head_logits/kernel"]),
    )  # fmt: skip
    average = kernels[0]
    for kernel in kernels[1:]:
        average = 0.9 * average + 0.1 * kernel
    np.testing.assert_allclose(twin.weights()["head_logits/kernel"], average, rtol=0, atol=1e-7)
    assert np.abs(average - kernels[-1]).max() > 1e-4
    assert history.step_loss == sorted(history.step_loss, reverse=True)
    images, labels, _ = batch()
    losses = -log_softmax(twin.logits(images), axis=1)[np.arange(8), labels]
    assert history.val_loss[-1] == pytest.approx(losses.mean(), rel=1e-4)


@BOTH
def test_measured_statistics_are_those_of_the_images(framework, backbone):
    """One pass over one batch: the statistics in inference are then the batch's own."""
    images, _, _ = batch()
    twin = Twin(framework, loaded(backbone, dropout=0.0)).stage(HEAD)
    before = twin.weights()
    in_training = twin.logits(images, training=True)
    twin.modules.model.set_weights(twin.model, before)
    twin.modules.train.measure_statistics(twin.model, twin.modules.data.make_loader(SizedBatches()))
    np.testing.assert_allclose(twin.logits(images), in_training, rtol=1e-4, atol=1e-5)
    after = twin.weights()
    assert {n.split("_")[0] for n in after if not np.array_equal(after[n], before[n])} == {
        "block14"
    }


@BOTH
def test_statistics_are_means_over_images_and_training_goes_on_as_before(framework, backbone):
    """Of batches of 8 and 2 images; a step afterwards moves them by the config's momentum."""
    images, _, _ = batch()
    name = "block14_sepconv1_bn/moving_mean"
    twin = Twin(framework, loaded(backbone, dropout=0.0)).stage(HEAD)

    class Unequal(SizedBatches):
        count = 2

        def batch(self, epoch, index):
            return tuple(array[:8] if index == 0 else array[-2:] for array in batch())

    def after(*shares):
        """Return the statistics after training steps on shares of the batch, momentum undone."""
        return [measured(twin, images[share]) for share in shares]

    first, second = after(slice(0, 8), slice(-2, None))
    twin.modules.train.measure_statistics(twin.model, twin.modules.data.make_loader(Unequal()))
    mean = twin.weights()[name]
    np.testing.assert_allclose(mean, (8 * first + 2 * second) / 10, rtol=1e-4, atol=1e-5)
    twin.logits(images[-2:], training=True)
    np.testing.assert_allclose(
        twin.weights()[name], 0.99 * mean + 0.01 * second, rtol=1e-4, atol=1e-5
    )
    # Again, of weights that have moved: Keras's graph of the first time serves.
    kernel = "block14_sepconv1/pointwise_kernel"
    moved = twin.weights() | {kernel: 2 * twin.weights()[kernel]}
    twin.modules.model.set_weights(twin.model, moved)
    twin.modules.train.measure_statistics(twin.model, twin.modules.data.make_loader(Unequal()))
    np.testing.assert_allclose(twin.weights()[name], 2 * mean, rtol=1e-4, atol=1e-5)


def measured(twin, images):
    """Return the mean of a BatchNorm's inputs over `images`, as it follows from one step."""
    name = "block14_sepconv1_bn/moving_mean"
    before = twin.weights()[name].astype(float)
    twin.logits(images, training=True)
    return before + (twin.weights()[name] - before) / (1 - twin.config.bn_momentum)


def test_statistics_are_measured_on_a_fixed_mixed_sample_of_training_images():
    """In catalogue order each batch would hold one class, whose features vary too little."""
    dataset = open_dataset(dataclasses.replace(SMOKE, max_images_per_epoch=24))
    batches = dataset.statistics_batches()
    assert batches.images_per_epoch == 24
    assert set(batches.rows) <= set(dataset.parts["train"])
    plain = dataset.pixels[batches.rows[:8]] / 127.5 - 1
    for epoch in (0, 3):  # the same in each, and not augmented
        images, labels, weights = batches.batch(epoch, 0)
        np.testing.assert_allclose(images[..., 0], plain, atol=1e-6)
        assert len(set(labels)) > 1 and set(weights) == {1}


@BOTH
def test_dropout_masks_are_numpys(framework, backbone):
    """With a head that passes the first four features on, the logits show what was dropped."""
    images, _, _ = batch()
    dropping = loaded(backbone, dropout=0.5, seed=4)
    whole = dataclasses.replace(dropping, dropout=0.0)
    weights = made_weights() | {"head_logits/kernel": np.eye(2048, 4, dtype=np.float32)}
    twin = Twin(framework, whole, weights).stage(HEAD)
    expected = {count: twin.logits(images[:count], training=True) for count in (8, 3)}
    twin = Twin(framework, dropping, weights).stage(HEAD)
    for step, count in enumerate((8, 8, 3)):  # the last batch of an epoch may be smaller
        if framework == "tf":  # as `fit` does; PyTorch's layer counts by itself
            twin.model.get_layer("head_dropout").set_step(step)
        mask = dropout_mask(4, step, (count, 2048), 0.5)[:, :4]
        assert set(np.unique(mask)) == {0.0, 2.0}
        logits = twin.logits(images[:count], training=True)
        np.testing.assert_allclose(logits, expected[count] * mask, rtol=1e-4, atol=1e-5)


@BOTH
def test_the_frameworks_dropout_is_decided_by_the_step_too(framework):
    """So a resumed run drops what the whole one would have dropped."""
    config = dataclasses.replace(SMOKE, dropout=0.5, restore_defaults=["dropout"])
    modules = load_twin(framework)
    modules.runtime.configure(config)
    dropout = modules.model.SharedDropout(config)

    def at(step):
        if framework == "tf":
            dropout(np.ones((4, 8), np.float32))  # builds it
            dropout.set_step(step)
            return dropout(np.ones((4, 8), np.float32), training=True).numpy()
        import torch

        dropout.step = step
        return dropout(torch.ones(4, 8)).numpy()

    later = at(3), at(4)
    assert np.array_equal(at(3), later[0]) and not np.array_equal(*later)


class KilledError(Exception):
    """Stands for a kill: nothing is saved after it."""


def killed_at(step):
    def on_step(number, _loss, _weights):
        if number == step:
            raise KilledError

    return on_step


@BOTH
@pytest.mark.slow
def test_a_resumed_run_ends_with_the_same_bits(framework, backbone, tmp_path, monkeypatch):
    """A checkpoint follows each step; kills within and between epochs.

    In PyTorch every block trains. TensorFlow takes long to trace that, for each of its models, so
    here the last two blocks train; in test_kills.py (`-m full`) every block does.
    """
    start = dict(init="scratch") if framework == "pt" else dict(init=backbone)
    config = dataclasses.replace(
        SMOKE, max_images_per_epoch=20, head_epochs=0, finetune_epochs=2, patience=0,
        warmup_epochs=0.5, layer_decay=0.8, ema_decay=0.5, weight_decay=0.01,
        batch_norm="update", **start,
    )  # fmt: skip  # three steps per epoch, the last one of four images
    dataset = open_dataset(config).with_counts({"val": 8})
    whole = Twin(framework, config)
    history = whole.modules.train.fit(whole.model, dataset, config, tmp_path / "whole")
    expected = whole.weights()
    monkeypatch.setattr("src.training.run.SAVE_EVERY", 0.0)
    for step in (2, 5) if framework == "pt" else (2,):  # it traces again
        killed = Twin(framework, config)
        with pytest.raises(KilledError):
            killed.modules.train.fit(
                killed.model, dataset, config, tmp_path / "killed", on_step=killed_at(step)
            )
    resumed = Twin(framework, config)
    again = resumed.modules.train.fit(resumed.model, dataset, config, tmp_path / "killed")
    assert len(history.loss) == 2 and again.earlier_seconds > 0
    for name in ("loss", "accuracy", "val_loss", "val_accuracy", "rate", "step_loss"):
        assert getattr(again, name) == getattr(history, name), name
    for name, array in resumed.weights().items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


@BOTH
def test_a_damaged_checkpoint_is_refused(framework, backbone, tmp_path):
    config = loaded(backbone)
    twin = Twin(framework, config)
    (tmp_path / LAST).write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match=f"{LAST} is damaged"):
        twin.modules.train.fit(twin.model, open_dataset(config), config, tmp_path)


LOAD_AND_PREDICT = """
import sys
from pathlib import Path
import numpy as np
from src.data.dataset import open_dataset
from src.experiment import load_twin
reader, folder = sys.argv[1], Path(sys.argv[2])
twin = load_twin(reader)
for writer in ("tf", "pt"):
    model, config = twin.checkpoint.load_model(folder / writer)
    dataset = open_dataset(config).with_counts({"test": 8})
    loader = twin.data.make_loader(dataset.batches("test"))
    np.save(folder / f"{writer}-{reader}.npy", twin.predict.predict_proba(model, loader))
"""


@pytest.mark.slow
def test_a_saved_model_predicts_the_same_in_a_new_process_of_either_framework(backbone, tmp_path):
    config = loaded(backbone)
    batches = open_dataset(config).with_counts({"test": 8}).batches("test")
    expected = {}
    for writer in ("tf", "pt"):
        twin = Twin(writer, config, made_weights())
        loader = twin.modules.data.make_loader(batches)
        expected[writer] = twin.modules.predict.predict_proba(twin.model, loader)
        assert expected[writer].std(axis=0).min() > 1e-3  # the images matter
        twin.modules.checkpoint.save_model(twin.model, config, tmp_path / writer)
    for reader in ("tf", "pt"):
        command = [sys.executable, "-c", LOAD_AND_PREDICT, reader, tmp_path]
        subprocess.run(command, check=True, cwd=ROOT)
        for writer, probs in expected.items():
            loaded_probs = np.load(tmp_path / f"{writer}-{reader}.npy")
            np.testing.assert_allclose(loaded_probs, probs, rtol=0, atol=1e-6)


def test_predictions_averaged_over_an_image_and_its_mirror_image(backbone):
    dataset = open_dataset(SMOKE).with_counts({"test": 8})
    batches = dataset.batches("test")
    flipped = ImageBatches(dataset.pixels[dataset.parts["test"]][..., ::-1])
    averaged = {}
    for framework in ("tf", "pt"):
        twin = Twin(framework, loaded(backbone), made_weights())

        def predict(images, twin=twin):
            loader = twin.modules.data.make_loader(images)
            return twin.modules.predict.predict_proba(twin.model, loader)

        plain, mirrored = predict(batches), predict(flipped)
        assert np.abs(plain - mirrored).max() > 1e-2
        twin.model.config = dataclasses.replace(twin.config, flip_average=True)
        averaged[framework] = predict(batches)
        # Both are float32; the mean is taken before its rounding.
        np.testing.assert_allclose(averaged[framework], (plain + mirrored) / 2, atol=1e-6)
        np.testing.assert_allclose(predict(flipped), averaged[framework], atol=1e-6)
    np.testing.assert_allclose(averaged["tf"], averaged["pt"], atol=1e-5)


def test_weights_pass_through_both_frameworks_unchanged(backbone):
    config = loaded(backbone, hidden_units=8)
    weights = Twin("tf", config).weights()
    assert Twin("pt", config, weights).weights().keys() == weights.keys()
    for name, array in Twin("pt", config, weights).weights().items():
        np.testing.assert_array_equal(array, weights[name], err_msg=name)


@BOTH
@pytest.mark.parametrize("precision", ["bfloat16", "float64"])
def test_other_precisions_run(framework, backbone, precision):
    images = batch()[0][:2]
    runtime = load_twin(framework).runtime
    if missing_arithmetic(precision, runtime.gpu_name()):
        with pytest.raises(InputError, match="lacks the flag"):
            runtime.configure(loaded(backbone, precision=precision))
        return
    config = loaded(backbone, precision=precision, dropout=0.0)
    logits = Twin(framework, config, made_weights()).stage(HEAD).logits(images)
    assert logits.dtype == ("float64" if precision == "float64" else "float32")
    reference = Twin(framework, loaded(backbone, dropout=0.0), made_weights()).logits(images)
    # bfloat16 keeps 8 bits of each number, through 36 layers: it cannot be nearer than that either.
    low, high = {"bfloat16": (1e-4, 0.1), "float64": (1e-9, 1e-5)}[precision]
    assert low < relative_distance(logits, reference) < high


class Steps(list):
    """Batches of features, labels and loss weights, in the shape of `src.pt.data.Loader`."""

    def set_epoch(self, _epoch, _first=0):
        """Keep the order: it is the same in every epoch here."""


def head_steps(twin, steps: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, float]:
    """Train the head on `steps`, each the features of a batch.

    Return a kernel, its average, and what a new optimizer scales the loss by, its state restored.
    """
    name, config = "head_hidden/kernel", twin.config
    rest = twin.modules.feature_cache.after_block(twin.stage(HEAD).model, "block14")
    labels = np.arange(8) % 4
    if twin.is_tf:
        from src.tf.checkpoint import optimizer_state, restore_optimizer
        from src.tf.optim import make_loss, make_optimizer

        optimizer, restored = (make_optimizer(config, twin.model, 1.0) for _ in range(2))
        rest.compile(optimizer, make_loss(config), jit_compile=False)
        for features in steps:
            rest.train_on_batch(features, np.eye(4)[labels], np.ones(8))
        trained = twin.weights()[name]
        optimizer.finalize_variable_values(rest.trainable_variables)
        restore_optimizer(restored, optimizer_state(optimizer))
        return trained, twin.weights()[name], float(restored.scale_loss(1.0))
    import torch

    from src.pt.checkpoint import restore_training, training_state
    from src.pt.optim import averaged_weights, make_loss, make_optimizer, make_scaler
    from src.pt.train import _train_epoch

    run = SimpleNamespace(
        config=config, schedule=SimpleNamespace(epoch=0), steps_done=0, begin_epoch=lambda: None,
        learning_rate=lambda: 1.0, end_step=lambda *_: None, end_training_pass=lambda: None,
    )  # fmt: skip
    (optimizer, scaler), restored = (
        (make_optimizer(config, twin.model, 1.0), make_scaler(config, torch.device("cpu")))
        for _ in range(2)
    )
    train = Steps((torch.from_numpy(f), torch.from_numpy(labels), torch.ones(8)) for f in steps)
    _train_epoch(rest, train, make_loss(config), optimizer, scaler, run)
    trained = twin.weights()[name]
    with averaged_weights(optimizer):
        average = twin.weights()[name]
    restore_training(*restored, training_state(optimizer, scaler))
    return trained, average, restored[1].scale(torch.ones(1)).item()


@BOTH
def test_an_overflow_in_float16_leaves_the_step_out_and_halves_the_scale(framework, monkeypatch):
    monkeypatch.setattr(load_twin(framework).runtime, "gpu_name", lambda: "a GPU")
    config = dataclasses.replace(
        SMOKE, init="made", precision="float16", hidden_units=16, dropout=0.0,
        optimizer="sgd", weight_decay=0.1, ema_decay=0.5,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 8, 2048), np.float32)
    start = rng.normal(scale=0.03, size=(2048, 16)).astype(np.float32)
    weights = made_weights() | {
        "head_hidden/kernel": start,
        "head_hidden/bias": np.zeros(16, np.float32),
        "head_logits/kernel": rng.normal(size=(16, 4)).astype(np.float32),
        "head_logits/bias": np.zeros(4, np.float32),
    }
    too_large = np.full_like(first, 1e5)  # float16 ends at 65,504
    runs = {
        (precision, overflow): head_steps(
            Twin(framework, dataclasses.replace(config, precision=precision), weights), steps
        )
        for precision, overflow, steps in (
            ("float32", False, [first, second]),
            ("float16", False, [first, second]),
            ("float16", True, [first, too_large, second]),
        )
    }
    assert [scale for _, _, scale in runs.values()] == [1, 2**15, 2**14]
    exact, *in_float16 = ((trained, average) for trained, average, _ in runs.values())
    moved = np.abs(exact[0] - start).max()
    for values in in_float16:  # float16 has 11 bits
        np.testing.assert_allclose(values, exact, rtol=0, atol=moved / 50)


@pytest.mark.parametrize("last, epochs", [(HEAD, 0), (FINETUNE, 1)])
def test_parameters_of_the_record_are_kerass_count(last, epochs, backbone):
    from src.experiment import _count_parameters

    config = dataclasses.replace(loaded(backbone), head_epochs=1, finetune_epochs=epochs)
    twin = Twin("tf", config).stage(last)
    trainable = sum(int(np.prod(w.shape)) for w in twin.model.trainable_weights)
    counted = _count_parameters(config)
    assert counted == {"trainable": trainable, "total": 20_861_480 + HEAD_SIZE}
