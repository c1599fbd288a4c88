"""The one progress bar: epoch, step, loss, accuracy, images per second, time left."""

import contextlib
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TextIO

from tqdm import tqdm

_HIDDEN = ContextVar("hidden", default=False)


@contextlib.contextmanager
def no_bars() -> Iterator[None]:
    """Show no `EpochBar` within: who computes in many small steps has a bar of its own."""
    token = _HIDDEN.set(True)
    try:
        yield
    finally:
        _HIDDEN.reset(token)


def progress_stream() -> TextIO:
    """Return where progress and remarks go: stderr, so that what is piped stays clean.

    In a notebook stdout: there stderr is shown as trouble.
    """
    return sys.stdout if _in_notebook() else sys.stderr


def interval(watched: float, logged: float) -> float:
    """Return every how many seconds a bar is drawn: where a person watches, and in a log file."""
    return watched if _in_notebook() or sys.stderr.isatty() else logged


class EpochBar(tqdm):
    """A bar over one epoch's images; tqdm itself adds images per second and the time left."""

    def __init__(self, title: str, images: int, steps: int, *, done: tuple[int, int] = (0, 0)):
        """Begin at 0, or where a run goes on: `done` steps, images."""
        super().__init__(
            total=images,
            initial=done[1],
            desc=title,
            unit="img",
            mininterval=interval(0.2, 15),
            dynamic_ncols=True,
            file=progress_stream(),
            disable=_HIDDEN.get(),
        )
        self.step, self.steps = done[0], steps

    def advance(
        self,
        images: int,
        loss: float | None = None,
        accuracy: float | None = None,
        *,
        steps: int = 1,
    ) -> None:
        """Count `steps` of `images` together; show the epoch's mean loss and accuracy so far."""
        self.step += steps
        text = f"step {self.step}/{self.steps}"
        if loss is not None:
            text += f", loss {loss:.4f}, accuracy {accuracy:.3f}"
        self.set_postfix_str(text, refresh=False)
        self.update(images)


def _in_notebook() -> bool:
    return type(sys.stdout).__module__.startswith("ipykernel")
