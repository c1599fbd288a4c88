"""The one rule for every speed that is recorded or shown: steady steps, and the first one apart.

The first steps of a pass trace or compile, start workers and touch files for the first time; the
last one may be smaller. They are no part of a speed. A GPU answers later than it is asked, so what
is timed is a turn: the steps between two moments at which all results had been read off the device.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

WARM_UP = 2  # steps at the beginning of each pass, timed one by one and left out
TURN = 0.2  # seconds that a turn takes at least, or one step; a watched bar is drawn as often
FEWEST = 10  # turns that make a speed; with fewer there is none
_PASSES = 5  # over a small set, at most


@dataclass
class Clock:
    """Times the steps of passes over images. A checkpoint can hold it.

    Attributes:
        turns: [images, seconds] of each turn.
        first_step_seconds: the longest first step of a pass, tracing or compiling included.
        views: forward passes that each image takes; they are timed one by one.
    """

    turns: list[list[float]] = field(default_factory=list)
    first_step_seconds: float = 0.0
    views: int = 1

    def start_pass(self, steps: int) -> None:
        """Begin a pass over the images in so many `steps`."""
        self._steps, self._left = 0, steps
        self.go_on()

    def go_on(self) -> None:
        """Leave out what has passed since the last turn."""
        self._images, self._last = 0, time.perf_counter()

    def step(self, images: int) -> None:
        """Count a step of so many `images`, whose results may not have been read yet."""
        self._steps += 1
        self._left -= 1
        self._images += images

    def is_due(self) -> bool:
        """Return whether it is time to read the device's results and to end the turn."""
        return self._steps <= WARM_UP or time.perf_counter() - self._last >= TURN

    def end_turn(self) -> None:
        """Time the steps since the last turn; their results have been read."""
        seconds = time.perf_counter() - self._last
        if self._steps == 1:
            self.first_step_seconds = max(self.first_step_seconds, seconds)
        elif self._steps > WARM_UP and self._left:
            self.turns.append([self._images, seconds])
        self.go_on()

    def passes_left(self) -> int:
        """Return how many more passes a small set needs for a speed; 0 if it is too small for one.

        To be asked after the first pass.
        """
        missing = math.ceil(FEWEST / len(self.turns)) - 1 if self.turns else 0
        return missing if missing < _PASSES else 0

    def speed(self) -> dict[str, float | int | None]:
        """Return `images_per_second`, the median of the turns, and what else a record shows of it.

        `low` and `high` are the 5th and 95th percentile, `turns` their number. Without enough turns
        all three are None. `first_step_seconds` stands apart.
        """
        shown = {"images_per_second": None, "low": None, "high": None}
        if len(self.turns) >= FEWEST:
            rates = [images / self.views / seconds for images, seconds in self.turns]
            shown = dict(zip(shown, np.quantile(rates, (0.5, 0.05, 0.95)).tolist()))
        return shown | {"turns": len(self.turns), "first_step_seconds": self.first_step_seconds}


def spread(values: Sequence[float], name: str = "value") -> dict[str, float]:
    """Return the median of a few `values` as `name`, and their range as `low` and `high`."""
    return {name: float(np.median(values)), "low": min(values), "high": max(values)}
