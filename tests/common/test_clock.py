"""Speeds are of steady steps alone, whatever the first ones took and whenever a device answers."""

import pytest

from src.common import clock as clocks
from src.common.clock import FEWEST, Clock


@pytest.fixture
def sleep(monkeypatch):
    """Return a function that lets the clock's time pass."""
    now = [100.0]
    monkeypatch.setattr(clocks.time, "perf_counter", lambda: now[0])

    def pass_by(seconds):
        now[0] += seconds

    return pass_by


def take(clock, sleep, seconds, images=8):
    """Take a pass of steps of so many `seconds`, each read at once."""
    clock.start_pass(len(seconds))
    for each in seconds:
        sleep(each)
        clock.step(images)
        clock.end_turn()


def test_tracing_and_the_last_smaller_batch_are_no_part_of_a_speed(sleep):
    clock = Clock()
    take(clock, sleep, [30.0, 5.0, *[0.25] * 20, 90.0])
    speed = clock.speed()
    assert (speed["low"], speed["images_per_second"], speed["high"]) == (32, 32, 32)
    assert speed["turns"] == 20 and speed["first_step_seconds"] == 30


def test_median_and_range_leave_single_disturbed_turns_out(sleep):
    clock = Clock()
    take(clock, sleep, [1, 1, *[0.5] * 10, *[0.25] * 28, *[0.2] * 10, 40.0, 1])
    speed = clock.speed()
    assert speed["images_per_second"] == 32
    assert (speed["low"], speed["high"]) == pytest.approx((16, 40))


def test_a_device_that_answers_late_is_timed_from_answer_to_answer(sleep):
    """Each step takes 1 ms to ask for and 20 ms to compute."""
    clock, asked = Clock(), 0
    clock.start_pass(5000)
    for _ in range(5000):
        sleep(0.001)
        asked += 1
        clock.step(8)
        if clock.is_due():
            sleep(asked * 0.019)  # until all is computed
            clock.end_turn()
            asked = 0
    speed = clock.speed()
    assert speed["turns"] < 100, "reads at nearly every step"
    assert speed["images_per_second"] == pytest.approx(8 / 0.020)


@pytest.mark.parametrize("steps, more", [(4, 0), (5, 4), (9, 1), (12, 1), (13, 0), (100, 0)])
def test_a_small_set_is_repeated_or_has_no_speed(steps, more, sleep):
    clock = Clock()
    take(clock, sleep, [0.25] * steps)
    assert clock.passes_left() == more
    assert (clock.speed()["images_per_second"] is None) == (len(clock.turns) < FEWEST)
    for _ in range(more):
        take(clock, sleep, [0.25] * steps)
    assert clock.speed()["images_per_second"] == (32 if steps > 4 else None)


def test_an_image_seen_twice_is_one_image(sleep):
    clock = Clock(views=2)
    take(clock, sleep, [0.25] * 20)
    assert clock.speed()["images_per_second"] == 16


def test_what_is_no_step_is_left_out(sleep):
    clock = Clock()
    clock.start_pass(20)
    for _ in range(20):
        sleep(0.25)
        clock.step(8)
        clock.end_turn()
        sleep(7.0)  # writes a checkpoint
        clock.go_on()
    assert clock.speed()["images_per_second"] == 32
