"""What fine-tuning does apart from arithmetic: stages, learning rates, records, checkpoints.

Keras's callback and PyTorch's loop both report to a `TrainingRun` and ask it what comes next, so
that no decision is made twice.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from src.common.progress import EpochBar
from src.config import ExperimentConfig
from src.data.batches import Batches
from src.feature_cache.cache import FeatureCache
from src.training.checkpoint import BEST, LAST, Checkpoint, load_checkpoint, save_checkpoint
from src.training.history import EpochMeter, History
from src.training.schedule import Schedule, stage_epochs
from src.xception.stages import FINETUNE, HEAD
from src.xception.weight_files import Weights, load_arrays, write_safetensors

# Called after every step with its number (from 1), its mean loss and a way to get the weights.
StepCallback = Callable[[int, float, Callable[[], Weights]], None]


class TrainingRun:
    """One run of one twin. Where `folder` holds a checkpoint of it, it goes on from there.

    Raises:
        InputError: the checkpoint is damaged, or belongs to another experiment.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        folder: Path,
        batches: Batches,
        weights: Callable[[], Weights],
        on_step: StepCallback | None = None,
    ):
        """Begin or go on.

        Args:
            config: the experiment.
            folder: where checkpoints go.
            batches: the training batches.
            weights: returns the model's weights of this moment.
            on_step: called after every step, for whoever compares runs step by step.
        """
        self.config, self.on_step = config, on_step
        self._images, self._steps = batches.images_per_epoch, len(batches)  # per epoch
        self._weights = weights
        self._best, self._last = Path(folder) / BEST, Path(folder) / LAST
        self.checkpoint = load_checkpoint(self._last, config)
        self.schedule = self.checkpoint.schedule if self.checkpoint else Schedule()
        self.history = self.checkpoint.history if self.checkpoint else History()
        self._meter: EpochMeter | None = None
        self._bar: EpochBar | None = None
        self._begun = time.perf_counter()

    def stages(self) -> Iterator[int]:
        """Yield the stages that still have epochs to run, and enter each."""
        for stage in (HEAD, FINETUNE):
            if stage > self.schedule.stage:
                self.schedule.enter_stage(stage)
                self.checkpoint = None  # its optimizer belonged to the stage before
            if stage == self.schedule.stage and not self.stage_done:
                yield stage

    @property
    def stage_done(self) -> bool:
        return self.schedule.stage_done(self.config)

    @property
    def stage_epochs(self) -> int:
        """How many epochs the stage under way may run."""
        return stage_epochs(self.config, self.schedule.stage)

    def record_cache(self, cache: FeatureCache | None) -> None:
        """Record what the stage under way takes from the feature cache, if anything.

        A resumed stage computes nothing again; its record still says what the first run computed.
        """
        if cache:
            before = self.history.feature_cache.get(str(self.schedule.stage), {})
            after = cache.describe()
            spent = {name: before.get(name, 0) + after[name] for name in ("computed", "seconds")}
            self.history.feature_cache[str(self.schedule.stage)] = after | spent

    def begin_epoch(self) -> None:
        """Start the epoch's clock and its progress bar."""
        schedule = self.schedule
        title = f"stage {schedule.stage} epoch {schedule.stage_epoch + 1}/{self.stage_epochs}"
        self._meter = EpochMeter(self.history)
        self._bar = EpochBar(title, self._images, self._steps)

    def learning_rate(self) -> float:
        """Return the learning rate of the coming step."""
        return self.schedule.learning_rate(self.config, self._meter.steps, self._steps)

    def end_step(self, loss: float, correct: int, images: int) -> None:
        """Record a step: its mean loss, and how many of its images were classified correctly."""
        self._meter.step(loss, correct, images)
        self.schedule.step += 1
        self._bar.advance(images, self._meter.loss, self._meter.accuracy)
        if self.on_step:
            self.on_step(self.schedule.step, loss, self._weights)

    def end_training_pass(self) -> None:
        """Close the progress bar; validation follows."""
        self._bar.close()

    def end_epoch(
        self, val_loss: float, val_accuracy: float, optimizer: dict[str, np.ndarray]
    ) -> None:
        """Record the epoch; write the last checkpoint, and the weights where they are the best."""
        schedule = self.schedule
        rate = schedule.learning_rate(self.config, self._meter.steps - 1, self._steps)
        self._meter.close(val_loss, val_accuracy, rate, schedule.stage)
        improved = schedule.end_epoch(self.config, val_loss)
        weights = self._weights()
        if improved:  # before the last checkpoint: without that, the run repeats this epoch
            write_safetensors(self._best, weights)
        spent = self.history.earlier_seconds + time.perf_counter() - self._begun
        history = dataclasses.replace(self.history, earlier_seconds=spent)
        checkpoint = Checkpoint(weights, optimizer, schedule, history)
        save_checkpoint(self._last, checkpoint, self.config)

    def best_weights(self) -> Weights:
        """Return the weights of the epoch with the smallest validation loss."""
        return load_arrays(self._best)
