"""Two-stage fine-tuning the Keras way: `compile`, `fit` and a callback.

The usual way would be `EarlyStopping(restore_best_weights=True)`, `ReduceLROnPlateau` or a
`LearningRateSchedule`, `ModelCheckpoint` and a `.keras` file. They are not used here, because they
count patience, compare losses and round learning rates differently from PyTorch's, and resume
nothing. `TrainingRun` decides for both twins; one callback passes its decisions to Keras.
"""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from src.common.progress import EpochBar
from src.config import ExperimentConfig
from src.data.dataset import Dataset
from src.feature_cache.cache import stage_batches
from src.feature_cache.plan import last_stage
from src.tf.checkpoint import optimizer_state, restore_optimizer
from src.tf.data import Loader, make_loader
from src.tf.feature_cache import after_block, cached_features
from src.tf.model import (
    XceptionClassifier,
    block_end,
    get_weights,
    named_layers,
    set_stage,
    set_weights,
)
from src.tf.optim import make_loss, make_optimizer
from src.training.history import History
from src.training.run import StepCallback, TrainingRun
from src.xception.stages import recalibrated_layers


def fit(
    model: XceptionClassifier,
    dataset: Dataset,
    config: ExperimentConfig,
    folder: Path,
    *,
    workers: int = 0,
    on_step: StepCallback | None = None,
) -> History:
    """Train the head, then the unfrozen blocks with it; end with the best epoch's weights.

    Args:
        model: from `build_model`; changed in place.
        dataset: from `open_dataset`.
        config: the experiment.
        folder: where checkpoints go; a run that was stopped goes on from there.
        workers: threads that prepare batches.
        on_step: called after every step; see `src.training.run.StepCallback`.
    Returns:
        losses, accuracies and learning rates per epoch.
    Raises:
        InputError: `folder` holds a run of another experiment.
    Twin: `src.pt.train.fit`.
    """
    sources = dataset.batches("train", training=True), dataset.batches("val")
    run = TrainingRun(config, folder, sources[0], lambda: get_weights(model), on_step)
    if run.checkpoint:
        set_weights(model, run.checkpoint.weights)
    for stage in run.stages():
        set_stage(model, stage)
        optimizer = make_optimizer(config, model, config.head_learning_rate)
        if run.checkpoint:
            restore_optimizer(optimizer, run.checkpoint.optimizer)
        cache = cached_features(model, config, stage)
        trained = after_block(model, cache.block) if cache else model
        train, val = (
            make_loader(stage_batches(source, config, stage, cache), workers=workers)
            for source in sources
        )
        run.record_cache(cache)
        trained.compile(
            optimizer,
            loss=make_loss(config),
            metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
            jit_compile=False,  # XLA works, and is five times slower on CPU
        )
        trained.fit(
            train,
            validation_data=val,
            initial_epoch=run.schedule.stage_epoch,
            epochs=run.stage_epochs,
            shuffle=False,  # the batches are shuffled already
            callbacks=[_Reporter(run, train)],
            verbose=0,
        )
    set_weights(model, run.best_weights())
    if recalibrated_layers(config):
        cache = cached_features(model, config, last_stage(config))
        # In the order of training: in catalogue order a batch would hold one class and vary less.
        batches = stage_batches(sources[0], config, last_stage(config), cache)
        loader = make_loader(batches, workers=workers)
        recalibrate(model, config, loader, cache.block if cache else None)
    return run.history


def recalibrate(
    model: XceptionClassifier, config: ExperimentConfig, loader: Loader, block: str | None = None
) -> None:
    """Measure the moving statistics of randomly initialised blocks once more, over `loader`.

    While these blocks learned, their moving statistics lagged behind. The statistics of each batch
    are averaged over the images of one epoch; everything else stays as it is.

    Args:
        model: changed in place.
        config: says which blocks were randomly initialised; without any, nothing is done.
        loader: images, or the outputs of `block`.
        block: the block whose outputs `loader` holds instead of images.
    Source: Wu & Johnson 2021, "Rethinking 'Batch' in BatchNorm", arXiv:2105.07576, section 3.
    Twin: `src.pt.train.recalibrate`.
    """
    layers = named_layers(model)
    norms = [layers[name] for name in recalibrated_layers(config)]
    if not norms:
        return
    for layer in layers.values():
        layer.trainable = layer in norms
    for norm in norms:
        norm.momentum = 0.0  # keep nothing: the moving statistics become the batch's
    start = block_end(model, block) if block else model.input
    forward = tf.function(keras.Model(start, block_end(model, "block14")))
    statistics = [value for norm in norms for value in (norm.moving_mean, norm.moving_variance)]
    totals = [np.zeros(value.shape) for value in statistics]
    with EpochBar("statistics", loader.batches.images_per_epoch, len(loader)) as bar:
        for images, _, _ in loader:
            forward(images, training=True)
            for total, value in zip(totals, statistics, strict=True):
                total += len(images) * keras.ops.convert_to_numpy(value).astype(np.float64)
            bar.advance(len(images))
    for total, value in zip(totals, statistics, strict=True):
        value.assign(total / loader.batches.images_per_epoch)
    for norm in norms:
        norm.momentum = config.bn_momentum


class _Reporter(keras.callbacks.Callback):
    """Sets the order of each epoch, each step's learning rate and mask; passes on the results."""

    def __init__(self, run: TrainingRun, train: Loader):
        super().__init__()
        self.run, self.train = run, train

    def on_epoch_begin(self, epoch, logs=None):
        # Here and not in PyDataset.on_epoch_end, which `fit` also calls before the first epoch.
        self.train.set_epoch(self.run.schedule.epoch)
        self.run.begin_epoch()
        self.sizes = self.train.batches.sizes

    def on_train_batch_begin(self, batch, logs=None):
        self.model.optimizer.learning_rate = self.run.learning_rate()
        self.model.get_layer("head_dropout").set_step(self.run.schedule.step)

    def on_train_batch_end(self, batch, logs=None):
        loss, correct = float(logs["loss"]), int(logs["correct"])
        self.run.end_step(loss, correct, self.sizes[batch])

    def on_test_begin(self, logs=None):
        self.run.end_training_pass()

    def on_epoch_end(self, epoch, logs=None):
        val_loss, val_accuracy = float(logs["val_loss"]), float(logs["val_accuracy"])
        self.run.end_epoch(val_loss, val_accuracy, optimizer_state(self.model.optimizer))
        self.model.stop_training = self.run.stage_done
