"""Cells of tables: rates with intervals, differences in points."""

import math
from collections.abc import Mapping, Sequence

from src.comparison.report.tables import MISSING, signed

NOT_RUN = "not run here"
_NO_BREAK = "\u00a0"  # a space at which no line is broken
INTERVAL = f"(95{_NO_BREAK}% interval)"


def with_interval(rate: Mapping | None) -> str:
    """{"value": 0.889, "low": 0.865, "high": 0.91} -> "88.9% (86.5 to 91.0)".

    What would be rounded to 100% has more digits: nobody shall read "always" where it is not.
    """
    if not rate:
        return NOT_RUN
    digits = 3 if 0.9995 <= rate["value"] < 1 else 1
    if rate["low"] is None:
        return f"{rate['value']:.{digits}%}"
    low, high = (f"{100 * rate[end]:.{digits}f}" for end in ("low", "high"))
    return f"{rate['value']:.{digits}%} ({low}{_NO_BREAK}to{_NO_BREAK}{high})"


def decimals(score: Mapping | None) -> str:
    """{"value": 0.0088, "low": 0.006, "high": 0.012} -> "0.0088 (0.0060 to 0.0120)"."""
    if not score:
        return NOT_RUN
    if score["low"] is None:
        return f"{score['value']:.4f}"
    value, low, high = (f"{score[name]:.4f}" for name in ("value", "low", "high"))
    return f"{value} ({low}{_NO_BREAK}to{_NO_BREAK}{high})"


def points(difference: Mapping | None) -> str:
    """{"value": 0.012, "low": 0.003, "high": 0.021} -> "+1.2 (+0.3 to +2.1)"."""
    if not difference or difference["value"] is None:
        return NOT_RUN
    if difference["low"] is None:
        return signed(100 * difference["value"], 1)
    value, low, high = (signed(100 * difference[name], 1) for name in ("value", "low", "high"))
    return f"{value} ({low}{_NO_BREAK}to {high})"


def margin(row: Mapping) -> str:
    """{"margin": 0.0033} -> "0.4": percentage points, rounded up, so that it is never too small."""
    return f"{math.ceil(1000 * row['margin']) / 10:.1f}"


def cell(value: float | None, spec: str) -> str:
    """Return a number by a format's `spec`, or what stands for a missing one."""
    return MISSING if value is None else format(value, spec)


def range_of(shares: Sequence[float | None]) -> str:
    """[0.995, 0.998] -> "99.5% to 99.8%"."""
    if not shares or None in shares:
        return NOT_RUN
    low, high = f"{min(shares):.1%}", f"{max(shares):.1%}"
    return low if low == high else f"{low} to {high}"
