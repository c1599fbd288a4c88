"""Learning rates, early stopping and the epoch to test: decided once, for both twins.

Keras's and PyTorch's schedulers count patience, compare losses and round rates differently.
"""

import math
from dataclasses import dataclass

import numpy as np

from src.config import ExperimentConfig
from src.xception.stages import FINETUNE, HEAD


@dataclass
class Schedule:
    """What a run has seen so far; from it follow the next learning rate and when to stop.

    Every field is a plain number, so a checkpoint can hold them all.
    """

    stage: int = HEAD
    step: int = 0  # steps finished, over both stages
    epoch: int = 0  # epochs finished, over both stages
    stage_epoch: int = 0  # epochs finished in this stage
    tested_epoch: int = 0  # whose weights are tested, 1-based; 0 before the first
    best_val_loss: float = math.inf  # over both stages
    stage_best: float = math.inf
    waited: int = 0  # epochs of this stage since `stage_best`
    plateau_waited: int = 0
    plateau_scale: float = 1.0

    def enter_stage(self, stage: int) -> None:
        """Begin `stage` with fresh patience; the best epoch so far stays the best."""
        self.stage, self.stage_epoch = stage, 0
        self.stage_best, self.waited = math.inf, 0
        self.plateau_waited, self.plateau_scale = 0, 1.0

    def learning_rate(self, config: ExperimentConfig, step: int, steps_per_epoch: int) -> float:
        """Return the learning rate of `step` (from 0) of the epoch under way.

        It rises linearly over the first `warmup_epochs` of stage 2 and then follows the schedule.
        Source: Goyal et al. 2017, arXiv:1706.02677, section 2.2.

        Rounded to float32 for both, since a Keras optimizer holds its rate as one.
        """
        rate = config.head_learning_rate if self.stage == HEAD else config.finetune_learning_rate
        warmup = config.warmup_epochs if self.stage == FINETUNE else 0.0
        done, total = self.stage_epoch + step / steps_per_epoch, stage_epochs(config, self.stage)
        if config.schedule == "plateau":
            rate *= self.plateau_scale
        if done < warmup:
            rate *= min((done + 1 / steps_per_epoch) / warmup, 1)
        elif config.schedule == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * (done - warmup) / (total - warmup)))
        return float(np.float32(rate))

    def end_epoch(self, config: ExperimentConfig, val_loss: float) -> bool:
        """Count an epoch with its `val_loss`; return whether its weights are those to test.

        They are while it is the best so far, over both stages; without early stopping
        (`patience` 0) always, so that validation images choose nothing.
        """
        self.epoch += 1
        self.stage_epoch += 1
        if val_loss < self.stage_best:
            self.stage_best, self.waited, self.plateau_waited = val_loss, 0, 0
        else:
            self.waited += 1
            self.plateau_waited += 1
        if config.schedule == "plateau" and self.plateau_waited > config.plateau_patience:
            self.plateau_scale *= config.plateau_factor
            self.plateau_waited = 0
        tested = not config.patience or val_loss < self.best_val_loss or not self.tested_epoch
        if tested:
            self.tested_epoch = self.epoch
        self.best_val_loss = min(val_loss, self.best_val_loss)
        return tested

    def stage_done(self, config: ExperimentConfig) -> bool:
        """Return whether this stage has run its epochs, or has waited long enough."""
        out_of_patience = self.stage == FINETUNE and 0 < config.patience <= self.waited
        return out_of_patience or self.stage_epoch >= stage_epochs(config, self.stage)


def stage_epochs(config: ExperimentConfig, stage: int) -> int:
    """Return how many epochs `stage` may run."""
    return config.head_epochs if stage == HEAD else config.finetune_epochs
