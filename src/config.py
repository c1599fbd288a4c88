"""`ExperimentConfig`: everything that decides an experiment, the same for both twins."""

import dataclasses
import math
import typing
from dataclasses import dataclass, field
from pathlib import Path

from src.common.errors import InputError
from src.common.renamed import FIELDS
from src.differences import RESTORABLE

# The classes of the Kaggle merge; a folder may have others. Column k of every probability table is
# the class `config.classes[k]`.
CLASS_NAMES = ("glioma", "meningioma", "notumor", "pituitary")
NO_TUMOUR = "notumor"
FRAMEWORKS = {"tf": "TensorFlow", "pt": "PyTorch"}  # the twins
MOST_CLASSES = 100  # more are a mistake, such as one folder for each patient
BLOCK_NAMES = tuple(f"block{number}" for number in range(1, 15))
SMALLEST_IMAGE = 71  # px; keras.applications.Xception takes none smaller

SPLITS = ("clean", "official", "patient")
CHOICES = {
    "optimizer": ("adam", "adamw", "sgd"),
    "schedule": ("constant", "cosine", "plateau"),
    "balance": ("none", "class_weights", "sampling"),
    "augment": ("none", "standard"),
    "batch_norm": ("frozen", "update"),
    "unfreeze_from": BLOCK_NAMES,
    "precision": ("float32", "bfloat16", "float16", "float64"),
}
# The least and the most of whole numbers; of those not named any from 0 on are allowed.
_LIMITS = {
    "image_size": (SMALLEST_IMAGE, 1024),
    "batch_size": (1, 4096),
    "cached_views": (1, 1024),
    "fold": (-1, 5),
}
_TYPES = {
    int: "a whole number",
    float: "a finite number",
    bool: "true or false",
    str: "a text",
    tuple: "a list of names",
}


def _option(default, why: str, unit: str = ""):
    return field(default=default, metadata={"unit": unit, "why": why})


