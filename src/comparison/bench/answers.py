"""What people ask when they compare the frameworks, answered from the records."""

import math
from collections.abc import Callable, Mapping

from src.comparison.bench.cells import FORWARD, MAIN, PLAIN, TRAIN, TWIN
from src.comparison.workflow import all_lines
from src.config import FRAMEWORKS

ABOUT_EQUAL = 1.05  # times as fast: less says nothing


def answers(speeds: Mapping, equivalence: Mapping) -> list[dict[str, str]]:
    """Return {question, answer} of each.

    Args:
        speeds: the record of `python -m src bench`.
        equivalence: what `src.results.equivalence` measured, with the margin within which networks
            are equally accurate: the exact twins in three ways, the stock ones in two.
    """
    rows = [row for row in speeds["rows"] if "missing" not in row]
    rows = [row for row in rows if (row["image_size"], row["batch_size"]) == MAIN]

    def measured(key: str, task: str, written: str, precision: str) -> dict[str, float]:
        about = task, written, precision
        return {
            row["framework"]: row[key]
            for row in rows
            if (row["task"], row["written"], row["precision"]) == about
        }

    ways = {"as people write it": (PLAIN, "float32"), "as twins": (TWIN, "float32")}
    ways["as twins in bfloat16"] = TWIN, "bfloat16"
    fast = {
        task: {how: measured("images_per_second", task, *way) for how, way in ways.items()}
        for task in (TRAIN, FORWARD)
    }
    memory = {how: measured("peak_memory_mb", TRAIN, *way) for how, way in ways.items()}
    lines = all_lines()
    plain, *_, low = ways
    answer_of = {
        "Are they equal?": "With care: the exact twins are equally accurate within "
        f"{_points(equivalence, 'images', 'folds', 'seeds')} percentage points. With each "
        f"framework's defaults, no more is shown than within "
        f"{_points(equivalence, 'stock images', 'stock folds')}.",
        "Which trains faster?": _by_way(fast[TRAIN], _faster),
        "Which predicts faster?": _by_way(fast[FORWARD], _faster),
        "Which needs more memory to train?": _by_way(memory, _both_mib),
        "Which code is shorter?": f"{_first(lines, min)}'s: TensorFlow {lines['tf']} lines, "
        f"PyTorch {lines['pt']} for all steps. Many lines in PyTorch only reproduce Keras's rules.",
        "What would I choose?": " ".join(
            (
                "By accuracy, either.",
                *_by_speed("as people write it", fast, plain),
                *_by_speed("with the twins' changes in bfloat16", fast, low),
                f"By length of code, {_first(lines, min)}.",
                "For a training loop in plain sight, or several machines, PyTorch.",
            )
        ),
    }
    return [{"question": question, "answer": answer} for question, answer in answer_of.items()]


def _by_way(values: Mapping[str, Mapping[str, float]], describe: Callable) -> str:
    both = {how: each for how, each in values.items() if len(each) == len(FRAMEWORKS)}
    text = "; ".join(f"{how}: {describe(each)}" for how, each in both.items())
    return f"{text[:1].upper()}{text[1:]}." if text else "Not measured."


def _faster(speeds: Mapping[str, float]) -> str:
    ratio = max(speeds.values()) / min(speeds.values())
    if ratio < ABOUT_EQUAL:
        return "about equal"
    return f"{_first(speeds, max)}, {ratio:.2f} times as fast"


def _both_mib(peaks: Mapping[str, float]) -> str:
    return f"TensorFlow {peaks['tf']:,.0f} MiB, PyTorch {peaks['pt']:,.0f}"


def _by_speed(title: str, fast: Mapping[str, Mapping], how: str) -> list[str]:
    if not all(len(fast[task][how]) == len(FRAMEWORKS) for task in (TRAIN, FORWARD)):
        return []
    train, forward = (_first(fast[task][how], max) for task in (TRAIN, FORWARD))
    both = f"{train} for training and prediction"
    each = f"{train} for training, {forward} for prediction"
    return [f"By speed {title}, {both if train == forward else each}."]


def _points(equivalence: Mapping, *ways: str) -> str:
    """Return the largest margin in points, rounded up."""
    return f"{math.ceil(1000 * max(equivalence[way]['margin'] for way in ways)) / 10:.1f}"


def _first(values: Mapping[str, float], best: Callable) -> str:
    return FRAMEWORKS[best(values, key=values.get)]
