"""Rates, patience and the epoch to test, against values worked out by hand."""

import numpy as np

from src.config import preset
from src.training.schedule import Schedule
from src.xception.stages import FINETUNE, HEAD


def in_stage(stage: int) -> Schedule:
    schedule = Schedule()
    schedule.enter_stage(stage)
    return schedule


def test_cosine_falls_from_the_rate_to_zero_over_a_stage():
    config = preset(
        "quick", schedule="cosine", warmup_epochs=0.0, finetune_epochs=2, finetune_learning_rate=0.5
    )
    schedule = in_stage(FINETUNE)
    first = [schedule.learning_rate(config, step, 2) for step in range(2)]
    schedule.end_epoch(config, 1.0)
    second = [schedule.learning_rate(config, step, 2) for step in range(2)]
    quarter = np.cos(np.pi / 4)
    expected = [0.5, 0.25 * (1 + quarter), 0.25, 0.25 * (1 - quarter)]
    assert first + second == [float(np.float32(rate)) for rate in expected]


def rates(config, stage: int, steps_per_epoch: int) -> list[float]:
    """Return the rates of all steps of a stage."""
    schedule, found = in_stage(stage), []
    while not schedule.stage_done(config):
        steps = range(steps_per_epoch)
        found += [schedule.learning_rate(config, step, steps_per_epoch) for step in steps]
        schedule.end_epoch(config, 1.0)
    return found


def test_warm_up_rises_to_the_rate_and_cosine_falls_from_it_to_zero():
    """Six steps: three rise, of which the last has the whole rate; three fall by a half cosine."""
    config = preset(
        "quick", schedule="cosine", warmup_epochs=1.5, finetune_epochs=3,
        finetune_learning_rate=0.75, head_epochs=1, head_learning_rate=0.5, patience=0,
    )  # fmt: skip
    expected = [0.25, 0.5, 0.75, 0.75, 0.75 * 0.75, 0.75 * 0.25]
    assert rates(config, FINETUNE, 2) == [float(np.float32(rate)) for rate in expected]
    assert rates(config, HEAD, 2) == [0.5, 0.25]  # stage 1 has none


def test_other_schedules_follow_the_warm_up_too():
    config = preset(
        "quick", schedule="constant", warmup_epochs=1.0, finetune_epochs=2,
        finetune_learning_rate=0.5,
    )  # fmt: skip
    assert rates(config, FINETUNE, 2) == [0.25, 0.5, 0.5, 0.5]


def test_constant_rate_belongs_to_the_stage():
    config = preset(
        "quick", schedule="constant", head_learning_rate=0.25, finetune_learning_rate=0.125
    )
    assert in_stage(HEAD).learning_rate(config, 3, 10) == 0.25
    assert in_stage(FINETUNE).learning_rate(config, 3, 10) == 0.125


def test_plateau_halves_after_more_than_its_patience():
    config = preset(
        "quick",
        schedule="plateau",
        plateau_patience=1,
        finetune_learning_rate=1.0,
        finetune_epochs=9,
    )
    schedule = in_stage(FINETUNE)
    rates = []
    for val_loss in (1.0, 1.0, 1.0, 0.5, 0.6, 0.7):
        schedule.end_epoch(config, val_loss)
        rates.append(schedule.learning_rate(config, 0, 1))
    assert rates == [1.0, 1.0, 0.5, 0.5, 0.5, 0.25]


def test_early_stopping_waits_its_patience_in_stage_2_only():
    config = preset("quick", patience=2, head_epochs=9, finetune_epochs=9)
    for stage, expected in ((HEAD, [False] * 4), (FINETUNE, [False, False, True, True])):
        schedule = in_stage(stage)
        done = []
        for val_loss in (1.0, 1.1, 1.2, 1.3):
            schedule.end_epoch(config, val_loss)
            done.append(schedule.stage_done(config))
        assert done == expected


def test_the_best_epoch_counts_over_both_stages():
    config = preset("quick", patience=3)
    schedule = Schedule()
    assert schedule.end_epoch(config, 0.5)
    schedule.enter_stage(FINETUNE)
    assert not schedule.end_epoch(config, 0.6)
    assert schedule.end_epoch(config, 0.4)
    assert (schedule.tested_epoch, schedule.best_val_loss, schedule.epoch) == (3, 0.4, 3)


def test_without_early_stopping_the_last_epoch_is_tested():
    config, schedule = preset("quick", patience=0), in_stage(FINETUNE)
    assert [schedule.end_epoch(config, loss) for loss in (0.5, 0.6)] == [True, True]
    assert schedule.tested_epoch == 2
