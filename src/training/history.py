"""What happened in a run, written down the same way by both twins."""

import dataclasses
import time
from dataclasses import dataclass, field, replace

from src.common.clock import Clock

FIRST_STEPS = 20  # step losses kept from the start of a run, where twins can still be compared


@dataclass
class History:
    """Per-epoch curves, and the first `FIRST_STEPS` step losses.

    Losses are means over images, in nats, weights and label smoothing included; `rate` holds the
    last learning rate of each epoch, `clock` the speed of the last stage.
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
    clock: Clock = field(default_factory=Clock)
    earlier_seconds: float = 0.0  # of processes before this one, up to their last checkpoint

    @classmethod
    def from_json(cls, saved: dict) -> "History":
        """Return what `dataclasses.asdict` saved; of older versions, what is known today."""
        known = {
            spec.name: saved[spec.name] for spec in dataclasses.fields(cls) if spec.name in saved
        }
        return cls(**known | {"clock": Clock(**saved.get("clock", {}))})

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
        """Return the lists, which a record shows; `clock` has its own place there."""
        fields = dataclasses.asdict(self)
        return {name: value for name, value in fields.items() if isinstance(value, list)}


@dataclass
class EpochMeter:
    """The epoch under way: its steps, sums over those read, its time. A checkpoint can hold it."""

    steps: int = 0
    images: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    seconds: float = 0.0  # in processes before this one

    def __post_init__(self):
        self._started = time.perf_counter()

    @property
    def loss(self) -> float:
        return self.loss_sum / self.images

    @property
    def accuracy(self) -> float:
        return self.correct / self.images

    def add(self, history: History, loss: float, correct: int, images: int) -> None:
        """Add a step's results: its mean `loss`, how many of its `images` are `correct`."""
        self.images += images
        self.loss_sum += loss * images
        self.correct += correct
        if len(history.step_loss) < FIRST_STEPS:
            history.step_loss.append(loss)

    def so_far(self) -> "EpochMeter":
        """Return a copy that another process can go on with."""
        return replace(self, seconds=self.total_seconds())

    def total_seconds(self) -> float:
        return self.seconds + time.perf_counter() - self._started
