"""From the grid's numbers to the README's results: tables, findings in words, figures."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from src.comparison.baselines import BASELINES
from src.comparison.marks import PHANTOM_MARK
from src.comparison.records import FRAMEWORKS
from src.comparison.tables import MISSING, decimal
from src.config import CLASS_NAMES
from src.errors import InputError
from src.files import atomic_write, write_json
from src.reproduce.measure import POOLED
from src.reproduce.words import findings_in_words

BEGIN, END = "<!-- results: python -m src reproduce -->", "<!-- /results -->"
FIGURES = {  # file name -> what it shows, for those who cannot see it
    "accuracy.png": "Accuracy on the official split, on the clean folds, and of baselines",
    "twins.png": "How often twins, and how often seeds, give an image the same class",
    "time.png": "Minutes a run, and where they go",
}
_HEAD = (
    "", "framework", "runs", "weights", "accuracy (95 % interval)", "per group", "balanced",
    "macro F1", "AUROC", "min a run", "images/s",
)  # fmt: skip


def as_markdown(
    measured: dict, baselines: Mapping | None = None, figures: Mapping[str, str] | None = None
) -> str:
    """Return the results as the README shows them; one sentence while nothing was run.

    Args:
        measured: from `src.reproduce.measure.measure`.
        baselines: the scores in `baselines.json`.
        figures: what is in them -> where they lie, seen from the README.
    """
    rows = measured["rows"]
    if not any(row["cells"] for row in rows):
        return "No run of the grid is recorded yet."
    parts = [_main_table(rows), _notes(rows)]
    if any(row.get("kind") == "phantom" for row in rows):
        parts.insert(0, f"**{PHANTOM_MARK}**")
    if baselines:
        parts.append(_baselines_table(baselines))
    parts.append(_class_table(rows))
    parts += [findings_in_words(measured), _machines(measured)]
    parts += [f"![{shown}]({place})" for shown, place in (figures or {}).items()]
    return "\n\n".join(part for part in parts if part)


def figure_links(readme: Path, results: Path) -> dict[str, str]:
    """Return what the figures found in `results` show -> their paths, seen from the README."""
    return {
        shown: Path(os.path.relpath(results / name, readme.parent)).as_posix()
        for name, shown in FIGURES.items()
        if (results / name).is_file()
    }


def write_table(measured: dict, baselines: Mapping | None, readme: Path, results: Path) -> str:
    """Write `table.json`, and the README's results between its markers; return the latter.

    Raises:
        InputError: the README lacks a marker.
    """
    text = readme.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"{readme} must hold the lines {BEGIN} and {END}, for the table's place.")
    write_json(results / "table.json", measured)
    shown = as_markdown(measured, baselines, figure_links(readme, results))
    with atomic_write(readme) as temporary:
        temporary.write_text(f"{before}{BEGIN}\n{shown}\n{END}{after}", encoding="utf-8")
    return shown


def span(rate: Mapping) -> str:
    """{"value": 0.889, "low": 0.865, "high": 0.91} -> "88.9% (86.5 to 91.0)"."""
    if rate["low"] is None:
        return f"{rate['value']:.1%}"
    return f"{rate['value']:.1%} ({100 * rate['low']:.1f} to {100 * rate['high']:.1f})"


def _main_table(rows: Sequence[dict]) -> str:
    lines = []
    for row in rows:
        cells = [row["title"], FRAMEWORKS[row["framework"]]]
        cells.append(f"{len(row['cells'])} of {row['wanted']}")
        if row["cells"]:
            cells += [_weights(row), *_rates(row), f"{row['minutes']:.1f}"]
            cells.append(f"{row['images_per_second']:.0f}")
        else:
            cells.append("not run here")
        lines.append(cells)
    return _table(_HEAD, lines, left=(0, 1, 3))


def _rates(row: Mapping) -> list[str]:
    """Return accuracy, per group, balanced, macro F1 and AUROC, of a row or of a baseline."""
    return [
        span(row["accuracy"]),
        _percent(row["group_accuracy"]),
        _percent(row["balanced_accuracy"]["value"]),
        decimal(row["macro_f1"]["value"], 3),
        decimal(row["macro_auroc"], 3),
    ]


def _weights(row: Mapping) -> str:
    named = {"scratch": "random draw", "imagenet": "ImageNet"}.get(row["init"], "file")
    return f"{named}, {' and '.join(row['redraw'])} drawn" if row["redraw"] else named


def _notes(rows: Sequence[dict]) -> str:
    """Return what the columns mean, and how to run what was not run."""
    done = [row for row in rows if row["cells"]]
    files = {row["init"] for row in done} - {"scratch", "imagenet"}
    notes = [
        "Intervals by bootstrap over groups (patients, or copies and neighbours of a slice). "
        "*Per group*: one vote each, of one run; several seeds are means, never an ensemble."
    ]
    if files:
        notes.append(
            f"*File*: {' and '.join(f'`{name}`' for name in sorted(files))}; "
            "*drawn*: begun from a random draw, as the file lacks it."
        )
    arms = dict.fromkeys(row["arm"] for row in rows if not row["cells"])
    if arms:
        notes.append(f"What was not run here: `python -m src reproduce --only {' '.join(arms)}`.")
    return " ".join(notes)


def _baselines_table(scores: Mapping) -> str:
    head = ("baseline, five clean folds pooled", *_HEAD[4:9], "official split (leaks)")
    lines = [
        [name, *_rates(scores["pooled"][name]), span(scores["official"][name]["accuracy"])]
        for name in BASELINES
    ]
    return _table(head, lines, left=(0,))


def _class_table(rows: Sequence[dict]) -> str:
    """Return the pooled exact twins class by class; empty until one of them was run."""
    found = {row["framework"]: row for row in rows if row["title"] == POOLED and row["cells"]}
    if not found:
        return ""
    kinds = ("sensitivity", "specificity", "AUROC")
    head = [POOLED, "images", *(f"{kind}, {name}" for kind in kinds for name in ("TF", "PT"))]
    lines = []
    for name in CLASS_NAMES:
        of_class = {key: row["per_class"][name] for key, row in found.items()}
        cells = [name, f"{max(rates['support'] for rates in of_class.values()):,}"]
        for kind, show in zip(kinds, (_percent, _percent, lambda value: decimal(value, 3))):
            cells += [show(of_class.get(key, {}).get(kind.lower())) for key in FRAMEWORKS]
        lines.append(cells)
    return _table(head, lines, left=(0,))


def _machines(measured: dict) -> str:
    """Return on which machines the times hold."""
    titles: dict[str, dict[str, None]] = {}
    for row in measured["rows"]:
        for machine in row.get("hardware", ()):
            titles.setdefault(machine, {})[row["title"]] = None
    where = next(iter(titles))
    if len(titles) > 1:
        where = "; ".join(f"{machine} ({'; '.join(rows)})" for machine, rows in titles.items())
    filling = measured["speed"]["filling_minutes"]
    return (
        f"Times hold for {where}. They leave out the outputs of the frozen blocks, computed once "
        f"for all runs in {filling:.0f} minutes; images/s are those of training."
    )


def _table(head: Sequence[str], lines: Sequence[Sequence[str]], left: Sequence[int]) -> str:
    rule = ["---" if place in left else "---:" for place in range(len(head))]
    padded = [[*cells, *[""] * (len(head) - len(cells))] for cells in lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *padded))


def _percent(value: float | None) -> str:
    return MISSING if value is None else f"{value:.1%}"
