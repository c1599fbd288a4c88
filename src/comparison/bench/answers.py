"""What people ask when they compare the frameworks, answered from the records."""

from collections.abc import Callable, Mapping

from src.comparison.bench.cells import FORWARD, PLAIN, TRAIN, TWIN
from src.comparison.workflow import all_lines
from src.records import FRAMEWORKS


def answers(speeds: Mapping, margin: float) -> list[dict[str, str]]:
    """Return {question, answer} of each.

    Args:
        speeds: the record of `python -m src bench`.
        margin: within which share of the test images the exact twins are equally accurate.
    """
    rows = [row for row in speeds["rows"] if "missing" not in row]
    rows = [row for row in rows if (row["image_size"], row["batch_size"]) == (224, 16)]

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
    said = {
        "Are they equal?": "With care: the exact twins are equally accurate within "
        f"{100 * margin:.1f} percentage points. With each framework's defaults they are not.",
        "Which trains faster?": _by_way(fast[TRAIN], _faster),
        "Which predicts faster?": _by_way(fast[FORWARD], _faster),
        "Which needs more memory to train?": _by_way(memory, _both_mib),
        "Which code is shorter?": f"{_first(lines, min)}'s: TensorFlow {lines['tf']} lines, "
        f"PyTorch {lines['pt']} for all steps. Many of PyTorch's make it follow Keras.",
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
    return [{"question": question, "answer": answer} for question, answer in said.items()]


def _by_way(values: Mapping[str, Mapping[str, float]], tell: Callable) -> str:
    told = (f"{how}: {tell(each)}" for how, each in values.items() if len(each) == len(FRAMEWORKS))
    text = "; ".join(told)
    return f"{text[:1].upper()}{text[1:]}." if text else "Not measured."


def _faster(speeds: Mapping[str, float]) -> str:
    ratio = max(speeds.values()) / min(speeds.values())
    return f"{_first(speeds, max)}, {ratio:.2f} times as fast"


def _both_mib(peaks: Mapping[str, float]) -> str:
    return f"TensorFlow {peaks['tf']:,.0f} MiB, PyTorch {peaks['pt']:,.0f}"


def _by_speed(told: str, fast: Mapping[str, Mapping], how: str) -> list[str]:
    if not all(fast[task][how] for task in (TRAIN, FORWARD)):
        return []
    train, forward = (_first(fast[task][how], max) for task in (TRAIN, FORWARD))
    both = f"{train} for training and prediction"
    each = f"{train} for training, {forward} for prediction"
    return [f"By speed {told}, {both if train == forward else each}."]


def _first(values: Mapping[str, float], best: Callable) -> str:
    return FRAMEWORKS[best(values, key=values.get)]
