"""Every generated table of results: the page in `notebooks/results`, and the README's short one."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from src.common.errors import InputError
from src.common.files import atomic_write
from src.comparison.baselines import BASELINES, NEIGHBOUR, PROBE
from src.comparison.report.style import PHANTOM_NOTICE
from src.comparison.report.tables import MISSING, signed
from src.config import CLASS_NAMES
from src.records import FRAMEWORKS
from src.results.statistics import OFFICIAL, POOLED

BEGIN, END = "<!-- results -->", "<!-- /results -->"
FIGURES = {  # file name -> what it shows, for those who cannot see it
    "accuracy.png": "Accuracy on the official split, on the clean folds, and of baselines",
    "twins.png": "How often twins, and how often seeds, put an image into the same class",
    "time.png": "Minutes per run, and what they are spent on",
}
NOT_RUN = "not run here"
_NO_BREAK = "\u00a0"  # a space at which no line is broken
_INTERVAL = f"(95{_NO_BREAK}% interval)"
_SCORES = (
    f"accuracy {_INTERVAL}",
    f"one vote per group {_INTERVAL}",
    "balanced accuracy",
    "macro F1",
    "macro AUROC",
)
_ABOUT_SCORES = (
    "Intervals come from a bootstrap over groups (patients, or near-copies of a slice); where a "
    "class has few groups, they are too narrow (`table.json` holds the numbers). With several "
    "seeds a score is their mean, never that of an ensemble. Rows of the first fold compare with "
    "baselines on the first fold; a row with missing runs covers other images than the baselines."
)
_COSTS = {  # of a run -> its title, and how it is shown
    "minutes": ("minutes per run", ",.1f"),
    "images_per_second": ("images per second", ",.0f"),
    "peak_memory_mb": ("peak memory, MiB", ",.0f"),
}
_ABOUT_COSTS = (
    "Minutes leave out testing, and the {:.0f} minutes in all for computing the cached outputs of "
    "frozen blocks, which both frameworks share; stock PyTorch and the runs from scratch use no "
    "cache. Images per second are those of training; the last column compares runs on one machine "
    "only. Peak memory is resident memory, mapped files of the cache included. Measured on {}."
)
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
    clean = f"clean split, five folds {_INTERVAL}"
    head = ("", clean, f"one vote per group {_INTERVAL}", "official split (leaks)")
    rows = {(row["title"], row["framework"]): row for row in measured["rows"]}
    shown = {
        f"Xception in {name} ¹": (rows[POOLED, framework], rows[OFFICIAL, framework])
        for framework, name in FRAMEWORKS.items()
    }
    for key, name in _BASELINE_NAMES.items():
        shown[name] = baselines["pooled"][key], baselines["official"][key]
    lines = []
    for name, (clean, official) in shown.items():
        rates = clean.get("accuracy"), clean.get("group_accuracy"), official.get("accuracy")
        lines.append([name, *map(with_interval, rates)])
    return f"{_table(head, lines)}\n\n¹ {_about_learning_rate(recipes)}"


def results_page(
    measured: Mapping, baselines: Mapping, recipes: Mapping, figures: Sequence[str] = ()
) -> str:
    """Return all tables of the results; one sentence while no run is done.

    Args:
        measured, baselines, recipes: as in `short_table`.
        figures: names of FIGURES that lie beside the page.
    """
    done = [row for row in measured["rows"] if row["cells"]]
    if not done:
        return "No run of the grid is recorded yet."
    pooled = [row for row in done if row["title"] == POOLED]
    about_scores = f"¹ {_about_learning_rate(recipes)} {_ABOUT_SCORES}"
    if folds := [rate for row in pooled for rate in row["accuracies"]]:
        about_scores += f" Single folds lie between {min(folds):.1%} and {max(folds):.1%}."
    machines = "; ".join(dict.fromkeys(name for row in done for name in row["hardware"]))
    about_costs = _ABOUT_COSTS.format(measured["speed"]["filling_minutes"], machines)
    phantom = any(row["kind"] == "phantom" for row in done)
    parts = {
        "Scores": f"{_score_table(measured['rows'])}\n\n{about_scores}",
        "Baselines": _baselines_table(baselines),
        "Class by class": _class_table(pooled) if pooled else "",
        "Differences": _difference_table(measured),
        "Images put into the same class": _agreement_table(measured),
        "Cost": f"{_cost_table(measured['speed']['arms'])}\n\n{about_costs}",
        "Figures": "\n\n".join(f"![{FIGURES[name]}]({name})" for name in figures),
    }
    tables = [f"### {title}\n\n{part}" for title, part in parts.items() if part]
    return "\n\n".join([f"**{PHANTOM_NOTICE}**"] * phantom + tables)


def _about_learning_rate(recipes: Mapping) -> str:
    return (
        f"The learning rate was chosen on the {recipes['val_images']} validation images of fold 0. "
        "They are test images of other folds, so the pooled scores may be slightly too high."
    )


def with_interval(rate: Mapping | None) -> str:
    """{"value": 0.889, "low": 0.865, "high": 0.91} -> "88.9% (86.5 to 91.0)"."""
    if not rate:
        return NOT_RUN
    if rate["low"] is None:
        return f"{rate['value']:.1%}"
    interval = f"({100 * rate['low']:.1f} to {100 * rate['high']:.1f})"
    return f"{rate['value']:.1%} {interval.replace(' ', _NO_BREAK)}"


def points(difference: Mapping | None) -> str:
    """{"value": 0.012, "low": 0.003, "high": 0.021} -> "+1.2 (+0.3 to +2.1)"."""
    if not difference or difference["value"] is None:
        return NOT_RUN
    if difference["low"] is None:
        return signed(100 * difference["value"], 1)
    value, low, high = (signed(100 * difference[name], 1) for name in ("value", "low", "high"))
    return f"{value} ({low}{_NO_BREAK}to {high})"


def _score_table(rows: Sequence[Mapping]) -> str:
    names = {"scratch": "random", "imagenet": "ImageNet"}
    lines = []
    for row in rows:
        scores = [NOT_RUN, *[""] * len(_SCORES)]
        if row["cells"]:
            weights = names.get(row["init"], "file")
            reinit = " and ".join(row["reinit"])
            scores = [f"{reinit} random" if reinit else weights, *_scores(row)]
        title = row["title"] + " ¹" * (row["title"] == POOLED)
        done = f"{len(row['cells'])}/{row['wanted']}"
        lines.append([title, FRAMEWORKS[row["framework"]], *scores, done])
    return _table(("", "framework", "weights", *_SCORES, "runs done"), lines, left=3)


def _scores(row: Mapping) -> list[str]:
    """Return the columns `_SCORES` of a row or of a baseline."""
    means = {"balanced_accuracy": ".1%", "macro_f1": ".3f", "macro_auroc": ".3f"}
    shown = [_shown(row[name]["value"], spec) for name, spec in means.items()]
    return [with_interval(row["accuracy"]), with_interval(row["group_accuracy"]), *shown]


def _baselines_table(scores: Mapping) -> str:
    splits = {"fold 0": "accuracy, first fold", "official": "accuracy, official split (leaks)"}
    lines = []
    for name in BASELINES:
        others = [with_interval(scores[split][name]["accuracy"]) for split in splits]
        lines.append([name, *_scores(scores["pooled"][name]), *others])
    return _table(("five clean folds pooled", *_SCORES, *splits.values()), lines)


def _class_table(pooled: Sequence[Mapping]) -> str:
    shown = {"sensitivity": ".1%", "specificity": ".1%", "AUROC": ".3f"}
    head = [f"{kind}, {FRAMEWORKS[row['framework']]}" for kind in shown for row in pooled]
    lines = []
    for name in CLASS_NAMES:
        rates = [
            _shown(row["per_class"][name][kind.lower()]["value"], spec)
            for kind, spec in shown.items()
            for row in pooled
        ]
        lines.append([name, f"{pooled[0]['support'][name]:,}", *rates])
    return _table((POOLED, "images", *head), lines)


def _difference_table(measured: Mapping) -> str:
    leak = {name: measured["leak"][name] or {} for name in FRAMEWORKS}
    rows = {
        "difference to the linear probe, five folds": measured["against_probe"],
        "official split minus clean split": {
            name: {"value": leak[name].get("difference"), "low": None} for name in FRAMEWORKS
        },
        "the same, on images of the official test part only": {
            name: leak[name].get("same_images") for name in FRAMEWORKS
        },
        "stock minus exact, first fold": measured["defaults"],
    }
    lines = [[title, *(points(each[name]) for name in FRAMEWORKS)] for title, each in rows.items()]
    between = (measured["agreement"] or {}).get("difference")
    lines.append(["PyTorch minus TensorFlow, five folds", "", points(between)])
    return _table((f"percentage points of accuracy {_INTERVAL}", *FRAMEWORKS.values()), lines)


def _agreement_table(measured: Mapping) -> str:
    agreement = measured["agreement"]
    if not agreement:
        return ""
    rows = {
        "exact twins, one seed, first fold": agreement["twins"],
        "two seeds of TensorFlow, first fold": agreement["seeds"]["tf"],
        "two seeds of PyTorch, first fold": agreement["seeds"]["pt"],
        "stock twins, one seed, first fold": [measured["defaults"]["agreement"]["stock"]],
        "exact twins, one seed, five folds": [agreement["five_folds"]],
    }
    return _table(("", "share of test images"), [[key, _range(rows[key])] for key in rows])


def _cost_table(arms: Mapping) -> str:
    lines = []
    for arm, costs in arms.items():
        cells = [
            format(costs[name][key], spec) if costs[name] else NOT_RUN
            for key, (_, spec) in _COSTS.items()
            for name in FRAMEWORKS
        ]
        lines.append([arm, *cells, _shown(costs["ratio"], ".2f")])
    columns = [f"{title}, {name}" for title, _ in _COSTS.values() for name in FRAMEWORKS.values()]
    return _table(("arm", *columns, "images per second, PyTorch divided by TensorFlow"), lines)


def _table(head: Sequence[str], lines: Sequence[Sequence[str]], left: int = 1) -> str:
    """Return a Markdown table, its first `left` columns aligned left."""
    rule = ["---"] * left + ["---:"] * (len(head) - left)
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))


def _shown(value: float | None, spec: str) -> str:
    return MISSING if value is None else format(value, spec)


def _range(shares: Sequence[float | None]) -> str:
    if not shares or None in shares:
        return NOT_RUN
    low, high = f"{min(shares):.1%}", f"{max(shares):.1%}"
    return low if low == high else f"{low} to {high}"
