"""What fine-tuning does apart from arithmetic: stages, rates, records, checkpoints.

Keras's callback and PyTorch's loop both tell a `TrainingRun` what happened and ask it what comes
next, so that no decision is made twice.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from src.common.progress import EpochBar
from src.config import ExperimentConfig
from src.feature_cache.cache import FeatureCache
from src.training.checkpoint import BEST, LAST, Arrays, Checkpoint, load_checkpoint, save_checkpoint
from src.training.history import EpochMeter, History
from src.training.schedule import Schedule, stage_epochs
from src.xception.stages import FINETUNE, HEAD
from src.xception.weight_files import load_arrays, write_safetensors

# Called after every step with its number (from 1), its mean loss and a way to get the weights.
StepCallback = Callable[[int, float, Callable[[], Arrays]], None]


class TrainingRun:
    """One run of one twin. Where `folder` holds a checkpoint of it, it goes on from there.

    Raises:
        InputError: the checkpoint is damaged, or belongs to another experiment.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        folder: Path,
        images: int,
        steps: int,
        on_step: StepCallback | None = None,
    ):
        """Begin or go on.

        Args:
            config: the experiment.
            folder: where checkpoints go.
            images: training images an epoch.
            steps: training steps an epoch.
            on_step: called after every step, to compare runs step by step.
        """
        self.config, self.images, self.steps, self.on_step = config, images, steps, on_step
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
        """Keep for the record what the stage under way takes from the feature cache, if anything.

        A resumed stage computes nothing anew; its record still says what the first run computed.
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
        self._bar = EpochBar(title, self.images, self.steps)

    def learning_rate(self) -> float:
        """Return the learning rate of the coming step."""
        return self.schedule.learning_rate(self.config, self._meter.steps, self.steps)

    def end_step(
        self, loss: float, correct: float, images: int, weights: Callable[[], Arrays]
    ) -> None:
        """Take note of a step: its mean loss, and how many of its images were right."""
        self._meter.step(loss, correct, images)
        self.schedule.step += 1
        self._bar.advance(images, self._meter.loss, self._meter.accuracy)
        if self.on_step:
            self.on_step(self.schedule.step, loss, weights)

    def end_training_pass(self) -> None:
        """Close the progress bar; validation follows."""
        self._bar.close()

    def end_epoch(
        self, val_loss: float, val_accuracy: float, weights: Arrays, optimizer: Arrays
    ) -> None:
        """Record the epoch, and write the last checkpoint, and the best if this is it."""
        schedule = self.schedule
        rate = schedule.learning_rate(self.config, self._meter.steps - 1, self.steps)
        self._meter.close(val_loss, val_accuracy, rate, schedule.stage)
        improved = schedule.end_epoch(self.config, val_loss)
        if improved:  # before the last: were it lost, the run would begin this epoch again
            write_safetensors(self._best, weights)
        spent = self.history.earlier_seconds + time.perf_counter() - self._begun
        history = dataclasses.replace(self.history, earlier_seconds=spent)
        checkpoint = Checkpoint(weights, optimizer, schedule, history)
        save_checkpoint(self._last, checkpoint, self.config)

    def best_weights(self) -> Arrays:
        """Return the weights of the epoch with the smallest validation loss."""
        return load_arrays(self._best)
