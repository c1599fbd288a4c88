"""The numbers of a comparison as rows of text, for the terminal and for the report."""

from collections import namedtuple
from textwrap import wrap

from src.common import hardware
from src.data.dataset import seen_mark
from src.records import FRAMEWORKS, filling_seconds, speed

MISSING = "-"
_SPEEDS = {"training": "train", "prediction": "predict"}  # as shown -> as recorded
Row = namedtuple("Row", "name tf pt difference")  # one quantity of both twins, as text


def percent(value: float | None) -> str:
    """0.9134 -> "91.3 %"."""
    return MISSING if value is None else f"{100 * value:.1f} %"


def points(value: float | None) -> str:
    """A difference of two shares, in percentage points: 0.0123 -> "+1.2 pts"."""
    return MISSING if value is None else f"{signed(100 * value, 1)} pts"


def decimal(value: float | None, digits: int = 4) -> str:
    return MISSING if value is None else f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 4) -> str:
    if value is None:
        return MISSING
    rounded = round(value, digits)
    return f"{rounded:+.{digits}f}" if rounded else f"{0:.{digits}f}"  # no +0.0, no -0.0


def tiny(value: float | None) -> str:
    """A relative difference: 3.1e-08; "0" only where nothing differs."""
    return MISSING if value is None else f"{value:.1e}" if value else "0"


def times(value: float | None) -> str:
    return MISSING if value is None else f"{value:.1f}x"


def metric_rows(comparison: dict) -> list[Row]:
    """Return the metrics of the test part: per image, and last with one vote per group.

    Differences are PyTorch minus TensorFlow.
    """
    tests, votes = (
        [comparison[name]["metrics"][part] for name in FRAMEWORKS]
        for part in ("test", "test_groups")
    )
    shown = {
        "accuracy": "accuracy",
        "balanced accuracy": "balanced_accuracy",
        "macro F1": "macro_f1",
        "macro AUROC": "macro_auroc",
        "log loss (nats)": "log_loss",
    }
    scores = {name: [test.get(key) for test in tests] for name, key in shown.items()}
    groups = f"{votes[0]['count']:,}"
    scores[f"accuracy, one vote per group ({groups})"] = [vote["accuracy"] for vote in votes]
    rows = []
    for name, (tf, pt) in scores.items():
        show, show_difference = (percent, points) if "accuracy" in name else (decimal, signed)
        difference = None if None in (tf, pt) else pt - tf
        rows.append(Row(name, show(tf), show(pt), show_difference(difference)))
    return rows


def costs(run: dict) -> dict[str, float | None]:
    """Return speed, time and memory of one run; None stands for "not measured"."""
    measured = {
        f"{title} images/s": speed(run, of)["images_per_second"] for title, of in _SPEEDS.items()
    }
    what = "run, kept outputs aside" if run.get("feature_cache") else "whole run"
    measured |= {
        f"{what} (minutes)": (run["seconds"] - filling_seconds(run)) / 60,
        "peak memory (MiB)": run["peak_memory_mb"],
    }
    return {name: value or None for name, value in measured.items()}


def cost_rows(comparison: dict) -> list[Row]:
    """Return what was measured of speed, time and memory.

    `difference` is PyTorch divided by TensorFlow.
    """
    tf_costs, pt_costs = (costs(comparison[name]) for name in FRAMEWORKS)
    rows = []
    for name, tf in tf_costs.items():
        pt = pt_costs[name]
        digits = 0 if "MiB" in name else 1
        quotient = f"{pt / tf:.2f}x" if tf and pt else MISSING
        rows.append(Row(name, decimal(tf, digits), decimal(pt, digits), quotient))
        title = name.removesuffix(" images/s")
        rows += _rows_of_turns(comparison, title) if title in _SPEEDS else []
    return [row for row in rows if (row.tf, row.pt) != (MISSING, MISSING)]


def _rows_of_turns(comparison: dict, title: str) -> list[Row]:
    """Return what belongs to a speed: the range of its turns, and the first step, which is apart.

    Records from before `src.common.clock.Clock` have neither.
    """
    speeds = [speed(comparison[name], _SPEEDS[title]) for name in FRAMEWORKS]
    ranges = [f"{s['low']:.1f}-{s['high']:.1f}" if s.get("low") else MISSING for s in speeds]
    first = [decimal(s.get("first_step_seconds") or None, 1) for s in speeds]
    rows = {f"{title} images/s, 90 % of turns": ranges, f"first {title} step (s)": first}
    return [Row(name, *pair, MISSING) for name, pair in rows.items()]


def summary_table(comparison: dict) -> str:
    """Return agreement and results as aligned ASCII, for the terminal."""
    rows = [Row("test part", *FRAMEWORKS.values(), "PyTorch vs TF")]
    rows += [*metric_rows(comparison), *cost_rows(comparison)]
    kind = comparison["dataset"]["kind"]
    heading = f"Data: {kind}" + (" (synthetic, not real MRI)" if kind == "phantom" else "")
    if mark := seen_mark(comparison["dataset"]):
        heading += f"\n*** {mark}: these scores measure memory."
    machine = wrap(f"Speeds hold for this machine: {hardware.name(comparison['hardware'])}.", 78)
    return "\n".join([_agreement_table(comparison), "", *machine, "", heading, *_align(rows)])


def _agreement_table(comparison: dict) -> str:
    """Return losses, gap and floor of each of the first steps and each epoch, as ASCII."""
    block = comparison["agreement"]
    curves = [("step {step}", "steps", "step_loss", "")]
    curves += [
        (f"epoch {{epoch}}, {what}", "epochs", key, f"{key}_")
        for key, what in (("loss", "training"), ("val_loss", "validation"))
    ]
    rows = [("loss of", "TensorFlow", "PyTorch", "gap", "floor")]
    for name, unit, key, prefix in curves:
        losses = [comparison[twin]["history"][key] for twin in FRAMEWORKS]
        for k, row in enumerate(block[unit]):
            pair = [decimal(loss[k] if k < len(loss) else None, 6) for loss in losses]
            differences = [tiny(row[f"{prefix}{which}"]) for which in ("gap", "floor")]
            rows.append((name.format(**row), *pair, *differences))
    explained = (
        "gap: relative difference between TensorFlow and PyTorch; floor: between PyTorch and "
        "itself with every initial weight changed by one epsilon. Largest gap divided by largest "
        f"floor: {times(block['steps_ratio'])} over the first {len(block['steps'])} steps, "
        f"{times(block['epochs_ratio'])} over the epochs' training losses. Both models give "
        f"{percent(block['test_same_label'])} of the test images the same class."
    )
    return "\n".join([*_align(rows), "", *wrap(explained, 78), "", *wrap(block["verdict"], 78)])


def _align(rows: list[tuple]) -> list[str]:
    """Return lines: the first column left-aligned, the others right, a rule below the head."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = []
    for name, *cells in rows:
        padded = [cell.rjust(width) for cell, width in zip(cells, widths[1:])]
        lines.append("  ".join([name.ljust(widths[0]), *padded]))
    return [lines[0], "-" * len(lines[0]), *lines[1:]]
