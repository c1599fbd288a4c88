"""What executing a notebook costs: minutes, and memory of the kernel and all that it starts."""

import contextlib
import os
import threading
import time

import psutil

EVERY = 0.5  # s between two looks at the memory


class Meter:
    """Within its `with`, watches the processes that this one starts; all must end inside.

    Attributes:
        seconds: how long it took.
        memory_mb: the most that these processes held together at one look, MiB; what they share
            counts once.
        other_cores: how many cores' worth of work all other processes did meanwhile: above zero,
            the time says less.
    """

    def __enter__(self) -> "Meter":
        self.memory_mb = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._started, self._machine, self._own = time.perf_counter(), _machine_work(), _own_work()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self.seconds = time.perf_counter() - self._started
        others = _machine_work() - self._machine - (_own_work() - self._own)
        self.other_cores = max(0.0, others / self.seconds)

    def _watch(self) -> None:
        while not self._done.wait(EVERY):
            self.memory_mb = max(self.memory_mb, held_mb())


def held_mb() -> float:
    """Return the memory that all processes below this one hold now, in MiB.

    All that the largest holds, and of the others what is theirs alone: workers share nearly all of
    their parent's, and libraries are shared by whoever loads them.
    """
    held = {}
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it ended meanwhile
            held[process] = process.memory_info().rss
    largest = max(held, key=held.get, default=None)
    for process in held.keys() - {largest}:  # asking a large one so would slow it down
        with contextlib.suppress(psutil.Error):
            held[process] = process.memory_full_info().uss
    return sum(held.values()) / 2**20


def _machine_work() -> float:
    """Return the CPU seconds that all processes of the machine have worked."""
    times = psutil.cpu_times()
    return times.user + times.system + getattr(times, "nice", 0.0)


def _own_work() -> float:
    """Return the CPU seconds of this process and of those it started that have ended."""
    return sum(os.times()[:4])
