"""What happened in a run, written down the same way by both twins."""

import dataclasses
import time
from dataclasses import dataclass, field, replace

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

    def end_epoch(
        self, epoch: "EpochMeter", val_loss: float, val_accuracy: float, rate: float, stage: int
    ) -> None:
        """Add a finished epoch to the curves."""
        self.loss.append(epoch.loss)
        self.accuracy.append(epoch.accuracy)
        self.val_loss.append(val_loss)
        self.val_accuracy.append(val_accuracy)
        self.rate.append(rate)
        self.stage.append(stage)
        self.epoch_seconds.append(epoch.total_seconds())

    def curves(self) -> dict[str, list]:
        """Return the lists, which a record shows; the timing totals are left out."""
        fields = dataclasses.asdict(self)
        return {name: value for name, value in fields.items() if isinstance(value, list)}


@dataclass
class EpochMeter:
    """The epoch under way: sums over its steps, and its clock. A checkpoint can hold it."""

    steps: int = 0
    images: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    seconds: float = 0.0  # in processes before this one

    def __post_init__(self):
        self._started = self._last = time.perf_counter()
        self._warm = self.steps + WARM_UP

    @property
    def loss(self) -> float:
        return self.loss_sum / self.images

    @property
    def accuracy(self) -> float:
        return self.correct / self.images

    def step(self, history: History, loss: float, correct: int, images: int) -> None:
        """Add one step: its mean `loss`, and how many of its `images` are `correct`."""
        now = time.perf_counter()
        self.steps += 1
        if self.steps > self._warm:
            history.timed_images += images
            history.timed_seconds += now - self._last
        self.images += images
        self.loss_sum += loss * images
        self.correct += correct
        if len(history.step_loss) < FIRST_STEPS:
            history.step_loss.append(loss)
        self.start_step()

    def start_step(self) -> None:
        """Leave what has passed since the last step out of the speed."""
        self._last = time.perf_counter()

    def so_far(self) -> "EpochMeter":
        """Return a copy that another process can go on with."""
        return replace(self, seconds=self.total_seconds())

    def total_seconds(self) -> float:
        return self.seconds + time.perf_counter() - self._started
