"""How far apart are the twins, and how far is far? The home of *gap* and *floor*.

Training is chaotic: in any framework a difference in the last bit grows from step to step, so no
fixed number of equal digits separates rounding from a fault. We compare two distances instead:

- the *gap* is the distance of TensorFlow from PyTorch;
- the *floor* is the distance of PyTorch from itself, when every initial weight is changed by one
  machine epsilon.

Two programs that compute the same function have a gap of about the size of the floor. This module
compares losses and predictions of whole runs; `src.comparison.parity` weights after every step.
"""

import math
from collections.abc import Sequence
from itertools import zip_longest

import numpy as np

from src.records import Predictions, Run

STEPS = 20
# Exact twins were measured up to 2.5 floors apart in float32, whole network, 20 steps.
LARGEST_RATIO = 3.0
# The largest of a few losses varies more, so fewer losses than these may lie further apart.
ENOUGH_LOSSES = 5
# The first loss comes before any update, so nothing has grown yet: only rounding within one
# forward pass may show, a few dozen epsilons of the type that the activations have (of 16 bits,
# four; float16 needs a GPU and was never measured).
FIRST_STEP_TOLERANCE = {"float32": 1e-5, "float64": 1e-12, "bfloat16": 3e-2, "float16": 4e-3}


def relative_distance(values: np.ndarray, reference: np.ndarray) -> float:
    """Return ||values - reference|| / ||reference||, in float64.

    Raises:
        ValueError: a value is not finite, or the reference is all zero.
    """
    values, reference = values.astype(np.float64), reference.astype(np.float64)
    norm = np.linalg.norm(reference)
    if not np.isfinite(values).all() or not np.isfinite(norm) or norm == 0:
        raise ValueError("Expected finite numbers, not all zero.")
    return float(np.linalg.norm(values - reference) / norm)


def relative_difference(a: float | None, b: float | None) -> float | None:
    """Return |a - b| / max(|a|, |b|), 0 for two zeros, None unless both are finite numbers."""
    if a is None or b is None or not (math.isfinite(a) and math.isfinite(b)):
        return None
    largest = max(abs(a), abs(b))
    return abs(a - b) / largest if largest else 0.0


def largest_ratio(rows: Sequence) -> float:
    """Return how many floors rounding may explain over the losses in `rows`, one each."""
    return LARGEST_RATIO * max(1, ENOUGH_LOSSES / max(len(rows), 1))


def measure_agreement(tf_run: Run, pt_run: Run, floor_run: Run | None = None) -> dict:
    """Return the `agreement` block of comparison.json.

    Differences of losses are those of `relative_difference`: None where a run stopped earlier.

    Returns:
        steps [{step, gap, floor}] of the first 20 steps, epochs [{epoch, loss_gap, loss_floor,
        val_loss_gap, val_loss_floor}], first_step_gap, steps_ratio and epochs_ratio (largest gap
        divided by largest floor; None without a floor run), within_floor (True, False, or None if
        undecided), verdict (a sentence), and of the test part test_same_label (share of images),
        test_max_prob_difference, test_mean_prob_difference; the same of PyTorch and its floor run
        as floor_same_label etc.
    """
    histories = [run.record["history"] if run else {} for run in (tf_run, pt_run, floor_run)]
    steps = _gaps_and_floors(histories, "step_loss", "")[:STEPS]
    loss = _gaps_and_floors(histories, "loss", "loss_")
    epochs = [a | b for a, b in zip(loss, _gaps_and_floors(histories, "val_loss", "val_loss_"))]
    config = pt_run.record["config"]
    precision = config.get("precision", "float32")
    block = {
        "steps": [{"step": number} | row for number, row in enumerate(steps, 1)],
        "epochs": [{"epoch": number} | row for number, row in enumerate(epochs, 1)],
        "first_step_gap": steps[0]["gap"] if steps else None,
        "steps_ratio": _ratio(steps, "", precision),
        "epochs_ratio": _ratio(epochs, "loss_", precision),
        **_predictions_agree(tf_run.predictions, pt_run.predictions, "test"),
    }
    if floor_run is not None:
        block |= _predictions_agree(pt_run.predictions, floor_run.predictions, "floor")
    losses = [loss for h in histories for name in ("loss", "step_loss") for loss in h.get(name, [])]
    diverged = not all(loss is not None and math.isfinite(loss) for loss in losses)
    block["within_floor"], block["verdict"] = _judge(block, config, diverged)
    return block


