"""The experiments that `python -m src parity` can run, and when it calls two twins equal."""

from dataclasses import dataclass

from src.config import ExperimentConfig

# For `init`: random weights with measured BatchNorm statistics; no file is needed. See
# `src.comparison.parity.worker.calibrated_random_weights`.
CALIBRATED = "calibrated"

# One stage, everything trains, nothing but the network and the update rule in play.
_BASE = dict(
    init=CALIBRATED,
    image_size=96,
    batch_size=8,
    head_epochs=0,
    finetune_epochs=1,
    unfreeze_from="block1",
    batch_norm="update",
    schedule="constant",
    balance="none",
    dropout=0.0,
    patience=0,
)

# Values that float32 holds exactly: Keras casts hyper-parameters to float32, which changes none.
DYADIC = dict(
    head_learning_rate=2**-10,
    finetune_learning_rate=2**-10,
    momentum=0.875,
    beta_1=0.875,
    beta_2=1 - 2**-10,
    adam_epsilon=2**-23,
    bn_epsilon=2**-10,
    bn_momentum=1 - 2**-7,
)
EVERYDAY = dict(head_learning_rate=1e-3, finetune_learning_rate=1e-3)  # and the config's defaults
HYPER = {"dyadic": DYADIC, "everyday": EVERYDAY}

# What weight decay and the recipes add, for each `--hyper`.
_DECAY = {"dyadic": 2**-7, "everyday": 4e-3}  # 4e-3 is Keras's AdamW default
_RECIPE = {
    "dyadic": dict(clip_norm=1.0, label_smoothing=0.125, dropout=0.5, plateau_factor=0.5),
    "everyday": dict(clip_norm=0.7, label_smoothing=0.1, dropout=0.3, plateau_factor=0.3),
}
# Two stages with everything that a recipe may hold; patience 0 lets the plateau rate fall at once.
_TWO_STAGES = dict(
    head_epochs=1, finetune_epochs=3, balance="class_weights", plateau_patience=0, hidden_units=64
)
RECIPES = ("plain", "cosine", "plateau")


def parity_config(
    *,
    dtype: str = "float32",
    hyper: str | None = None,
    recipe: str = "plain",
    steps: int = 20,
    fault: tuple[str, ...] = (),
    **fields,
) -> ExperimentConfig:
    """Return the experiment of a parity run.

    Args:
        dtype: "float32", "float64" or "bfloat16".
        hyper: "dyadic" (default in float64) or "everyday" hyper-parameters.
        recipe: "plain" is one stage at a constant rate; "cosine" and "plateau" are two stages with
            that schedule, clipping, class weights, label smoothing and dropout.
        steps: of all epochs together; at least one per epoch.
        fault: differences whose framework default is restored; see `src.differences`.
        fields: of the config; they override everything else.
    Raises:
        InputError: a field makes no sense.
    """
    hyper = hyper or ("dyadic" if dtype == "float64" else "everyday")
    values = _BASE | HYPER[hyper] | {"precision": dtype, "restore_defaults": tuple(fault)}
    if fields.get("optimizer") == "adamw":
        values["weight_decay"] = _DECAY[hyper]
    if recipe != "plain":
        values |= _TWO_STAGES | _RECIPE[hyper] | {"schedule": recipe}
    values |= fields
    epochs = values["head_epochs"] + values["finetune_epochs"]
    values.setdefault(
        "max_images_per_epoch", max(steps // max(epochs, 1), 1) * values["batch_size"]
    )
    return ExperimentConfig.from_json(values)


GREEN, RED, NOT_JUDGED = "green", "red", "not judged"


@dataclass(frozen=True)
class Limits:
    """The largest values that rounding explains.

    Attributes:
        ratio: gap / floor of the trained weights.
        bn_ratio: gap / floor of the BatchNorm moving statistics.
        gap: of the trained weights.
        first: the first step that is judged.
    """

    ratio: float
    bn_ratio: float
    gap: float = float("inf")
    first: int = 1


# In float64 the floor is a few last bits and the order of a sum matters: gaps of exact twins reach
# 3 floors, while a fault of 1e-6 lies nine digits above. In float32 Adam's first step follows the
# signs of gradients, so the first ratio says little.
LIMITS = {
    "float64": Limits(ratio=10, bn_ratio=20, gap=1e-12),
    "float32": Limits(ratio=2, bn_ratio=20, first=2),
}


def judge(steps: list[dict], config: ExperimentConfig) -> dict:
    """Return `verdict`, `reason` and the largest ratios of a run's `steps`.

    bfloat16 is not judged. Its activations have 8 bits, so the first step's gap is already 1e-5,
    and the frameworks' kernels keep more bits in different sums. (Over twenty SGD steps the gap
    stayed below 1.2 floors: one epsilon of the float32 weights changes a few of these roundings.)
    """
    limits = LIMITS.get(config.precision)
    judged = [step for step in steps if step["step"] >= (limits.first if limits else 1)]
    ratio = max((step["gap"] / step["floor"] for step in judged), default=0.0)
    bn_ratio = max((step["bn_gap"] / step["bn_floor"] for step in judged), default=0.0)
    figures = {"largest_ratio": ratio, "largest_bn_ratio": bn_ratio}
    gap = max((step["gap"] for step in judged), default=0.0)
    measured = (
        f"gap/floor is at most {ratio:.2g} over the weights and {bn_ratio:.2g} over the BatchNorm "
        f"statistics, the gap at most {gap:.1e}"
    )
    if limits is None or not judged:
        return {"verdict": NOT_JUDGED, "reason": f"{measured}; no limit is set.", **figures}
    green = ratio <= limits.ratio and bn_ratio <= limits.bn_ratio and gap <= limits.gap
    allowed = f"allowed are {limits.ratio:g}, {limits.bn_ratio:g} and {limits.gap:g}"
    return {"verdict": GREEN if green else RED, "reason": f"{measured}; {allowed}.", **figures}
