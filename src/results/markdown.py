"""From the grid's numbers to the README's results: tables, findings in words, figures."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from src.common.errors import InputError
from src.common.files import atomic_write, write_json
from src.comparison.baselines import BASELINES
from src.comparison.report.style import PHANTOM_MARK
from src.comparison.report.tables import MISSING, decimal
from src.config import CLASS_NAMES
from src.records import FRAMEWORKS
from src.results.statistics import POOLED, told
from src.results.words import findings_in_words

BEGIN, END = "<!-- results: python -m src reproduce -->", "<!-- /results -->"
FIGURES = {  # file name -> what it shows, for those who cannot see it
    "accuracy.png": "Accuracy on the official split, on the clean folds, and of baselines",
    "twins.png": "How often twins, and how often seeds, give an image the same class",
    "time.png": "Minutes a run, and where they go",
}
_TIED = "\u00a0"  # a space at which no line is broken
_RATES = (
    f"accuracy (95{_TIED}% interval)",
    f"per group (95{_TIED}% interval)",
    "balanced",
    "macro F1",
    "AUROC",
)
_SHORT = {"tf": "TF", "pt": "PT"}
_COSTS = {"minutes": "min/run", "images_per_second": "images/s", "peak_memory_mb": "peak MiB"}


def as_markdown(
    measured: dict, baselines: Mapping | None = None, figures: Mapping[str, str] | None = None
) -> str:
    """Return the results as the README shows them; one sentence while nothing was run.

    Args:
        measured: from `src.results.statistics.measure`.
        baselines: the scores in `baselines.json`.
        figures: what is in them -> where they lie, seen from the README.
    """
    rows = measured["rows"]
    if not any(row["cells"] for row in rows):
        return "No run of the grid is recorded yet."
    parts = [findings_in_words(measured), _main_table(rows), _notes(rows)]
    if any(row.get("kind") == "phantom" for row in rows):
        parts.insert(0, f"**{PHANTOM_MARK}**")
    if baselines:
        parts.append(_baselines_table(baselines))
    parts += [_class_table(rows), _cost_table(measured["speed"]), _machines(measured)]
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
    interval = f"({100 * rate['low']:.1f} to {100 * rate['high']:.1f})"
    return f"{rate['value']:.1%} {interval.replace(' ', _TIED)}"


def _main_table(rows: Sequence[dict]) -> str:
    lines = []
    for row in rows:
        cells = [told(row["title"], rows), FRAMEWORKS[row["framework"]]]
        cells.append(f"{len(row['cells'])}/{row['wanted']}")
        if row["cells"]:
            cells += [_weights(row), *_rates(row)]
        else:
            cells.append("not run here")
        lines.append(cells)
    return _table(("", "framework", "runs", "weights", *_RATES), lines, left=(0, 1, 3))


def _rates(row: Mapping) -> list[str]:
    """Return accuracy, per group, balanced, macro F1 and AUROC, of a row or of a baseline."""
    return [
        span(row["accuracy"]),
        span(row["group_accuracy"]),
        _percent(row["balanced_accuracy"]["value"]),
        _thousandths(row["macro_f1"]["value"]),
        _thousandths(row["macro_auroc"]["value"]),
    ]


def _weights(row: Mapping) -> str:
    named = {"scratch": "random", "imagenet": "ImageNet"}.get(row["init"], "file")
    return "partial" if row["reinit"] else named


def _notes(rows: Sequence[dict]) -> str:
    """Return what the columns mean, and how to run what was not run."""
    notes = [
        "Intervals by bootstrap over groups (patients, or copies and neighbours of a slice). "
        "*Per group*: one vote each, of one run; several seeds are means, never an ensemble. A "
        "seed decides what is drawn, dropout, the order, and which tenth validates. "
        "`notebooks/results/table.json` holds the intervals of all scores, class by class too, and "
        "how few groups some classes have: there they are too narrow.",
        "Rows of the first fold are to be held against the baselines' column for it.",
    ]
    done = [row for row in rows if row["cells"]]
    folds = [rate for row in done if row["title"] == POOLED for rate in row["accuracies"]]
    if len(folds) > 1:
        notes.append(f"Single folds lie between {min(folds):.1%} and {max(folds):.1%}.")
    started = {_weights(row): row for row in done if _weights(row) in ("partial", "file")}
    for name, row in started.items():
        drawn = f", {' and '.join(row['reinit'])} begun from a random draw" if row["reinit"] else ""
        notes.append(f"Weights, *{name}*: `{row['init']}`{drawn}.")
    if any(0 < len(row["cells"]) < row["wanted"] for row in rows):
        notes.append(
            "**Not finished**: a row with fewer runs than wanted stands on other images than the "
            "baselines do."
        )
    arms = dict.fromkeys(row["arm"] for row in rows if not row["cells"])
    if arms:
        notes.append(
            f"What was not run here: `python -m src reproduce --data DIR --init FILE --only "
            f"{' '.join(arms)}`."
        )
    return " ".join(notes)


def _baselines_table(scores: Mapping) -> str:
    cuts = {"fold 0": "first fold", "official": "official split (leaks)"}
    head = ("baseline, five clean folds pooled", *_RATES, *cuts.values())
    lines = [
        [name, *_rates(scores["pooled"][name]), *(span(scores[c][name]["accuracy"]) for c in cuts)]
        for name in BASELINES
    ]
    return _table(head, lines, left=(0,))


def _class_table(rows: Sequence[dict]) -> str:
    """Return the pooled exact twins class by class; empty until one of them was run."""
    found = {row["framework"]: row for row in rows if row["title"] == POOLED and row["cells"]}
    if not found:
        return ""
    shown = {"sensitivity": _percent, "specificity": _percent, "AUROC": _thousandths}
    head = [
        told(POOLED, rows),
        "images",
        *(f"{kind}, {name}" for kind in shown for name in _SHORT.values()),
    ]
    lines = []
    for name in CLASS_NAMES:
        cells = [name, f"{max(row['support'][name] for row in found.values()):,}"]
        for kind, show in shown.items():
            rates = [
                found[key]["per_class"][name][kind.lower()] if key in found else {}
                for key in FRAMEWORKS
            ]
            cells += [show(rate.get("value")) for rate in rates]
        lines.append(cells)
    return _table(head, lines, left=(0,))


def _cost_table(speed: Mapping) -> str:
    """Return what a run of each arm took in each framework."""
    head = ["arm", *(f"{cost}, {name}" for cost in _COSTS.values() for name in _SHORT.values())]
    lines = []
    for arm, found in speed["arms"].items():
        cells = [arm]
        for key in _COSTS:
            digits = 1 if key == "minutes" else 0
            known = [found[name][key] if found[name] else None for name in FRAMEWORKS]
            cells += [MISSING if value is None else f"{value:,.{digits}f}" for value in known]
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
    filled = "kept before"
    if filling >= 0.5:
        filled = f"computed in {filling:.0f} minutes where none were kept yet"
    arms = measured["speed"]["arms"].items()
    computed = [
        f"{arm} {_SHORT[name]}"
        for arm, found in arms
        for name in FRAMEWORKS
        if found[name] and not found[name]["cached"]
    ]
    without = f" Nothing is cached for {', '.join(computed)}." if computed else ""
    return (
        f"Times hold for {where}. They leave out the test, and the outputs of the frozen blocks, "
        f"{filled} and shared by both frameworks; images/s are those of training.{without} Peak "
        "MiB are of resident memory, mapped files of the cache among it."
    )


def _table(head: Sequence[str], lines: Sequence[Sequence[str]], left: Sequence[int]) -> str:
    rule = ["---" if place in left else "---:" for place in range(len(head))]
    padded = [[*cells, *[""] * (len(head) - len(cells))] for cells in lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *padded))


def _percent(value: float | None) -> str:
    return MISSING if value is None else f"{value:.1%}"


def _thousandths(value: float | None) -> str:
    return decimal(value, 3)
