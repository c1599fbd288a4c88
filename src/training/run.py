"""What fine-tuning does apart from arithmetic: stages, learning rates, records, checkpoints.

Keras's callback and PyTorch's loop both report to a `TrainingRun` and ask it what comes next, so
that no decision is made twice.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import SupportsFloat, SupportsInt

import numpy as np

from src.common.clock import Clock
from src.common.errors import InputError
from src.common.files import sweep
from src.common.progress import EpochBar
from src.config import ExperimentConfig
from src.data.dataset import Dataset
from src.feature_cache.cache import FeatureCache
from src.training.checkpoint import (
    TESTED,
    Checkpoint,
    load_checkpoint,
    read_checked,
    save_checkpoint,
    write_checked,
)
from src.training.history import EpochMeter, History
from src.training.schedule import Schedule, stage_epochs
from src.training.stop import StopSignals
from src.xception.stages import FINETUNE, HEAD
from src.xception.weight_files import Weights, digest

# Called after every step with its number (from 1), its mean loss and a way to get the weights.
StepCallback = Callable[[int, float, Callable[[], Weights]], None]


SAVE_EVERY = 180.0  # seconds between checkpoints within an epoch


class TrainingRun:
    """One run of one twin. Where `folder` holds a checkpoint of it, it goes on from there.

    Attributes:
        batches: the training batches.
        checkpoint: what to restore before the first step; None once it is out of date.
        schedule: where the run is.
        history: what happened so far.
        stop_signals: the context to train in: Ctrl-C and SIGTERM end the run with a checkpoint.

    Raises:
        InputError: the checkpoint is damaged, or belongs to another experiment.
    """

    def __init__(
        self,
        framework: str,
        config: ExperimentConfig,
        folder: Path,
        dataset: Dataset,
        weights: Callable[[], Weights],
        on_step: StepCallback | None = None,
        *,
        replicas: int = 1,
        writes: bool = True,
    ):
        """Begin or go on.

        Args:
            framework: "tf" or "pt".
            config: the experiment.
            folder: where checkpoints go.
            dataset: the images.
            weights: returns the model's weights of this moment; now, those it starts from.
            on_step: called after every step, for whoever compares runs step by step.
            replicas: how many share each batch. A run may go on with another number.
            writes: whether this process writes checkpoints; of several that share a run, one does.
        """
        if replicas > 1:
            check_replicas(config, dataset, replicas)
        self.config, self.on_step, self._writes = config, on_step, writes
        self.stop_signals, self._alone = StopSignals(), replicas == 1
        self.batches = dataset.batches("train", training=True)
        self._sizes = self.batches.sizes
        self._weights = weights
        self._folder = Path(folder)
        self._experiment = config.to_json() | {
            "framework": framework,
            "images": dataset.catalog.fingerprint,
            "images of each part": dataset.parts_fingerprint(),
            "starting weights (or --perturbed)": digest(weights()),
        }
        if writes:
            sweep(self._folder)
        self.checkpoint = load_checkpoint(self._folder, self._experiment)
        self.schedule = self.checkpoint.schedule if self.checkpoint else Schedule()
        self.history = self.checkpoint.history if self.checkpoint else History()
        self._epoch = self.checkpoint.epoch if self.checkpoint else None
        self._unread = []  # loss, correct and images of the steps whose results are on the device
        self._begun = self._saved = time.perf_counter()

    def stages(self) -> Iterator[int]:
        """Yield the stages that still have epochs to run, and enter each."""
        for stage in (HEAD, FINETUNE):
            if stage > self.schedule.stage:
                self.schedule.enter_stage(stage)
                self.history.clock = Clock()
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

    @property
    def steps_done(self) -> int:
        """How many steps of the epoch under way are done."""
        return self._epoch.steps if self._epoch else 0

    def begin_stage(
        self, optimizer_state: Callable[[], dict[str, np.ndarray]], cache: FeatureCache | None
    ) -> None:
        """Get ready for the epochs of a stage.

        `optimizer_state` returns the stage's optimizer's, for checkpoints. `cache` goes into the
        record; a resumed stage computes nothing again, and still says what the first run computed.
        """
        self._optimizer_state = optimizer_state
        if cache:
            before = self.history.feature_cache.get(str(self.schedule.stage), {})
            after = cache.describe()
            spent = {name: before.get(name, 0) + after[name] for name in ("computed", "seconds")}
            self.history.feature_cache[str(self.schedule.stage)] = after | spent

    def begin_epoch(self) -> None:
        """Start the epoch's clock and its progress bar, or go on with an interrupted epoch."""
        schedule = self.schedule
        title = f"stage {schedule.stage} epoch {schedule.stage_epoch + 1}/{self.stage_epochs}"
        self._epoch = self._epoch or EpochMeter()
        done = self._epoch.steps, self._epoch.images
        self._bar = EpochBar(title, self.batches.images_per_epoch, len(self.batches), done=done)
        self.history.clock.start_pass(len(self.batches) - self._epoch.steps)
        self.stop_signals.waits = self._alone  # replicas would wait for one that stopped

    def learning_rate(self) -> float:
        """Return the learning rate of the coming step."""
        return self.schedule.learning_rate(self.config, self._epoch.steps, len(self.batches))

    def end_step(self, loss: SupportsFloat, correct: SupportsInt) -> None:
        """Record a step: its mean loss, and how many of its images were classified correctly.

        Scalars on a device stay there until the clock is due, or somebody asks: to read each
        step's would make a GPU wait for Python.
        """
        images = self._sizes[self._epoch.steps]
        self._unread.append((loss, correct, images))
        self._epoch.steps += 1
        self.schedule.step += 1
        self.history.clock.step(images)
        last = self._epoch.steps == len(self.batches)  # its end is saved with the validation
        due = self.stop_signals.asked or time.perf_counter() - self._saved > SAVE_EVERY
        saves = due and not last
        if saves or self.on_step or self.history.clock.is_due():
            self._read()
        if self.on_step:
            self.on_step(self.schedule.step, self._loss, self._weights)
        if saves:
            self._save(self._epoch.so_far())
            self._stop_if_asked()
            self.history.clock.go_on()

    def end_training_pass(self) -> None:
        """Close the progress bar; validation follows."""
        self._read()
        self._bar.close()
        self.stop_signals.waits = False

    def _read(self) -> None:
        """Take what is unread off the device, and add it in the order of the steps."""
        read = [(float(loss), int(correct), images) for loss, correct, images in self._unread]
        if not read:
            return
        self._unread.clear()
        self.history.clock.end_turn()
        for step, (loss, correct, images) in enumerate(read, self._epoch.steps - len(read)):
            if not math.isfinite(loss):
                self._stop(f"the loss is {loss}", step)
            self._epoch.add(self.history, loss, correct, images)
        self._loss = loss
        images = sum(images for *_, images in read)
        self._bar.advance(images, self._epoch.loss, self._epoch.accuracy, steps=len(read))

    def end_epoch(self, val_loss: float, val_accuracy: float) -> None:
        """Record the epoch; write the model's weights of this moment where they may be tested."""
        if not math.isfinite(val_loss):
            self._stop(f"the validation loss is {val_loss}", self._epoch.steps - 1)
        schedule = self.schedule
        rate = schedule.learning_rate(self.config, self._epoch.steps - 1, len(self.batches))
        self.history.end_epoch(self._epoch, val_loss, val_accuracy, rate, schedule.stage)
        self._epoch = None
        if schedule.end_epoch(self.config, val_loss) and self._writes:
            # Before the checkpoint: a run killed between the two repeats the end of this epoch.
            write_checked(self._folder / TESTED, self._weights(), {})

    def save(self) -> None:
        """Write the last checkpoint, with the weights that the next epoch starts from."""
        self._save(None)
        self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        if self.stop_signals.asked:
            self._bar.close()
            raise KeyboardInterrupt

    def tested_weights(self) -> Weights:
        """Return the weights to test: of the epoch that `Schedule.end_epoch` chose."""
        return read_checked(self._folder / TESTED)[0]

    def _stop(self, what: str, step: int) -> None:
        """Stop a run that diverged; its last checkpoints are from before.

        Args:
            what: is not finite.
            step: of the epoch, from 0, whose images were the last.
        Raises:
            InputError: always; says where it was and what to try.
        """
        self._bar.close()
        schedule, stage = self.schedule, "head" if self.schedule.stage == HEAD else "finetune"
        rate = schedule.learning_rate(self.config, step, len(self.batches))
        indices, _, _ = self.batches.sample_indices(schedule.epoch, step)
        paths = self.batches.paths[indices].tolist()
        more = f" and {len(paths) - 16} more" if len(paths) > 16 else ""
        raise InputError(
            f"Training diverged: {what} at step {step + 1} of {len(self.batches)} in stage "
            f"{schedule.stage}, epoch {schedule.stage_epoch + 1}, at the learning rate {rate:g}. "
            f"Try a lower --{stage}-learning-rate, or --clip-norm 1, with another --out; "
            f"{self._folder} keeps the checkpoint from before, if there was one. Images of that "
            f"step: {', '.join(paths[:16])}{more}."
        )

    def _save(self, epoch: EpochMeter | None) -> None:
        self._saved = time.perf_counter()
        if not self._writes:
            return
        spent = self.history.earlier_seconds + time.perf_counter() - self._begun
        history = dataclasses.replace(self.history, earlier_seconds=spent)
        weights, optimizer = self._weights(), self._optimizer_state()
        if epoch and not all(np.isfinite(array).all() for array in weights.values()):
            self._stop("the weights are not finite", epoch.steps - 1)
        checkpoint = Checkpoint(weights, optimizer, self.schedule, history, epoch)
        save_checkpoint(self._folder, checkpoint, self._experiment)
        self._saved = time.perf_counter()


def check_replicas(config: ExperimentConfig, dataset: Dataset, replicas: int) -> None:
    """Refuse what several replicas would not train as one does.

    Raises:
        InputError: a framework's default is restored, or a batch leaves a replica without images.
    """
    if config.restore_defaults:
        raise InputError(
            "Several replicas train as one only where the twins are exact. Leave out "
            f"--restore-defaults {' '.join(config.restore_defaults)}, or train with one replica."
        )
    for part in ("train", "val"):
        for images in dataset.batches(part, training=part == "train").sizes:
            if images <= (replicas - 1) * -(-images // replicas):  # ceil(images / replicas) each
                raise InputError(
                    f"{replicas} replicas cannot share a batch of {images} images, which the part "
                    f"{part} has at a batch size of {config.batch_size}. Choose another number of "
                    "replicas, or another --batch-size."
                )
