"""What every figure and report must say about its data and weights before anyone believes it."""

from dataclasses import dataclass

PHANTOM_MARK = "PHANTOM DATA – synthetic, not real MRI"


@dataclass(frozen=True)
class Mark:
    """One line above a figure and on top of the report."""

    text: str
    loud: bool = False  # a warning, not a remark


def figure_marks(comparison: dict) -> list[Mark]:
    """Return the marks of a comparison; none for real images and complete weights."""
    marks = []
    if comparison["dataset"]["kind"] == "phantom":
        marks.append(Mark(PHANTOM_MARK, loud=True))
    config = comparison["config"]
    redraw = list(config.get("redraw") or [])
    if config.get("init") == "scratch":
        marks.append(Mark("trained from scratch: all weights began from a random draw"))
    elif redraw:
        marks.append(Mark(f"{' and '.join(redraw)} began from a random draw"))
    return marks
