"""Two-stage fine-tuning the PyTorch way: an explicit loop.

The usual way would be `clip_grad_norm_`, `AdamW`, `ReduceLROnPlateau` or `CosineAnnealingLR` once
per epoch, an early stop written by hand, and `torch.save` of the state dicts. They are not used
here, because they clip, decay, count patience and round learning rates differently from Keras's.
`TrainingRun` decides for both twins; the loop asks it and applies Keras's rules in plain sight.
"""

from functools import partial
from itertools import islice
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from src.common.errors import InputError
from src.config import ExperimentConfig
from src.data.dataset import Dataset
from src.feature_cache.cache import find_cache, stage_batches
from src.pt.checkpoint import restore_training, training_state
from src.pt.data import Loader, make_loader
from src.pt.feature_cache import after_block, block_function
from src.pt.model import (
    XceptionClassifier,
    get_weights,
    set_stage,
    set_weights,
)
from src.pt.optim import (
    Loss,
    average_weights,
    averaged_weights,
    clip_gradients,
    decay_kernels,
    make_loss,
    make_optimizer,
    make_scaler,
    overflowed,
)
from src.pt.runtime import replica, sum_over_replicas, writes
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
        workers: processes that prepare batches.
        on_step: called after every step; see `src.training.run.StepCallback`.
    Returns:
        losses, accuracies and learning rates per epoch.
    Raises:
        InputError: `folder` holds a run of another experiment.
    Twin: `src.tf.train.fit`.
    """
    _, replicas = replica()
    run = TrainingRun(
        "pt", config, folder, dataset, partial(get_weights, model), on_step,
        replicas=replicas, writes=writes(),
    )  # fmt: skip
    if replicas > 1:
        _check_same_step(run, replicas)
    if run.checkpoint:
        set_weights(model, run.checkpoint.weights)
    sources = run.batches, dataset.batches("val"), dataset.statistics_batches()
    loss_function = make_loss(config)
    for stage in run.stages():
        set_stage(model, stage)
        optimizer = make_optimizer(config, model, config.head_learning_rate)
        scaler = make_scaler(config, model.device)
        if run.checkpoint:
            restore_training(optimizer, scaler, run.checkpoint.optimizer)
        model.head.dropout.step = run.schedule.step
        cache = find_cache(
            config, stage, "pt", partial(get_weights, model), partial(block_function, model)
        )
        trained = after_block(model, cache.block) if cache else model
        batches = [stage_batches(source, config, stage, cache) for source in sources]
        train = make_loader(batches[0], workers=workers, replicas=replicas)
        val, statistics = (make_loader(each, workers=workers) for each in batches[1:])
        shared = DistributedDataParallel(trained) if replicas > 1 else trained
        run.begin_stage(partial(training_state, optimizer, scaler), cache)
        with run.stop_signals:
            while not run.stage_done:
                _train_epoch(shared, train, loss_function, optimizer, scaler, run)
                with averaged_weights(optimizer):  # the current ones without `ema_decay`
                    measure_statistics(trained, statistics)
                    run.end_epoch(*_evaluate(trained, val, loss_function))
                run.save()
    if replicas > 1:
        dist.barrier()  # until the one that writes them has done so
    set_weights(model, run.tested_weights())
    if replicas > 1:
        dist.barrier()  # until all have read them: a finished run's are removed
    return run.history


def _check_same_step(run: TrainingRun, replicas: int) -> None:
    """Check that all processes go on from the same checkpoint.

    Raises:
        InputError: they do not see the same folder.
    """
    steps = [0] * replicas
    dist.all_gather_object(steps, run.schedule.step)
    if len(set(steps)) > 1:
        raise InputError(
            f"The processes found checkpoints of different steps: {sorted(set(steps))}. Give --out "
            "a folder that all machines share."
        )


@torch.no_grad()
def measure_statistics(model: nn.Module, loader: Loader) -> None:
    """Measure the moving statistics of the BatchNorms that train, over the images of `loader`.

    Those that training leaves behind lag behind the weights, and inference with them would say
    little of the network. They become the mean of each batch's statistics, weighted by its size.

    Args:
        model: changed in place; nothing is done where no BatchNorm trains.
        loader: images, or what `model` takes instead of them.
    Source: Wu & Johnson 2021, "Rethinking 'Batch' in BatchNorm", arXiv:2105.07576, section 3.
    Twin: `src.tf.train.measure_statistics`.
    """
    model.train()
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    norms = [layer for layer in norms if layer.training]
    model.eval()
    if not norms:
        return
    momentum, seen = norms[0].momentum, 0
    for images, labels, _ in loader:
        seen += len(labels)
        for norm in norms:
            norm.train().momentum = len(labels) / seen  # of a running mean; 1 at first
        model(images)
    for norm in norms:
        norm.eval().momentum = momentum


def _train_epoch(
    model: nn.Module,
    train: Loader,
    loss_function: Loss,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    run: TrainingRun,
) -> None:
    model.train()
    train.set_epoch(run.schedule.epoch, run.steps_done)
    run.begin_epoch()
    for images, labels, image_weights in train:
        for group in optimizer.param_groups:
            group["lr"] = run.learning_rate() * group["rate_scale"]
        optimizer.zero_grad()
        logits = model(images)
        labels = labels.to(logits.device)
        loss = loss_function(logits, labels, image_weights)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        if not overflowed(optimizer, run.config):
            clip_gradients(model.parameters(), run.config)
            decay_kernels(optimizer, run.config)
            optimizer.step()
            average_weights(optimizer, run.config)
        scaler.update()
        correct = sum_over_replicas((logits.argmax(dim=1) == labels).sum())
        loss = sum_over_replicas(loss.detach()) / replica()[1]
        run.end_step(loss, correct)  # on the device still
    run.end_training_pass()


@torch.inference_mode()
def _evaluate(model: nn.Module, loader: Loader, loss_function: Loss) -> tuple[float, float]:
    """Return the mean loss and the accuracy over all images of `loader`."""
    model.eval()
    loss_sum = correct = images_seen = 0
    number, replicas = replica()  # each takes its turn with whole batches
    for images, labels, weights in islice(loader, number, None, replicas):
        logits = model(images)
        labels = labels.to(logits.device)
        loss_sum += loss_function(logits, labels, weights).item() * len(labels)
        correct += (logits.argmax(dim=1) == labels).sum().item()
        images_seen += len(labels)
    device = next(model.parameters()).device
    dtype = torch.float32 if device.type == "mps" else torch.float64  # which Apple's GPUs lack
    sums = torch.tensor([loss_sum, correct, images_seen], dtype=dtype, device=device)
    loss_sum, correct, images_seen = sum_over_replicas(sums).tolist()
    return loss_sum / images_seen, correct / images_seen
