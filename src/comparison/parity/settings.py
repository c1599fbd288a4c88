"""The experiments that `python -m src parity` can run, and when it calls two twins equal."""

from src.config import ExperimentConfig, preset

# For `init`: made by `src.comparison.parity.worker.calibrated_random_weights`; needs no file.
CALIBRATED = "calibrated"

# One stage, everything trains, nothing but the network and the update rule in play.
_PLAIN = dict(
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
# Two stages with what such a recipe may hold; patience 0 lets the plateau rate fall at once.
_TWO_STAGES = dict(
    head_epochs=1, finetune_epochs=3, balance="class_weights", plateau_patience=0, hidden_units=64
)
# Every block trains, with all that is used for it.
_DEEP = dict(
    optimizer="adamw",
    finetune_epochs=4,
    schedule="cosine",
    warmup_epochs=1.0,
    layer_decay=0.75,
    ema_decay=0.75,
)
# The headline recipe, whole; the rest is the parity run's.
_OWN = ("init", "precision", "restore_defaults", "max_images_per_epoch")
_TUNED = {name: v for name, v in preset("tuned").to_json().items() if name not in _OWN}
RECIPES = {
    "plain": {},
    "deep": _DEEP,
    "tuned": _TUNED,
    "cosine": _TWO_STAGES | {"schedule": "cosine"},
    "plateau": _TWO_STAGES | {"schedule": "plateau"},
}
# Hyper-parameters of every run, of AdamW and of the recipes but the plain one. Float32 holds dyadic
# values exactly: Keras casts hyper-parameters to float32, which changes none of them. "everyday"
# takes the rest from the config's defaults; its weight decay is that of Keras's AdamW.
HYPER = {
    "dyadic": (
        dict(
            head_learning_rate=2**-10,
            finetune_learning_rate=2**-10,
            momentum=0.875,
            beta_1=0.875,
            beta_2=1 - 2**-10,
            adam_epsilon=2**-23,
            bn_epsilon=2**-10,
            bn_momentum=1 - 2**-7,
        ),
        dict(weight_decay=2**-7),
        dict(clip_norm=1.0, label_smoothing=0.125, dropout=0.5, plateau_factor=0.5),
    ),
    "everyday": (
        dict(head_learning_rate=1e-3, finetune_learning_rate=1e-3),
        dict(weight_decay=4e-3),
        dict(clip_norm=0.7, label_smoothing=0.1, dropout=0.3, plateau_factor=0.3),
    ),
}


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
        hyper: a key of `HYPER`; by default "dyadic" in float64, else "everyday".
        recipe: a key of `RECIPES`.
        steps: of all epochs together; at least one per epoch.
        fault: differences whose framework default is restored; see `src.differences`.
        fields: of the config; they override everything else.
    Raises:
        InputError: a field makes no sense.
    """
    basic, decay, two_stages = HYPER[hyper or ("dyadic" if dtype == "float64" else "everyday")]
    values = _PLAIN | basic | {"precision": dtype, "restore_defaults": tuple(fault)}
    if recipe != "plain":
        values |= two_stages | RECIPES[recipe]
    values |= fields
    if values.get("optimizer") == "adamw":
        values = decay | values
    epochs = max(values["head_epochs"] + values["finetune_epochs"], 1)
    values.setdefault("max_images_per_epoch", max(steps // epochs, 1) * values["batch_size"])
    return ExperimentConfig.from_json(values)


GREEN, RED, NOT_JUDGED = "green", "red", "not judged"
VERDICTS = {GREEN: "passed", RED: "failed", NOT_JUDGED: NOT_JUDGED}  # as they are shown
# The largest values that rounding explains, for each precision: of gap / floor of the trained
# weights and of the BatchNorm statistics, and of the weights' gap; and the first step judged.
# Exact twins reach 2.5 floors in float32: the floor is that of one perturbation. In float64 it is a
# few last bits and the order of a sum matters: gaps reach 4 floors, while a fault of 1e-6 lies nine
# digits above. In float32 Adam's first step follows the signs of gradients, so the first ratio says
# little. In bfloat16 activations have 8 bits, so the first gap is already 1e-5 and the frameworks'
# kernels keep more bits in different sums: no limit.
LIMITS = {"float64": (10, 20, 1e-12, 1), "float32": (3, 20, float("inf"), 2)}


def judge(steps: list[dict], config: ExperimentConfig) -> dict:
    """Return `verdict`, `reason` and the largest ratios of a run's `steps`."""
    *limits, first = LIMITS.get(config.precision, (1,))
    judged = [step for step in steps if step["step"] >= first]
    ratio = max((step["gap"] / step["floor"] for step in judged), default=0.0)
    bn_ratio = max((step["bn_gap"] / step["bn_floor"] for step in judged), default=0.0)
    gap = max((step["gap"] for step in judged), default=0.0)
    verdict, allowed = NOT_JUDGED, "no limit is set"
    if judged and limits:
        allowed = "allowed are {:g}, {:g} and {:g}".format(*limits)
        within = all(value <= limit for value, limit in zip((ratio, bn_ratio, gap), limits))
        verdict = GREEN if within else RED
    reason = f"the first step that counts is step {first}."
    if judged:
        reason = (
            f"gap/floor is at most {ratio:.2g} over the weights and {bn_ratio:.2g} over the "
            f"BatchNorm statistics, the gap at most {gap:.1e}; {allowed}."
        )
    return {
        "verdict": verdict,
        "reason": reason,
        "largest_ratio": ratio,
        "largest_bn_ratio": bn_ratio,
    }