@dataclass(frozen=True)
class ExperimentConfig:
    """One experiment. `PRESETS` and `src.results.grid` hold recipes.

    The defaults stay as they are: a record that lacks a field was made with its default.

    Raises:
        InputError: a field makes no sense; the message names the field and the value.
    """

    # --- the images -----------------------------------------------------------------------------
    classes: tuple[str, ...] = _option(
        CLASS_NAMES, "in the order of the probabilities; the default stands for the folder's own"
    )
    image_size: int = _option(299, "side of the square image; Xception was trained at 299", "px")
    split: str = _option(
        "clean", "which images train and test: clean, official, patient, or a .csv of `data split`"
    )
    fold: int = _option(
        -1, "the fold that tests, 0 to 4; 5 is the selection part; -1 takes the split's own parts"
    )
    val_fraction: float = _option(
        0.1, "held out to choose the best epoch, where no file says which", "share of training"
    )
    augment: str = _option("standard", "random flip, rotation, shift, zoom, brightness, contrast")
    augment_strength: float = _option(
        1.0, "`standard`: on all its amounts (src/data/augment.py); 0 leaves the flips", "factor"
    )
    augment_gamma: float = _option(
        0.0,
        "`standard`: on gray levels, either way; 0.3 is TorchIO's, arXiv:2003.04696",
        "log of the exponent",
    )
    cutout: float = _option(
        0.0, "`standard`: covered by a square anywhere; arXiv:1708.04552", "share of the area"
    )
    balance: str = _option("class_weights", "how unequal class counts are compensated")
    batch_size: int = _option(16, "per update; 16 fit a laptop's memory at 299 px", "images")
    max_images_per_epoch: int = _option(0, "a new sample for each epoch; 0 takes all", "images")
    # --- the network ----------------------------------------------------------------------------
    init: str = _option(
        "imagenet",
        "initial weights: imagenet, scratch, pretrained (the shipped model's), or a weights file",
    )
    allow_seen_test: bool = _option(
        False, "`init=pretrained`: test on images that the shipped model has seen; marks the record"
    )
    reinit: tuple[str, ...] = _option(
        (), "initialised randomly, block1 to block14; a partial weights file lacks them", "blocks"
    )
    hidden_units: int = _option(0, "of a hidden layer in the head; 0 for none", "units")
    dropout: float = _option(0.3, "on the pooled features", "probability")
    batch_norm: str = _option("frozen", "whether unfrozen blocks update their moving statistics")
    unfreeze_from: str = _option("block13", "the first block that stage 2 trains")
    # --- the training ---------------------------------------------------------------------------
    seed: int = _option(0, "of random weights, image order, augmentation and dropout")
    head_epochs: int = _option(3, "stage 1: the head alone", "epochs")
    finetune_epochs: int = _option(12, "stage 2: the head and the unfrozen blocks", "epochs")
    head_learning_rate: float = _option(
        1e-3, "stage 1: a new head tolerates a high one", "learning rate"
    )
    finetune_learning_rate: float = _option(
        1e-4, "stage 2: low, to keep ImageNet features", "learning rate"
    )
    schedule: str = _option("cosine", "how the learning rate changes within a stage")
    warmup_epochs: float = _option(
        0.0, "stage 2: the learning rate first rises linearly; arXiv:1706.02677", "epochs"
    )
    layer_decay: float = _option(
        1.0, "factor on the learning rate per block, from the head down; arXiv:1801.06146"
    )
    plateau_factor: float = _option(0.5, "`plateau`: factor on the learning rate")
    plateau_patience: int = _option(2, "`plateau`: without a lower val_loss", "epochs")
    optimizer: str = _option("adam", "the update rule")
    momentum: float = _option(0.9, "SGD")
    beta_1: float = _option(0.9, "Adam: decay of the mean gradient")
    beta_2: float = _option(0.999, "Adam: decay of the mean squared gradient")
    adam_epsilon: float = _option(1e-7, "Adam: added as Keras does (epsilon hat)")
    weight_decay: float = _option(0.0, "decoupled; not on BatchNorm or biases", "per learning rate")
    clip_norm: float = _option(0.0, "the gradient is clipped to it; 0 never clips", "global norm")
    label_smoothing: float = _option(0.0, "distributed over all classes", "probability")
    ema_decay: float = _option(
        0.0,
        "share of the weights' moving average kept per step; 0: none; doi:10.1137/0330046",
    )
    patience: int = _option(5, "early stopping in stage 2; 0 never stops", "epochs")
    bn_momentum: float = _option(0.99, "share of the moving statistics kept per step; as in Keras")
    bn_epsilon: float = _option(1e-3, "added to the variance; as in Keras")
    # --- the prediction -------------------------------------------------------------------------
    test_size: int = _option(
        0, "side of validation and test images; 0 for image_size; arXiv:1906.06423", "px"
    )
    flip_average: bool = _option(
        False, "probabilities are the mean over the image and its mirror image; not in validation"
    )
    # --- the machine ----------------------------------------------------------------------------
    feature_cache: bool = _option(
        False, "compute frozen blocks once per image and keep the outputs"
    )
    cached_views: int = _option(4, "augmented versions of each image under feature_cache", "views")
    precision: str = _option(
        "float32", "float64 proves parity; bfloat16, or float16 on a GPU, is fast"
    )
    restore_defaults: tuple[str, ...] = _option(
        (),
        "framework defaults to restore (src/differences.py); without any, the exact twin",
        "names",
    )

    def __post_init__(self):
        for spec in dataclasses.fields(self):
            value = _typed(spec, getattr(self, spec.name))
            object.__setattr__(self, spec.name, value)
            if spec.type is int:
                low, high = _LIMITS.get(spec.name, (0, 2**31 - 1))
                self._require(spec.name, low <= value <= high, f"{low} to {high}")
        low, high = _LIMITS["image_size"]
        fits = self.test_size == 0 or low <= self.test_size <= high
        self._require("test_size", fits, f"0, or {low} to {high}")
        for name, allowed in CHOICES.items():
            self._require(name, getattr(self, name) in allowed, f"one of {', '.join(allowed)}")
        count, different = len(self.classes), {name.lower() for name in self.classes}
        good = 2 <= count == len(different) <= MOST_CLASSES and all(map(is_name, self.classes))
        self._require("classes", good, f"2 to {MOST_CLASSES} different names")
        known = self.split in SPLITS or self.split.endswith(".csv")
        expected = f"one of {', '.join(SPLITS)}, or a .csv file that `data split --write` wrote"
        self._require("split", known, expected)
        good = self.split != "official" or self.fold == -1
        self._require("fold", good, "-1 with split official, which has no folds")
        self._require("val_fraction", 0 < self.val_fraction < 0.5, "above 0 and below 0.5")
        self._require("layer_decay", 0 < self.layer_decay <= 1, "above 0 and at most 1")
        self._require("plateau_factor", 0 < self.plateau_factor < 1, "above 0 and below 1")
        for name in (
            "cutout", "dropout", "label_smoothing", "momentum", "beta_1", "beta_2", "bn_momentum",
            "ema_decay",
        ):  # fmt: skip
            self._require(name, 0 <= getattr(self, name) < 1, "at least 0 and below 1")
        for name in ("augment_strength", "augment_gamma"):
            self._require(name, 0 <= getattr(self, name) <= 5, "0 to 5")
        for name in ("head_learning_rate", "finetune_learning_rate", "adam_epsilon", "bn_epsilon"):
            self._require(name, getattr(self, name) > 0, "above 0")
        for name in ("weight_decay", "clip_norm"):
            self._require(name, getattr(self, name) >= 0, "0 or more")
        rises = 0 < self.warmup_epochs < (self.finetune_epochs or math.inf)
        expected = "0 or more, and less than finetune_epochs"
        self._require("warmup_epochs", rises or self.warmup_epochs == 0, expected)
        epochs, expected = self.head_epochs + self.finetune_epochs, "1 or more with finetune_epochs"
        self._require("head_epochs", epochs > 0, expected)
        self._require("init", bool(self.init), "imagenet, scratch, pretrained, or a weights file")
        self._require("reinit", set(self.reinit) <= set(BLOCK_NAMES), "names of blocks")
        expected = f"names of differences: {', '.join(RESTORABLE)}"
        self._require("restore_defaults", set(self.restore_defaults) <= set(RESTORABLE), expected)

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            received = repr(getattr(self, name))
            raise InputError(f"Config field {name} must be {expected}. Received: {received}.")

    @property
    def eval_size(self) -> int:
        """The side of the images that are predicted, in px: `test_size`, or else `image_size`."""
        return self.test_size or self.image_size

    def to_json(self) -> dict:
        """Return the fields as plain JSON values."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_json(cls, values: dict) -> "ExperimentConfig":
        """Rebuild a config from `to_json`.

        Raises:
            InputError: a field is unknown or makes no sense.
        """
        known = {spec.name for spec in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            named = [f"{name} (now {FIELDS[name]})" if name in FIELDS else name for name in unknown]
            raise InputError(
                f"Unknown config fields: {', '.join(named)}. Known: {', '.join(sorted(known))}."
            )
        return cls(**values)


def with_defaults(values: dict) -> dict:
    """Return the fields of a record or a checkpoint, with the defaults of those added since."""
    return ExperimentConfig().to_json() | values


def is_name(text: str) -> bool:
    """Tell whether `text` may name a class: it can be printed on one line."""
    return bool(text) and text.isprintable()


def preset(name: str, **overrides) -> ExperimentConfig:
    """Return the config called `smoke`, `quick` or `tuned`, with fields overridden.

    Raises:
        InputError: no such preset, or an override makes no sense.
    """
    if name not in PRESETS:
        raise InputError(f"Unknown preset {name!r}. Known: {', '.join(PRESETS)}.")
    return ExperimentConfig.from_json({**PRESETS[name], **overrides})


# Times are for two CPU cores without a GPU.
PRESETS = {
    "smoke": dict(  # a minute or two: shows that everything runs, not that it learns
        image_size=71,
        batch_size=8,
        max_images_per_epoch=32,
        head_epochs=1,
        finetune_epochs=1,
        patience=0,
        init="scratch",
    ),
    # Minutes, on kept outputs of the blocks below block9. Chosen on the selection part.
    "quick": dict(
        image_size=150,
        unfreeze_from="block9",
        feature_cache=True,
        cached_views=2,
        head_epochs=0,
        finetune_epochs=2,
        finetune_learning_rate=3e-4,
        warmup_epochs=0.25,
        optimizer="adamw",
        weight_decay=0.05,
        label_smoothing=0.05,
        flip_average=True,
        patience=0,
    ),
    # Whole-network fine-tuning, an hour where the processor computes in bfloat16, else hours. Trial
    # `side-224` of notebooks/results/recipes.json, the best when this was chosen, and the mirror
    # image.
    "tuned": dict(
        image_size=224,
        unfreeze_from="block2",
        head_epochs=1,
        finetune_epochs=4,
        finetune_learning_rate=2e-4,
        warmup_epochs=0.25,
        optimizer="adamw",
        weight_decay=0.05,
        label_smoothing=0.05,
        flip_average=True,
        patience=0,
    ),
}


def _typed(spec: dataclasses.Field, value):
    """Return `value` as the field's type; integers pass for floats, lists for tuples."""
    kind = typing.get_origin(spec.type) or spec.type
    also = {float: int, tuple: list, str: Path}.get(kind, kind)
    good = isinstance(value, kind | also) and isinstance(value, bool) == (kind is bool)
    if good and kind is float:
        good = math.isfinite(value)
    if good and kind is tuple:
        good = all(isinstance(item, str) for item in value)
    if not good:
        raise InputError(f"Config field {spec.name} must be {_TYPES[kind]}. Received: {value!r}.")
    return kind(value)
