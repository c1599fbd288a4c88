"""Two-stage fine-tuning the Keras way: `compile`, `fit` and a callback.

The usual way would be `EarlyStopping(restore_best_weights=True)`, `ReduceLROnPlateau` or a
`LearningRateSchedule`, `BackupAndRestore` and a `.keras` file. They are not used here, because they
count patience, compare losses and round learning rates differently from PyTorch's, and do not keep
the place among the images. `TrainingRun` decides for both twins; one callback passes its decisions
to Keras.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras.layers import BatchNormalization

from src.config import ExperimentConfig
from src.data.dataset import Dataset
from src.feature_cache.cache import find_cache, stage_batches
from src.tf.checkpoint import optimizer_state, restore_optimizer
from src.tf.data import Loader, make_loader
from src.tf.feature_cache import after_block, block_function
from src.tf.model import (
    XceptionClassifier,
    get_weights,
    set_stage,
    set_weights,
)
from src.tf.optim import make_loss, make_optimizer
from src.tf.runtime import replica, writes
from src.training.history import History
from src.training.run import StepCallback, TrainingRun


def fit(
    model: XceptionClassifier,
    dataset: Dataset,
    config: ExperimentConfig,
    folder: Path,
    *,
    workers: int = 0,
    on_step: StepCallback | None = None,
) -> History:
    """Train the head, then the unfrozen blocks with it; end with the weights to test.

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
    _, replicas = replica()
    run = TrainingRun(
        "tf", config, folder, dataset, partial(get_weights, model), on_step,
        replicas=replicas, writes=writes(),
    )  # fmt: skip
    if run.checkpoint:
        set_weights(model, run.checkpoint.weights)
    sources = run.batches, dataset.batches("val"), dataset.statistics_batches()
    for stage in run.stages():
        set_stage(model, stage)
        optimizer = make_optimizer(config, model, config.head_learning_rate)
        if run.checkpoint:
            restore_optimizer(optimizer, run.checkpoint.optimizer)
        cache = find_cache(
            config, stage, "tf", partial(get_weights, model), partial(block_function, model)
        )
        trained = after_block(model, cache.block) if cache else model
        batches = [stage_batches(source, config, stage, cache) for source in sources]
        train = make_loader(batches[0], workers=workers, replicas=replicas)
        val, statistics = (make_loader(each, workers=workers) for each in batches[1:])
        run.begin_stage(partial(optimizer_state, optimizer), cache)
        trained.compile(
            optimizer,
            loss=make_loss(config),
            metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
            jit_compile=False,  # XLA is five times slower on CPU
        )
        results = _leave_unread(trained)
        with run.stop_signals:
            while not run.stage_done:
                train.set_epoch(run.schedule.epoch, run.steps_done)
                # The rest of an interrupted epoch is a `fit` of its own: one length for each.
                epochs = run.schedule.stage_epoch + 1 if run.steps_done else run.stage_epochs
                trained.fit(
                    train,
                    validation_data=val,
                    initial_epoch=run.schedule.stage_epoch,
                    epochs=epochs,
                    shuffle=False,  # the batches are shuffled already
                    callbacks=[_Reporter(run, train, statistics, results)],
                    verbose=0,
                )
    set_weights(model, run.tested_weights())
    return run.history


def measure_statistics(model: XceptionClassifier, loader: Loader) -> None:
    """Measure the moving statistics of the BatchNorms that train, over the images of `loader`.

    Those that training leaves behind lag behind the weights, and inference with them would say
    little of the network. They become the mean of each batch's statistics, weighted by its size.

    Args:
        model: changed in place; nothing is done where no BatchNorm trains.
        loader: images, or what `model` takes instead of them.
    Source: Wu & Johnson 2021, "Rethinking 'Batch' in BatchNorm", arXiv:2105.07576, section 3.
    Twin: `src.pt.train.measure_statistics`.
    """
    norms = [layer for layer in model.layers if isinstance(layer, BatchNormalization)]
    norms = [layer for layer in norms if layer.trainable]
    if not norms:
        return
    momentum, seen = norms[0].momentum, 0
    for norm in norms:
        norm.momentum = 0.0  # keep nothing: the moving statistics become the batch's
    statistics = [value for norm in norms for value in (norm.moving_mean, norm.moving_variance)]
    means = [np.zeros(value.shape) for value in statistics]
    training_pass = _training_pass(model, tuple(norm.name for norm in norms))
    for images, labels, _ in loader:
        training_pass(images)
        seen += len(labels)
        for mean, value in zip(means, statistics, strict=True):
            mean += (keras.ops.convert_to_numpy(value) - mean) * len(labels) / seen
    for mean, value in zip(means, statistics, strict=True):
        value.assign(mean)
    for norm in norms:
        norm.momentum = momentum


@lru_cache(maxsize=1)  # tracing takes longer than a hundred small batches
def _training_pass(model: XceptionClassifier, _norms: tuple[str, ...]) -> Callable:
    """Return a forward pass in which BatchNorms of these names keep only the batch's statistics.

    They must have momentum 0 when it runs first: the graph keeps that value.
    """
    return tf.function(lambda images: model(images, training=True))


def _leave_unread(model: XceptionClassifier) -> dict[str, tf.Tensor]:
    """Return what will hold the results of the last step of a compiled `model`, on the device.

    Keras would read them all for its callbacks before the next step begins.
    """
    results = {}
    model.make_train_function()
    train_function = model.train_function

    def step(iterator) -> dict:
        results.update(train_function(iterator))
        return {}

    model.train_function = step
    return results


class _Reporter(keras.callbacks.Callback):
    """Sets the order of each epoch, each step's learning rate and mask; passes on the results."""

    def __init__(
        self, run: TrainingRun, train: Loader, statistics: Loader, results: dict[str, tf.Tensor]
    ):
        super().__init__()
        self.run, self.train, self.statistics, self.results = run, train, statistics, results
        self.trained = []  # weights that validation replaces by their averages, and their values

    def on_epoch_begin(self, epoch, logs=None):
        # Here and not in PyDataset.on_epoch_end, which `fit` also calls before the first epoch.
        self.train.set_epoch(self.run.schedule.epoch, self.run.steps_done)
        self.run.begin_epoch()

    def on_train_batch_begin(self, batch, logs=None):
        self.model.optimizer.learning_rate = self.run.learning_rate()
        self.model.get_layer("head_dropout").set_step(self.run.schedule.step)

    def on_train_batch_end(self, batch, logs=None):
        self.run.end_step(self.results["loss"], self.results["correct"])

    def on_test_begin(self, logs=None):
        self.run.end_training_pass()
        weights = self.model.trainable_variables
        averaged = weights if self.run.config.ema_decay else []
        self.trained = [(w, np.copy(keras.ops.convert_to_numpy(w))) for w in averaged]
        self.model.optimizer.finalize_variable_values(weights)  # to their averages, if there are
        measure_statistics(self.model, self.statistics)

    def on_epoch_end(self, epoch, logs=None):
        self.run.end_epoch(float(logs["val_loss"]), float(logs["val_accuracy"]))
        self._go_on_with_the_trained_weights()
        self.run.save()
        self.model.stop_training = self.run.stage_done

    def on_train_end(self, logs=None):
        self._go_on_with_the_trained_weights()  # `fit` too has assigned the averages

    def _go_on_with_the_trained_weights(self):
        for variable, value in self.trained:
            variable.assign(value)
