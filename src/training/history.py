"""What happened in a run, written down the same way by both twins."""

import dataclasses
import time
from dataclasses import dataclass, field

FIRST_STEPS = 20  # step losses kept from the start of a run, where twins can still be compared
WARM_UP = 2  # steps of each epoch left out of the speed: tracing, memory, first touches of files


@dataclass
class History:
    """Per-epoch curves, and the first `FIRST_STEPS` step losses.

    Losses are means over images, in nats, weights and label smoothing included; `rate` holds the
    last learning rate of each epoch.
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_accuracy: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    stage: list[int] = field(default_factory=list)
    epoch_seconds: list[float] = field(default_factory=list)
    step_loss: list[float] = field(default_factory=list)
    # By stage; see `FeatureCache.describe`.
    feature_cache: dict[str, dict] = field(default_factory=dict)
    timed_images: int = 0
    timed_seconds: float = 0.0
    earlier_seconds: float = 0.0  # of processes before this one, up to their last checkpoint

    def images_per_second(self) -> float:
        """Return the training speed without warm-up and validation; 0 if nothing was timed."""
        return self.timed_images / self.timed_seconds if self.timed_seconds else 0.0

    def curves(self) -> dict[str, list]:
        """Return the lists, which a record shows; the timing totals are left out."""
        fields = dataclasses.asdict(self)
        return {name: value for name, value in fields.items() if isinstance(value, list)}


class EpochMeter:
    """Running means over one epoch, and its clock."""

    def __init__(self, history: History):
        self.history = history
        self.images = self.steps = 0
        self._loss_sum = self._correct = 0.0
        self._started = self._last = time.perf_counter()

    @property
    def loss(self) -> float:
        return self._loss_sum / self.images

    @property
    def accuracy(self) -> float:
        return self._correct / self.images

    def step(self, loss: float, correct: float, images: int) -> None:
        """Add one step's mean `loss` and its number of `correct` images."""
        now = time.perf_counter()
        self.steps += 1
        if self.steps > WARM_UP:
            self.history.timed_images += images
            self.history.timed_seconds += now - self._last
        self._last = now
        self.images += images
        self._loss_sum += loss * images
        self._correct += correct
        if len(self.history.step_loss) < FIRST_STEPS:
            self.history.step_loss.append(loss)

    def close(self, val_loss: float, val_accuracy: float, rate: float, stage: int) -> None:
        """Write the epoch into the history."""
        self.history.loss.append(self.loss)
        self.history.accuracy.append(self.accuracy)
        self.history.val_loss.append(val_loss)
        self.history.val_accuracy.append(val_accuracy)
        self.history.rate.append(rate)
        self.history.stage.append(stage)
        self.history.epoch_seconds.append(time.perf_counter() - self._started)
