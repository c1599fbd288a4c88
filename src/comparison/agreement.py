"""How far apart are the twins, and how far is far? The gap, measured by the rounding floor.

Training is chaotic: one last-bit change grows from step to step, in any framework. So the
yardstick for TensorFlow against PyTorch (the gap) is PyTorch against itself, begun from weights
changed by one machine epsilon (the floor). Two programs that compute the same function have
gap/floor near 1, whatever the digits of the gap.
"""

import math
from collections.abc import Sequence
from itertools import zip_longest

import numpy as np

from src.records import Predictions, Run

STEPS = 20
# Independent pairs of exact twins were seen up to 3 apart (design, "The rounding floor").
LARGEST_RATIO = 3.0
# The first loss comes before any update, so nothing has grown yet: only rounding within one
# forward pass may show, a few dozen epsilons of what the activations are kept in.
FIRST_STEP_TOLERANCE = {"float32": 1e-5, "float64": 1e-12, "bfloat16": 3e-2}
# Weights and losses stay float32 under bfloat16; only activations are short.
_EPSILON = {
    "float32": float(np.finfo(np.float32).eps),
    "float64": float(np.finfo(np.float64).eps),
    "bfloat16": float(np.finfo(np.float32).eps),
}


def measure_agreement(tf_run: Run, pt_run: Run, floor_run: Run | None = None) -> dict:
    """Return the `agreement` block of comparison.json.

    All differences of losses are relative, |a - b| / max(|a|, |b|); None where one of the two
    losses is missing (a run stopped earlier) or not finite (it diverged).

    Returns:
        steps [{step, gap, floor}] of the first 20 steps, epochs [{epoch, loss_gap, loss_floor,
        val_loss_gap, val_loss_floor}], first_step_gap, steps_ratio and epochs_ratio (largest gap
        by largest floor; None without a floor run), within_floor (True, False, or None when it
        cannot be said), verdict (a sentence), and of the test part test_same_label (share of
        images), test_max_prob_difference, test_mean_prob_difference, with floor_same_label etc.,
        the same for PyTorch against its floor run.
    """
    histories = [run.record["history"] if run else {} for run in (tf_run, pt_run, floor_run)]
    steps = [
        {"step": number, **pair}
        for number, pair in enumerate(_gap_and_floor(histories, "step_loss", STEPS), 1)
    ]
    epochs = [
        {
            "epoch": number,
            "loss_gap": loss["gap"],
            "loss_floor": loss["floor"],
            "val_loss_gap": val_loss["gap"],
            "val_loss_floor": val_loss["floor"],
        }
        for number, (loss, val_loss) in enumerate(
            zip(_gap_and_floor(histories, "loss"), _gap_and_floor(histories, "val_loss")), 1
        )
    ]
    config = pt_run.record["config"]
    precision = config.get("precision", "float32")
    block = {
        "steps": steps,
        "epochs": epochs,
        "first_step_gap": steps[0]["gap"] if steps else None,
        "steps_ratio": _ratio(steps, "gap", "floor", precision),
        "epochs_ratio": _ratio(epochs, "loss_gap", "loss_floor", precision),
        **_predictions_agree(tf_run.predictions, pt_run.predictions, "test"),
    }
    if floor_run is not None:
        block |= _predictions_agree(pt_run.predictions, floor_run.predictions, "floor")
    diverged = not all(_finite(history) for history in histories)
    block["within_floor"] = None if diverged else _within_floor(block, precision)
    block["verdict"] = _verdict(block, config, diverged)
    return block


def relative_difference(a: float | None, b: float | None) -> float | None:
    """Return |a - b| / max(|a|, |b|), 0 for two zeros, None unless both are finite numbers."""
    if a is None or b is None or not (math.isfinite(a) and math.isfinite(b)):
        return None
    largest = max(abs(a), abs(b))
    return abs(a - b) / largest if largest else 0.0


