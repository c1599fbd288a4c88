"""Two-stage fine-tuning the PyTorch way: an explicit loop.

The usual way would be `clip_grad_norm_`, `AdamW`, `ReduceLROnPlateau` or `CosineAnnealingLR` once
per epoch, an early stop written by hand, and `torch.save` of the state dicts. They are not used
here, because they clip, decay, count patience and round learning rates differently from Keras's.
`TrainingRun` decides for both twins; the loop asks it and applies Keras's rules in plain sight.
"""

from pathlib import Path

import torch
from torch import nn

from src.common.progress import EpochBar
from src.config import ExperimentConfig
from src.data.dataset import Dataset
from src.feature_cache.cache import stage_batches
from src.feature_cache.plan import last_stage
from src.pt.checkpoint import optimizer_state, restore_optimizer
from src.pt.data import Loader, make_loader
from src.pt.feature_cache import after_block, cached_features
from src.pt.model import (
    XceptionClassifier,
    get_weights,
    named_layers,
    set_stage,
    set_weights,
)
from src.pt.optim import Loss, clip_gradients, decay_kernels, make_loss, make_optimizer
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
        workers: processes that prepare batches.
        on_step: called after every step; see `src.training.run.StepCallback`.
    Returns:
        losses, accuracies and learning rates per epoch.
    Raises:
        InputError: `folder` holds a run of another experiment.
    Twin: `src.tf.train.fit`.
    """
    sources = dataset.batches("train", training=True), dataset.batches("val")
    run = TrainingRun(config, folder, sources[0], lambda: get_weights(model), on_step)
    if run.checkpoint:
        set_weights(model, run.checkpoint.weights)
    loss_function = make_loss(config)
    for stage in run.stages():
        set_stage(model, stage)
        optimizer = make_optimizer(config, model, config.head_learning_rate)
        if run.checkpoint:
            restore_optimizer(optimizer, run.checkpoint.optimizer)
        model.head.dropout.step = run.schedule.step
        cache = cached_features(model, config, stage)
        trained = after_block(model, cache.block) if cache else model
        train, val = (
            make_loader(stage_batches(source, config, stage, cache), workers=workers)
            for source in sources
        )
        run.record_cache(cache)
        while not run.stage_done:
            _train_epoch(trained, train, loss_function, optimizer, run)
            val_loss, val_accuracy = _evaluate(trained, val, loss_function)
            run.end_epoch(val_loss, val_accuracy, optimizer_state(optimizer))
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
    Twin: `src.tf.train.recalibrate`.
    """
    layers = named_layers(model)
    norms = [layers[name] for name in recalibrated_layers(config)]
    if not norms:
        return
    momentum = norms[0].momentum
    model.eval()
    for norm in norms:
        norm.train()
        norm.momentum = 1.0  # keep nothing: the moving statistics become the batch's
    forward = after_block(model, block) if block else model
    statistics = [value for norm in norms for value in (norm.running_mean, norm.running_var)]
    totals = [torch.zeros_like(value, dtype=torch.float64) for value in statistics]
    with (
        EpochBar("statistics", loader.batches.images_per_epoch, len(loader)) as bar,
        torch.no_grad(),
    ):
        for images, _, _ in loader:
            forward(images)
            for total, value in zip(totals, statistics, strict=True):
                total += len(images) * value.double()
            bar.advance(len(images))
    for total, value in zip(totals, statistics, strict=True):
        value.copy_(total / loader.batches.images_per_epoch)
    for norm in norms:
        norm.momentum = momentum
        norm.eval()


def _train_epoch(
    model: nn.Module,
    train: Loader,
    loss_function: Loss,
    optimizer: torch.optim.Optimizer,
    run: TrainingRun,
) -> None:
    model.train()
    train.set_epoch(run.schedule.epoch)
    run.begin_epoch()
    for images, labels, image_weights in train:
        for group in optimizer.param_groups:
            group["lr"] = run.learning_rate()
        optimizer.zero_grad()
        logits = model(images)
        labels = labels.to(logits.device)
        loss = loss_function(logits, labels, image_weights)
        loss.backward()
        clip_gradients(model.parameters(), run.config)
        decay_kernels(optimizer, run.config)
        optimizer.step()
        correct = (logits.argmax(dim=1) == labels).sum()
        run.end_step(loss.item(), correct.item(), len(labels))
    run.end_training_pass()


@torch.inference_mode()
def _evaluate(model: nn.Module, loader: Loader, loss_function: Loss) -> tuple[float, float]:
    """Return the mean loss and the accuracy over all images of `loader`."""
    model.eval()
    loss_sum = correct = images_seen = 0
    for images, labels, weights in loader:
        logits = model(images)
        labels = labels.to(logits.device)
        loss_sum += loss_function(logits, labels, weights).item() * len(labels)
        correct += (logits.argmax(dim=1) == labels).sum().item()
        images_seen += len(labels)
    return loss_sum / images_seen, correct / images_seen
