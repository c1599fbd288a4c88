"""Every generated table of results: the page in `notebooks/results`, and the README's short one."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from src.common.errors import InputError
from src.common.files import atomic_write
from src.comparison.baselines import BASELINES, NEIGHBOUR, PROBE
from src.comparison.report.style import PHANTOM_NOTICE
from src.comparison.report.tables import MISSING, decimal, signed
from src.config import CLASS_NAMES
from src.records import FRAMEWORKS
from src.results.statistics import OFFICIAL, POOLED

BEGIN, END = "<!-- results -->", "<!-- /results -->"
FIGURES = {  # file name -> what it shows, for those who cannot see it
    "accuracy.png": "Accuracy on the official split, on the clean folds, and of baselines",
    "twins.png": "How often twins, and how often seeds, put an image into the same class",
    "time.png": "Minutes per run, and what they are spent on",
}
_NO_BREAK = "\u00a0"  # a space at which no line is broken
_INTERVAL = f"(95{_NO_BREAK}% interval)"
_SCORES = (
    f"accuracy {_INTERVAL}",
    f"one vote per group {_INTERVAL}",
    "balanced accuracy",
    "macro F1",
    "macro AUROC",
)
_COSTS = {
    "minutes": "minutes per run",
    "images_per_second": "images per second",
    "peak_memory_mb": "peak memory, MiB",
}
_BASELINE_NAMES = {  # in the README's short table
    PROBE: "linear probe on the frozen features",
    NEIGHBOUR: "nearest neighbour, 32 x 32 pixels",
    "thumbnail 8x8": "8 x 8 pixels",
    "border": "border pixels only",
    "majority": "always the commonest class",
}


def write_between_markers(file: Path, text: str) -> None:
    """Replace what stands between BEGIN and END in a Markdown file.

    Raises:
        InputError: the file lacks a marker.
    """
    before, begin, rest = file.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(
            f"{file} must hold the lines {BEGIN} and {END}: the table is written between them."
        )
    with atomic_write(file) as temporary:
        temporary.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def short_table(measured: Mapping, baselines: Mapping, recipes: Mapping) -> str:
    """Return the README's table: the exact twins and the baselines, on both splits.

    Args:
        measured: from `src.results.statistics.measure`.
        baselines: the scores in `baselines.json`.
        recipes: `recipes.json`, which says how the learning rate was chosen.
    """
    head = (
        "",
        f"clean split, five folds {_INTERVAL}",
        f"one vote per group {_INTERVAL}",
        "official split (leaks)",
    )
    lines = []
    for framework, name in FRAMEWORKS.items():
        clean, official = (
            next(r for r in measured["rows"] if (r["title"], r["framework"]) == (title, framework))
            for title in (POOLED, OFFICIAL)
        )
        lines.append([f"Xception in {name} ¹", *_both_splits(clean, official)])
    for key, name in _BASELINE_NAMES.items():
        lines.append([name, *_both_splits(baselines["pooled"][key], baselines["official"][key])])
    return f"{_table(head, lines, left=(0,))}\n\n¹ {learning_rate_note(recipes)}"


def learning_rate_note(recipes: Mapping) -> str:
    """Return the footnote on the images that chose the learning rate."""
    return (
        f"The learning rate was chosen on the {recipes['val_images']} validation images of fold 0. "
        "They are test images of other folds, so the pooled scores may be slightly too high."
    )


def results_page(
    measured: Mapping,
    baselines: Mapping | None = None,
    recipes: Mapping | None = None,
    figures: Sequence[str] = (),
) -> str:
    """Return all tables of the results; one sentence while no run is done.

    Args:
        measured, baselines, recipes: as `short_table`; the latter two if they are there.
        figures: names of FIGURES that lie beside the page.
    """
    rows = measured["rows"]
    if not any(row["cells"] for row in rows):
        return "No run of the grid is recorded yet."
    phantom = any(row.get("kind") == "phantom" for row in rows)
    note = f"¹ {learning_rate_note(recipes)} " if recipes else ""
    parts = {
        "": f"**{PHANTOM_NOTICE}**" if phantom else "",
        "Scores": f"{_score_table(rows, bool(recipes))}\n\n{note}{_notes(rows)}",
        "Baselines": _baselines_table(baselines) if baselines else "",
        "Class by class": _class_table(rows),
        "Differences": _difference_table(measured),
        "Images put into the same class": _agreement_table(measured),
        "Cost": f"{_cost_table(measured['speed'])}\n\n{_machines(measured)}",
        "Figures": "\n\n".join(f"![{FIGURES[name]}]({name})" for name in figures),
    }
    return "\n\n".join(
        f"### {title}\n\n{part}" if title else part for title, part in parts.items() if part
    )


def _both_splits(clean: Mapping, official: Mapping) -> list[str]:
    cells = (clean.get("accuracy"), clean.get("group_accuracy"), official.get("accuracy"))
    return [with_interval(cell) if cell else "not run" for cell in cells]


def with_interval(rate: Mapping) -> str:
    """{"value": 0.889, "low": 0.865, "high": 0.91} -> "88.9% (86.5 to 91.0)"."""
    if rate["low"] is None:
        return f"{rate['value']:.1%}"
    interval = f"({100 * rate['low']:.1f} to {100 * rate['high']:.1f})"
    return f"{rate['value']:.1%} {interval.replace(' ', _NO_BREAK)}"


def points(difference: Mapping | None) -> str:
    """{"value": 0.012, "low": 0.003, "high": 0.021} -> "+1.2 (+0.3 to +2.1)"."""
    if not difference:
        return MISSING
    value, low, high = (
        None if difference[name] is None else signed(100 * difference[name], 1)
        for name in ("value", "low", "high")
    )
    return value if low is None else f"{value} ({low} to {high})".replace(" to ", f"{_NO_BREAK}to ")


def _score_table(rows: Sequence[dict], footnote: bool) -> str:
    lines = []
    for row in rows:
        mark = " ¹" if footnote and row["title"] == POOLED else ""
        line = [
            row["title"] + mark,
            FRAMEWORKS[row["framework"]],
            f"{len(row['cells'])}/{row['wanted']}",
        ]
        lines.append(line + ([_weights(row), *_scores(row)] if row["cells"] else ["not run here"]))
    return _table(("", "framework", "runs done", "weights", *_SCORES), lines, left=(0, 1, 3))


def _scores(row: Mapping) -> list[str]:
    """Return the columns `_SCORES` of a row or of a baseline."""
    return [
        with_interval(row["accuracy"]),
        with_interval(row["group_accuracy"]),
        _percent(row["balanced_accuracy"]["value"]),
        decimal(row["macro_f1"]["value"], 3),
        decimal(row["macro_auroc"]["value"], 3),
    ]


def _weights(row: Mapping) -> str:
    if row["reinit"]:
        return "partial"
    return {"scratch": "random", "imagenet": "ImageNet"}.get(row["init"], "file")


def _notes(rows: Sequence[dict]) -> str:
    """Return what the columns mean, and how to run what was not run."""
    notes = [
        "Intervals come from a bootstrap over groups (patients, or near-copies of a slice). With "
        "several seeds a score is their mean, never that of an ensemble. `table.json` holds the "
        "intervals of all scores, and the number of groups in each class: where there are few, the "
        "interval is too narrow. Rows of the first fold compare with baselines on the first fold."
    ]
    done = [row for row in rows if row["cells"]]
    folds = [rate for row in done if row["title"] == POOLED for rate in row["accuracies"]]
    if len(folds) > 1:
        notes.append(f"Single folds lie between {min(folds):.1%} and {max(folds):.1%}.")
    for name, row in {_weights(row): row for row in reversed(done)}.items():
        if name in ("partial", "file"):
            missing = f", {' and '.join(row['reinit'])} randomly initialised" * bool(row["reinit"])
            notes.append(f"Weights, *{name}*: `{row['init']}`{missing}.")
    if any(0 < len(row["cells"]) < row["wanted"] for row in rows):
        notes.append(
            "**Not finished**: a row with missing runs covers other images than the baselines do."
        )
    arms = dict.fromkeys(row["arm"] for row in rows if not row["cells"])
    if arms:
        command = f"python -m src reproduce --data DIR --init FILE --only {' '.join(arms)}"
        notes.append(f"To run what was not run here: `{command}`.")
    return " ".join(notes)


def _baselines_table(scores: Mapping) -> str:
    splits = {"fold 0": "accuracy, first fold", "official": "accuracy, official split (leaks)"}
    lines = [
        [
            name,
            *_scores(scores["pooled"][name]),
            *(with_interval(scores[split][name]["accuracy"]) for split in splits),
        ]
        for name in BASELINES
    ]
    return _table(("five clean folds pooled", *_SCORES, *splits.values()), lines, left=(0,))


def _class_table(rows: Sequence[dict]) -> str:
    """Return the pooled exact twins class by class; empty until both were run."""
    pooled = [row for row in rows if row["title"] == POOLED and row["cells"]]
    if len(pooled) < len(FRAMEWORKS):
        return ""
    shown = {"sensitivity": _percent, "specificity": _percent, "AUROC": _thousandths}
    lines = []
    for name in CLASS_NAMES:
        line = [name, f"{pooled[0]['support'][name]:,}"]
        for kind, show in shown.items():
            line += [show(row["per_class"][name][kind.lower()]["value"]) for row in pooled]
        lines.append(line)
    head = (
        POOLED,
        "images",
        *(f"{kind}, {name}" for kind in shown for name in FRAMEWORKS.values()),
    )
    return _table(head, lines, left=(0,))


def _difference_table(measured: Mapping) -> str:
    """Return the differences in accuracy whose runs are done."""
    leak = {name: measured["leak"][name] or {} for name in FRAMEWORKS}
    rows = {
        "difference to the linear probe, five folds": measured["against_probe"],
        "official split minus clean split": {
            name: {"value": each["difference"], "low": None, "high": None} if each else None
            for name, each in leak.items()
        },
        "the same, on images of the official test part only": {
            name: each.get("same_images") for name, each in leak.items()
        },
        "stock minus exact, first fold": measured["defaults"],
    }
    lines = [
        [title, *(points(differences[name]) for name in FRAMEWORKS)]
        for title, differences in rows.items()
        if any(differences[name] for name in FRAMEWORKS)
    ]
    between = (measured["agreement"] or {}).get("difference")
    if between:
        lines.append(["PyTorch minus TensorFlow, five folds", "", points(between)])
    head = (f"percentage points of accuracy {_INTERVAL}", *FRAMEWORKS.values())
    return _table(head, lines, left=(0,)) if lines else ""


def _agreement_table(measured: Mapping) -> str:
    agreement, defaults = measured["agreement"], measured["defaults"]["agreement"]
    if not agreement:
        return ""
    rows = {"exact twins, one seed, first fold": agreement["twins"]}
    for key, name in FRAMEWORKS.items():
        rows[f"two seeds of {name}, first fold"] = agreement["seeds"][key]
    rows["stock twins, one seed, first fold"] = [defaults["stock"]] if defaults else []
    five_folds = agreement["five_folds"]
    rows["exact twins, one seed, five folds"] = [] if five_folds is None else [five_folds]
    lines = [[title, _range(shares)] for title, shares in rows.items() if shares]
    return _table(("", "share of test images"), lines, left=(0,))


def _cost_table(speed: Mapping) -> str:
    """Return what a run of each arm took in each framework."""
    lines = []
    for arm, costs in speed["arms"].items():
        line = [arm]
        for key in _COSTS:
            values = [costs[name][key] if costs[name] else None for name in FRAMEWORKS]
            digits = 1 if key == "minutes" else 0
            line += [MISSING if value is None else f"{value:,.{digits}f}" for value in values]
        lines.append([*line, decimal(costs["ratio"], 2)])
    columns = [f"{cost}, {name}" for cost in _COSTS.values() for name in FRAMEWORKS.values()]
    ratio = "images per second, PyTorch divided by TensorFlow"
    return _table(("arm", *columns, ratio), lines, left=(0,))


def _machines(measured: Mapping) -> str:
    """Return on which machines the times were measured, and what they leave out."""
    titles: dict[str, dict[str, None]] = {}
    for row in measured["rows"]:
        for machine in row.get("hardware", ()):
            titles.setdefault(machine, {})[row["title"]] = None
    where = next(iter(titles))
    if len(titles) > 1:
        where = "; ".join(f"{machine} ({'; '.join(rows)})" for machine, rows in titles.items())
    speed = measured["speed"]
    uncached = [
        f"{arm} ({name})"
        for arm, costs in speed["arms"].items()
        for key, name in FRAMEWORKS.items()
        if costs[key] and not costs[key]["cached"]
    ]
    without = f" No cache is used by {', '.join(uncached)}." if uncached else ""
    return (
        f"Measured on {where}. Minutes leave out testing, and the {speed['filling_minutes']:.0f} "
        "minutes in all for computing the cached outputs of frozen blocks, which both frameworks "
        f"share. Images per second are those of training.{without} The last column compares runs "
        "on one machine only. Peak memory is resident memory, mapped files of the cache included."
    )


def _table(head: Sequence[str], lines: Sequence[Sequence[str]], left: Sequence[int]) -> str:
    rule = ["---" if column in left else "---:" for column in range(len(head))]
    padded = [[*line, *[""] * (len(head) - len(line))] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *padded))


def _percent(value: float | None) -> str:
    return MISSING if value is None else f"{value:.1%}"


def _thousandths(value: float | None) -> str:
    return decimal(value, 3)


def _range(shares: Sequence[float]) -> str:
    low, high = f"{min(shares):.1%}", f"{max(shares):.1%}"
    return low if low == high else f"{low} to {high}"
