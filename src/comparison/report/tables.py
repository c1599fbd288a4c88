"""The numbers of a comparison as rows of text, for the terminal and for the report."""

from textwrap import wrap
from typing import NamedTuple

from src.config import CLASS_NAMES
from src.records import FRAMEWORKS

MISSING = "-"


class Row(NamedTuple):
    """One quantity for both twins; `difference` is PyTorch minus TensorFlow."""

    name: str
    tf: str
    pt: str
    difference: str


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
    """Return the metrics of the test part: per image, and last with one vote per group."""
    tests = [comparison[name]["metrics"]["test"] for name in FRAMEWORKS]
    votes = [comparison[name]["metrics"]["test_groups"] for name in FRAMEWORKS]
    table = (
        ("accuracy", "accuracy", percent, points),
        ("balanced accuracy", "balanced_accuracy", percent, points),
        ("macro F1", "macro_f1", decimal, signed),
        ("macro AUROC", "macro_auroc", decimal, signed),
        ("log loss (nats)", "log_loss", decimal, signed),
    )
    rows = [_row(name, [t.get(key) for t in tests], show, diff) for name, key, show, diff in table]
    name = f"accuracy, one vote per group ({votes[0]['count']:,})"
    return [*rows, _row(name, [vote["accuracy"] for vote in votes], percent, points)]


def cost_rows(comparison: dict) -> list[Row]:
    """Return speed, time and memory; `difference` is PyTorch divided by TensorFlow."""
    runs = [comparison[name] for name in FRAMEWORKS]
    table = (
        ("training images/s", [r["images_per_second"].get("train") for r in runs], 1),
        ("prediction images/s", [r["images_per_second"].get("predict") for r in runs], 1),
        ("whole run (minutes)", [r["seconds"] / 60 for r in runs], 1),
        ("peak memory (MB)", [r["peak_memory_mb"] for r in runs], 0),
    )
    rows = []
    for name, values, digits in table:
        known = [value or None for value in values]  # 0 stands for "not measured"
        quotient = f"{known[1] / known[0]:.2f}x" if all(known) else MISSING
        rows.append(Row(name, *(decimal(value, digits) for value in known), quotient))
    return rows


def class_rows(comparison: dict) -> list[dict]:
    """Return name, support and [TensorFlow, PyTorch] per metric of each class."""
    tests = [comparison[name]["metrics"]["test"]["per_class"] for name in FRAMEWORKS]
    shown = ("precision", "sensitivity", "specificity", "f1", "auroc")
    return [
        {
            "name": name,
            "support": tests[0][name]["support"],
            "cells": [[decimal(test[name][key], 3) for test in tests] for key in shown],
        }
        for name in CLASS_NAMES
    ]


def summary_table(comparison: dict) -> str:
    """Return agreement and results as aligned ASCII, for the terminal."""
    rows = [Row("test part", *FRAMEWORKS.values(), "PyTorch vs TF")]
    rows += [*metric_rows(comparison), *cost_rows(comparison)]
    kind = comparison["dataset"]["kind"]
    heading = [f"Data: {kind}" + (" (synthetic, not real MRI)" if kind == "phantom" else "")]
    return "\n".join([agreement_table(comparison), "", *heading, *_align(rows)])


def agreement_table(comparison: dict) -> str:
    """Return losses, gap and floor of each of the first steps and each epoch, as ASCII."""
    block = comparison["agreement"]
    rows = [("loss of", "TensorFlow", "PyTorch", "gap", "floor")]
    for k, row in enumerate(block["steps"]):
        rows.append((f"step {row['step']}", *_losses(comparison, "step_loss", k), *_pair(row, "")))
    for key, what in (("loss", "training"), ("val_loss", "validation")):
        for k, row in enumerate(block["epochs"]):
            name = f"epoch {row['epoch']}, {what}"
            rows.append((name, *_losses(comparison, key, k), *_pair(row, f"{key}_")))
    explained = (
        "gap: relative difference between TensorFlow and PyTorch; floor: between PyTorch and "
        "itself with every initial weight changed by one epsilon. Largest gap divided by largest "
        f"floor: {times(block['steps_ratio'])} over the first {len(block['steps'])} steps, "
        f"{times(block['epochs_ratio'])} over the epochs' training losses. Both models give "
        f"{percent(block['test_same_label'])} of the test images the same class."
    )
    return "\n".join([*_align(rows), "", *wrap(explained, 78), "", *wrap(block["verdict"], 78)])


def _losses(comparison: dict, key: str, k: int) -> list[str]:
    curves = [comparison[name]["history"][key] for name in FRAMEWORKS]
    return [decimal(curve[k] if k < len(curve) else None, 6) for curve in curves]


def _pair(row: dict, prefix: str) -> tuple[str, str]:
    return tiny(row[f"{prefix}gap"]), tiny(row[f"{prefix}floor"])


def _row(name: str, values: list, show, diff) -> Row:
    both = None if None in values else values[1] - values[0]
    return Row(name, *(show(value) for value in values), diff(both))


def _align(rows: list[tuple]) -> list[str]:
    """Return lines: the first column left-aligned, the others right, a rule below the head."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))])
        for row in rows
    ]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]