def _gaps_and_floors(histories: Sequence[dict], name: str, prefix: str) -> list[dict]:
    """Compare the curve `name` of TensorFlow, PyTorch and the floor run."""
    differences = [
        (relative_difference(tf, pt), relative_difference(pt, perturbed))
        for tf, pt, perturbed in zip_longest(*(history.get(name, []) for history in histories))
    ]
    return [{f"{prefix}gap": gap, f"{prefix}floor": floor} for gap, floor in differences]


def _ratio(rows: list[dict], prefix: str, precision: str) -> float | None:
    """Return the largest gap divided by the largest floor: single floors touch zero by chance.

    A floor below one epsilon counts as one epsilon, the smallest difference that two losses can
    show (with 16 bits they stay float32).
    """
    gaps, floors = (
        [row[prefix + kind] for row in rows if row[prefix + kind] is not None]
        for kind in ("gap", "floor")
    )
    if not gaps or not floors:
        return None
    epsilon = np.finfo("float64" if precision == "float64" else "float32").eps
    return max(gaps) / max(*floors, float(epsilon))


def _predictions_agree(one: Predictions, two: Predictions, prefix: str) -> dict:
    difference = np.abs(one.probs.astype(np.float64) - two.probs)
    same = one.probs.argmax(axis=1) == two.probs.argmax(axis=1)
    return {
        f"{prefix}_same_label": float(same.mean()),
        f"{prefix}_max_prob_difference": float(difference.max()),
        f"{prefix}_mean_prob_difference": float(difference.mean()),
    }


def _judge(block: dict, config: dict, diverged: bool) -> tuple[bool | None, str]:
    """Return `within_floor` and `verdict`: whether rounding alone explains the gap, and why."""
    if diverged:
        return None, (
            "Training diverged: a loss is missing, NaN or infinite, so agreement cannot be judged. "
            "Try a lower learning rate or clip_norm=1."
        )
    first, steps, epochs = (block[k] for k in ("first_step_gap", "steps_ratio", "epochs_ratio"))
    if first is None:
        return None, "The runs recorded no losses of single steps, so agreement cannot be judged."
    tolerance = FIRST_STEP_TOLERANCE[config.get("precision", "float32")]
    limits = [largest_ratio(block[unit]) for unit in ("steps", "epochs")]
    within = None
    if None not in (steps, epochs):
        within = steps <= limits[0] and epochs <= limits[1]
    if first > tolerance:
        within = False
    if restored := config.get("restore_defaults"):
        return within, (
            f"Not an exact twin: each framework's default was restored for {', '.join(restored)}, "
            f"so a gap above the floor is expected. The first losses differ by {first:.1e}."
        )
    if first > tolerance:
        return within, (
            f"The twins differ: their first losses, before any update, differ by {first:.1e} "
            f"(rounding explains at most {tolerance:.0e}). Data, initial weights or a layer must "
            "differ."
        )
    if within is None:
        return within, (
            f"The first losses agree to {first:.1e}. Without a floor run nobody can say whether "
            "later differences come from rounding or from the frameworks."
        )
    ratios = (
        f"the gap is {steps:.1f} times the floor over the first {len(block['steps'])} steps, and "
        f"{epochs:.1f} times over the epochs"
    )
    if within:
        verdict = f"The twins agree to the rounding floor: {ratios}. Rounding explains the rest."
        return within, verdict
    return within, (
        f"The twins differ by more than the rounding floor explains: {ratios} (at most "
        f"{limits[0]:.2g} and {limits[1]:.2g} are expected). One floor run is one random sample: "
        "repeat with another seed, and if the ratio stays, look for a difference."
    )