def _gap_and_floor(histories: Sequence[dict], name: str, limit: int | None = None) -> list[dict]:
    """Pair tf with pt (gap) and pt with its floor run (floor), place by place."""
    series = [history.get(name, [])[:limit] for history in histories]
    return [
        {"gap": relative_difference(tf, pt), "floor": relative_difference(pt, floor)}
        for tf, pt, floor in zip_longest(*series)
    ]


def _ratio(rows: list[dict], gap: str, floor: str, precision: str) -> float | None:
    """Return the largest gap by the largest floor.

    Of the largest, not the largest of single ratios: two chaotic curves cross now and then, and
    where a floor touches zero by chance a ratio says nothing. A floor below one epsilon counts as
    one epsilon, the least difference that two losses can show.
    """
    gaps = [row[gap] for row in rows if row[gap] is not None]
    floors = [row[floor] for row in rows if row[floor] is not None]
    if not gaps or not floors:
        return None
    return max(gaps) / max(*floors, _EPSILON[precision])


def _predictions_agree(one: Predictions, two: Predictions, prefix: str) -> dict:
    difference = np.abs(one.probs.astype(np.float64) - two.probs)
    same = one.probs.argmax(axis=1) == two.probs.argmax(axis=1)
    return {
        f"{prefix}_same_label": float(same.mean()),
        f"{prefix}_max_prob_difference": float(difference.max()),
        f"{prefix}_mean_prob_difference": float(difference.mean()),
    }


def _finite(history: dict) -> bool:
    losses = [*history.get("loss", []), *history.get("step_loss", [])]
    return all(value is not None and math.isfinite(value) for value in losses)


def _within_floor(block: dict, precision: str) -> bool | None:
    """Say whether nothing but rounding parts the twins; None when no floor run can tell."""
    first = block["first_step_gap"]
    if first is not None and first > FIRST_STEP_TOLERANCE[precision]:
        return False
    ratios = [block["steps_ratio"], block["epochs_ratio"]]
    if None in ratios:
        return None
    return max(ratios) <= LARGEST_RATIO


def _verdict(block: dict, config: dict, diverged: bool) -> str:
    first, steps, epochs = (block[k] for k in ("first_step_gap", "steps_ratio", "epochs_ratio"))
    if diverged:
        return (
            "Training diverged: a loss is missing, NaN or infinite, so agreement cannot be judged. "
            "Try a lower learning rate or clip_norm=1."
        )
    if first is None:
        return "The runs hold no losses of single steps, so agreement cannot be judged."
    rows = config.get("restore_defaults")
    if rows:
        return (
            f"Not an exact twin: {', '.join(rows)} stood at each framework's own default, so a "
            f"gap above the floor is expected. The first losses differ by {first:.1e}."
        )
    tolerance = FIRST_STEP_TOLERANCE[config.get("precision", "float32")]
    if first > tolerance:
        return (
            f"The twins differ: their first losses, before any update, are {first:.1e} apart "
            f"(at most {tolerance:.0e} is rounding). Data, initial weights or a layer must differ."
        )
    if steps is None or epochs is None:
        return (
            f"The first losses agree to {first:.1e}. Without a floor run nobody can say whether "
            "later differences are rounding or the framework."
        )
    seen = (
        f"the losses of TensorFlow and PyTorch are {steps:.1f} times as far apart over the first "
        f"{len(block['steps'])} steps, and {epochs:.1f} times over the epochs, as PyTorch is from "
        "itself after a one-epsilon change of its weights"
    )
    if block["within_floor"]:
        return (
            f"The twins agree to the rounding floor: {seen}. Rounding explains what is left "
            "between them."
        )
    return (
        f"The twins part by more than the rounding floor explains: {seen} (at most "
        f"{LARGEST_RATIO:.0f} times is expected). One floor run is a single draw of chaos: repeat "
        "with another seed, and if the ratio stays, look for a difference."
    )
