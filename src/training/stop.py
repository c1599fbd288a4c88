"""Ctrl-C and SIGTERM while a run trains: the step under way ends first, and is saved."""

import signal
import threading
import time

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SAME = 2.0  # seconds within which a terminal and a parent process pass on one and the same wish


class StopSignals:
    """A context in which a signal to stop waits for the step under way.

    Outside a training pass, and when it comes again, it raises KeyboardInterrupt at once. Only a
    process's first thread can receive signals: elsewhere nothing changes.

    Attributes:
        waits: whether a step is under way; whoever trains sets it.
        asked: when the first signal came, by `time.perf_counter`; 0 before.
    """

    def __init__(self):
        self.waits, self.asked = False, 0.0
        self._before = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            self._before = {each: signal.signal(each, self._ask) for each in _SIGNALS}
        return self

    def __exit__(self, *_error) -> None:
        for each, handler in self._before.items():
            signal.signal(each, signal.SIG_DFL if handler is None else handler)

    def _ask(self, _number: int, _frame) -> None:
        now = time.perf_counter()
        self.asked = self.asked or now
        if not self.waits or now - self.asked > _SAME:
            raise KeyboardInterrupt
