"""Every generated part of the results: the page in `notebooks/results`, and the README's table."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from src.common.errors import InputError
from src.common.files import atomic_write
from src.common.tables import markdown_table
from src.comparison.baselines import BASELINES, PROBE
from src.comparison.report.style import PHANTOM_NOTICE
from src.config import CLASS_NAMES
from src.data.audit.leaks import LEAKS
from src.records import FRAMEWORKS
from src.results.calibration import calibration_section
from src.results.counted import COUNTED
from src.results.equivalence import equivalence_section
from src.results.headline import BLOCK14, headline, pairs_of_runs, whole_rows
from src.results.mistakes import mistakes_section
from src.results.search import search_section
from src.results.sections import planes_section, sources_section
from src.results.statistics import POOLED, TUNED
from src.results.tables import INTERVAL, NOT_RUN, cell, points, range_of, with_interval

BEGIN, END = "<!-- results -->", "<!-- /results -->"
FIGURES = {  # file name -> what it shows, for those who cannot see it
    "accuracy.png": "Accuracy on the official split, on the clean folds, and of baselines",
    "twins.png": "How often twins, and how often seeds, put an image into the same class",
    "curves.png": "Training and validation accuracy over the epochs, arm by arm",
}
_SCORES = (
    f"accuracy {INTERVAL}",
    f"by patient {INTERVAL}",
    "balanced accuracy",
    "macro F1",
    "macro AUROC",
)
_ABOUT_SCORES = (
    "Intervals are over groups (patients, or near-copies of a slice; `table.json` holds the "
    "numbers, [intervals.py](../../src/evaluation/intervals.py) the method). With several seeds a "
    "score is their mean, never that of an ensemble. Rows of the first fold compare with baselines "
    "on the first fold; a row with missing runs covers other images than the baselines."
)
_ABOUT_COUNTED = (
    "A *patient* is one of figshare's, recovered for the merge's images "
    "(`dataset/recovered_patients.csv`), and counts as right if more of the slices are put into "
    "the true class than into any other. A *distinct slice* counts once, as the share of its "
    "copies that are right. It is figshare's slice where recovered; elsewhere all images of one "
    "group of the split (near copies of a slice, and joined files in a row) count as one. "
    "Intervals are over groups, for patients over patients."
)
_ABOUT_CT = (
    "CT files are in no part of the clean split: no network of its folds saw one in training, and "
    "each scored all of them. A cell gives the mean share put into the files' own class, and the "
    "fewest and the most files of any network. Several files show one slice."
)
_ABOUT_APART = (
    "Accuracy on the official test images by what `Training` holds of them "
    "(`dataset/official_test.csv`; `python -m src rescore` does this for any network), and what is "
    "gained there over the network of the clean folds, which has seen nothing of them. Intervals "
    "are over groups. Some of these images are in the selection part, on which "
    "*tuned* was chosen."
)
_ABOUT_AGREEMENT = (
    "Each network predicts with whole forward passes of its own, nothing from the feature cache. "
    "*Perturbed start*: PyTorch, and PyTorch with every initial weight changed by one machine "
    "epsilon. Twins that agree as often as that differ by no more than rounding explains."
)
_ABOUT_SIMULATIONS = (
    "[simulations.py](simulations.py) draws predictions whose true accuracy is known, in groups of "
    "the sizes of the real ones, and asks the functions that made the numbers above. *Points "
    "apart*: the standard deviation of the groups' chances of being right, as in PyTorch's real "
    "predictions."
)
_COSTS = {  # of a run -> its title, and how it is shown
    "minutes": ("minutes, fastest run", ",.1f"),
    "images_per_second": ("images per second, fastest run", ",.0f"),
    "peak_memory_mb": ("peak memory, MiB", ",.0f"),
}
_ABOUT_COSTS = (
    "Other work shared the machine, so these numbers say what to expect, not which framework is "
    "faster ([src/comparison/README.md](../../src/comparison/README.md) measures speeds in turns). "
    "Minutes leave out testing, and the {:.0f} minutes in all for computing the cached outputs of "
    "frozen blocks, which both frameworks share; stock PyTorch and the runs from scratch use no "
    "cache. Images per second are those of training. Peak memory is resident memory, mapped files "
    "of the cache included. Measured on {}."
)


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
    """Return the README's table: the fine-tuned network, the exact twins and the baselines.

    Args:
        measured: from `src.results.statistics.measure`.
        baselines: the scores in `baselines.json`.
        recipes: `first_build/recipes.json`, which says how the learning rate was chosen.
    """
    head = ("", f"by image {INTERVAL}", f"by patient {INTERVAL}", "official split (leaks)")
    lines = []
    for model, scores in headline(measured, baselines).items():
        for framework, (clean, official) in scores.items():
            trained = f" in {FRAMEWORKS[framework]}" if framework else ""
            mark = " ¹" * (model == BLOCK14)
            by_image, leaking = (with_interval(each.get("accuracy")) for each in (clean, official))
            lines.append([f"{model}{trained}{mark}", by_image, _patients(clean), leaking])
    notes = f"¹ {_about_learning_rate(recipes)}"
    return f"{markdown_table(head, lines)}\n\n{notes}"


def _patients(row: Mapping) -> str:
    """Return how many patients one network of each fold gets right: 89.0% (..), 186 of 209."""
    if not (rate := row.get("by", {}).get("patient")):
        return NOT_RUN
    return f"{with_interval(rate)}, {rate['value'] * rate['count']:.0f} of {rate['count']}"


def results_page(
    measured: Mapping,
    baselines: Mapping,
    recipes: Mapping,
    figures: Sequence[str] = (),
) -> str:
    """Return all tables of the results; one sentence while no run is done.

    Args:
        measured, baselines, recipes: as in `short_table`.
        figures: names of FIGURES that lie beside the page.
    """
    done = [row for row in measured["rows"] if row["cells"]]
    if not done:
        return "No run of the grid is recorded yet."
    finished = whole_rows(measured)
    whole = {t: [row for k in FRAMEWORKS if (row := finished[t, k])] for t in (TUNED, POOLED)}
    whole = {title: rows for title, rows in whole.items() if rows}
    about_scores = f"¹ {_about_learning_rate(recipes)} {_ABOUT_SCORES}"
    for title, rows in whole.items():
        folds = [rate for row in rows for rate in row["accuracies"]]
        arm = title.partition(",")[0]
        about_scores += (
            f" Single folds of *{arm}* lie between {min(folds):.1%} and {max(folds):.1%}."
        )
    costs = [each for arm in measured["costs"].values() for each in arm.values() if each]
    machines = "; ".join(dict.fromkeys(name for each in costs for name in each["hardware"]))
    about_costs = _ABOUT_COSTS.format(measured["filling_minutes"], machines)
    phantom = any(row["kind"] == "phantom" for row in done)
    ct = "\n\n".join(filter(None, (_ct_table(*each) for each in measured["ct"].items())))
    parts = {
        "Scores": f"{_score_table(measured['rows'])}\n\n{about_scores}",
        "By patient, slice, image and source": "\n\n".join(
            [*(_counted_table(measured, title) for title in whole or [POOLED]), _ABOUT_COUNTED]
        ),
        "Tumours of unknown source, none in training": sources_section(measured["sources"]),
        "Axial, coronal and sagittal slices": planes_section(measured["planes"]),
        "CT": f"{ct}\n\n{_ABOUT_CT}" if ct else "",
        "Baselines": _baselines_table(baselines, measured["baselines"]),
        "Class by class": "\n\n".join(map(_class_table, whole.values())),
        "Where the mistakes are": mistakes_section(measured["mistakes"]),
        "Calibration and use": calibration_section(TUNED, measured["calibration"]),
        "Differences": _difference_table(measured),
        "The official score taken apart": _apart_table(measured),
        "Images put into the same class": (
            f"{_agreement_table(measured['agreement'])}\n\n{_ABOUT_AGREEMENT}"
        ),
        "Equivalence": equivalence_section(measured["equivalence"]),
        "Simulations": _simulations(measured["simulations"]),
        "The search of the recipe": search_section(measured["search"]),
        "Cost": f"{_cost_table(measured['costs'])}\n\n{about_costs}",
        "Figures": "\n\n".join(
            [f"![{FIGURES[name]}]({name})" for name in figures]
            + ["An SVG of the same name lies beside each figure, for print."] * bool(figures)
        ),
    }
    tables = [f"### {title}\n\n{part}" for title, part in parts.items() if part]
    return "\n\n".join([f"**{PHANTOM_NOTICE}**"] * phantom + tables)


def _about_learning_rate(recipes: Mapping) -> str:
    return (
        f"The learning rate was chosen on {recipes['val_images']} validation images of fold 0 of "
        "the split's version 1. They are test images of other folds, so the pooled scores may be "
        "slightly too high."
    )


def _score_table(rows: Sequence[Mapping]) -> str:
    lines = []
    for row in (row for row in rows if row["wanted"]):
        scores = [NOT_RUN, *[""] * len(_SCORES)]
        if row["cells"]:
            weights = " ".join([*row["reinit"], "random"])
            scores = [f"{weights} {row.get('mark', '')}".rstrip(), *_scores(row, row["by"])]
        title = row["title"] + " ¹" * (row["title"] == POOLED)
        done = f"{len(row['cells'])}/{row['wanted']}"
        lines.append([title, FRAMEWORKS[row["framework"]], *scores, done])
    return markdown_table(("", "framework", "weights", *_SCORES, "runs done"), lines, left=3)


def _scores(row: Mapping, by: Mapping) -> list[str]:
    """Return the columns `_SCORES` of a row or of a baseline; `by` from `accuracy_by`."""
    means = {"balanced_accuracy": ".1%", "macro_f1": ".3f", "macro_auroc": ".3f"}
    shown = [cell(row[name]["value"], spec) for name, spec in means.items()]
    return [with_interval(row["accuracy"]), with_interval(by.get("patient")), *shown]


def _counted_table(measured: Mapping, title: str) -> str:
    """Return the accuracy of both frameworks and of the probe by each of COUNTED."""
    rows = whole_rows(measured)
    columns = {name: rows[title, key].get("by", {}) for key, name in FRAMEWORKS.items()}
    columns[PROBE] = measured["baselines"].get(PROBE, {})
    lines = []
    for name in COUNTED:
        rates = [by.get(name) for by in columns.values()]
        count = next((rate["count"] for rate in rates if rate), None)
        lines.append([name, cell(count, ","), *map(with_interval, rates)])
    return markdown_table((title, "number", *(f"{name} {INTERVAL}" for name in columns)), lines)


def _ct_table(arm: str, ct: Mapping) -> str:
    """Return how many CT images of each class an arm puts into it; "" if none were scored."""
    classes = [name for name in CLASS_NAMES if any(name in ct[key] for key in FRAMEWORKS)]
    lines = []
    for name in classes:
        counted = [ct[key].get(name) for key in FRAMEWORKS]
        count = next(each["count"] for each in counted if each)
        shares = [
            f"{sum(each['right']) / len(each['right']) / count:.1%} "
            f"({min(each['right'])} to {max(each['right'])} of {count})"
            if each
            else NOT_RUN
            for each in counted
        ]
        lines.append([name, f"{count}", *shares])
    return markdown_table((f"CT, {arm}", "files", *FRAMEWORKS.values()), lines) if lines else ""


def _baselines_table(scores: Mapping, counted: Mapping) -> str:
    splits = {"fold 0": "accuracy, first fold", "official": "accuracy, official split (leaks)"}
    lines = []
    for name in BASELINES:
        others = [with_interval(scores[split][name]["accuracy"]) for split in splits]
        by = counted.get(name, {})
        lines.append([name, *_scores(scores["pooled"][name], by), *others])
    return markdown_table(("five clean folds pooled", *_SCORES, *splits.values()), lines)


def _class_table(pooled: Sequence[Mapping]) -> str:
    """Return the rates of each class in `pooled`, a row of one title for each framework."""
    shown = {"sensitivity": ".1%", "specificity": ".1%", "AUROC": ".3f"}
    head = [f"{kind}, {FRAMEWORKS[row['framework']]}" for kind in shown for row in pooled]
    lines = []
    for name in CLASS_NAMES:
        rates = [
            cell(row["per_class"][name][kind.lower()]["value"], spec)
            for kind, spec in shown.items()
            for row in pooled
        ]
        lines.append([name, f"{pooled[0]['support'][name]:,}", *rates])
    return markdown_table((pooled[0]["title"], "images", *head), lines)


def _difference_table(measured: Mapping) -> str:
    pairs = {f"tuned minus {other}": gain for other, gain in measured["gains"].items()}
    pairs["stock minus exact"] = measured["defaults"]
    gains = {
        f"{title}, five folds{over}": {name: gain[name] and gain[name][kind] for name in FRAMEWORKS}
        for title, gain in pairs.items()
        for kind, over in {"images": "", "folds": ", interval over folds"}.items()
        if any(gain.values())
    }
    rows = gains | {
        "exact minus linear probe, five folds": measured["against_probe"],
    }
    for arm, key in {"tuned": "tuned_leak", "exact": "leak"}.items():
        leak = {name: measured[key][name] or {} for name in FRAMEWORKS}
        rows[f"{arm}, official split minus clean split"] = {
            name: {"value": each.get("difference"), "low": None} for name, each in leak.items()
        }
        rows[f"{arm}, the same, on images of the official test part only"] = {
            name: each.get("same_images") for name, each in leak.items()
        }
    lines = [[title, *(points(each[name]) for name in FRAMEWORKS)] for title, each in rows.items()]
    for arm, difference in measured["agreement"]["differences"].items():
        lines.append([f"{arm}, PyTorch minus TensorFlow, five folds", "", points(difference)])
    return markdown_table(
        (f"percentage points of accuracy {INTERVAL}", *FRAMEWORKS.values()), lines
    )


def _apart_table(measured: Mapping) -> str:
    """Return the official score by what Training holds of an image; "" without such runs."""
    lines = []
    for arm, key in {"tuned": "tuned_leak", "exact": "leak"}.items():
        for name, framework in FRAMEWORKS.items():
            found = measured[key][name]
            if not found or not found["apart"]:
                continue
            apart, title = found["apart"], f"{arm}, {framework}"
            lines.append([title, *(with_interval(apart["parts"][part]) for part in LEAKS[:3])])
            lines[-1].append(points(apart["memory"]))
            gains = [points(found["parts"].get(part)) for part in LEAKS[:3]]
            lines.append([f"{title}, minus its clean folds, points", *gains, ""])
    if not lines:
        return ""
    head = ("Training holds", *(f"the {part}" for part in LEAKS[:3]), "file or slice minus others")
    return f"{markdown_table(head, lines)}\n\n{_ABOUT_APART}"


def _agreement_table(agreement: Mapping) -> str:
    titles = {"twins": "{} twins, one seed", "itself": "{} PyTorch and itself, perturbed start"}
    titles |= {key: f"two seeds of {name}" for key, name in FRAMEWORKS.items()}
    pairs = pairs_of_runs(agreement)
    lines = [[titles[pair].format(arm), range_of(pairs[arm, pair])] for arm, pair in pairs]
    for arm, share in agreement["five_folds"].items():
        lines.append([f"{arm} twins, one seed, five folds", range_of([share])])
    return markdown_table(("first fold", "share of test images"), lines)


def _simulations(rows: Sequence[Mapping]) -> str:
    """Return how often what was promised came true on made-up predictions; "" without rows."""
    if not rows:
        return ""
    lines = []
    for row in rows:
        promised = "" if row["wanted"] is None else f"{row['wanted']:.1%}"
        lines.append([row["what"], row["where"], promised, f"{row['found']:.1%}"])
    head = ("on made-up predictions", "in", "promised", "found")
    return f"{markdown_table(head, lines, left=2)}\n\n{_ABOUT_SIMULATIONS}"


def _cost_table(arms: Mapping) -> str:
    lines = []
    for arm, costs in arms.items():
        cells = [
            cell(costs[name][key], spec) if costs[name] else NOT_RUN
            for key, (_, spec) in _COSTS.items()
            for name in FRAMEWORKS
        ]
        lines.append([arm, *cells])
    columns = [f"{title}, {name}" for title, _ in _COSTS.values() for name in FRAMEWORKS.values()]
    return markdown_table(("arm", *columns), lines)
