"""How far a network's probabilities can be trusted: numbers, and the page's section.

Temperature and thresholds are each fold's own, from its validation part; its test part judges them.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from src.common.tables import markdown_table
from src.config import CLASS_NAMES, NO_TUMOUR
from src.evaluation.calibration import (
    BINS,
    brier_parts,
    calibration_error,
    coverage_and_risk,
    predictive_values,
    rates_at,
)
from src.evaluation.intervals import score_interval
from src.evaluation.temperature import tempered
from src.records import FRAMEWORKS, Run
from src.results.tables import INTERVAL, decimals, with_interval

PREVALENCES = (0.01, 0.1, 0.5)  # of a tumour among the people tested
_HEALTHY = CLASS_NAMES.index(NO_TUMOUR)
_ABOUT = (
    "Each fold has its own temperature and thresholds, from its validation part; its test part "
    "judges them ([calibration.py](../../src/evaluation/calibration.py)). The calibration error "
    "has {bins} bins of equally many images. The threshold that finds {wanted} of the tumours in "
    "validation finds, in the test parts of single folds, {carried}. The predictive "
    "values are of this threshold; in these images tumours are far commoner than among people."
)


def calibration(folds: Sequence[Run]) -> dict | None:
    """Return how well a network's probabilities are calibrated, pooled over the clean folds.

    Args:
        folds: the five runs of one arm and framework.
    Returns:
        temperatures, one for each fold; error, tempered_error, coverage (share of images with an
        answer) and risk (share of wrong ones among these): value, low, high; brier: `brier_parts`
        of any tumour, likewise; points: for each operating point sensitivity, specificity (value,
        low, high), folds (each one's sensitivity) and predictive, a prevalence as text -> ppv and
        npv, likewise. None where a run has no thresholds.
    """
    if not folds or any("thresholds" not in run.record for run in folds):
        return None
    limits = [run.record["thresholds"] for run in folds]
    labels, raw, groups = (
        np.concatenate([getattr(run.predictions, name) for run in folds])
        for name in ("labels", "probs", "groups")
    )
    fold = np.repeat(range(len(folds)), [len(run.predictions.labels) for run in folds])
    parts = [tempered(run.predictions.probs, of["temperature"]) for run, of in zip(folds, limits)]
    probs, sure_from = np.concatenate(parts), np.array([of["sure_from"] for of in limits])[fold]
    tumour, chances = labels != _HEALTHY, 1 - probs[:, _HEALTHY]

    def interval(score: Callable, *columns: np.ndarray) -> dict:
        return score_interval(lambda rows: score(*(each[rows] for each in columns)), groups)

    found = {
        "temperatures": [of["temperature"] for of in limits],
        "error": interval(calibration_error, labels, raw),
        "tempered_error": interval(calibration_error, labels, probs),
        "brier": {
            name: interval(partial(_named, brier_parts, name), tumour, chances)
            for name in ("brier", "reliability", "resolution", "uncertainty")
        },
        "points": {},
    }
    for name in ("coverage", "risk"):
        answered = partial(_named, coverage_and_risk, name)
        found[name] = interval(answered, labels, probs, sure_from)
    for wanted in limits[0]["operating_points"]:
        cuts = np.array([of["operating_points"][wanted]["threshold"] for of in limits])[fold]
        point = {
            name: interval(partial(_named, rates_at, name), tumour, chances, cuts)
            for name in ("sensitivity", "specificity")
        }
        point["folds"] = [
            rates_at(tumour[fold == k], chances[fold == k], cuts[fold == k])["sensitivity"]
            for k in range(len(folds))
        ]
        point["predictive"] = {
            str(prevalence): {
                name: interval(partial(_predictive, name, prevalence), tumour, chances, cuts)
                for name in ("ppv", "npv")
            }
            for prevalence in PREVALENCES
        }
        found["points"][wanted] = point
    return found


def _named(score: Callable[..., dict], name: str, *columns: np.ndarray) -> float | None:
    return score(*columns)[name]


def _predictive(name: str, prevalence: float, *columns: np.ndarray) -> float | None:
    rates = rates_at(*columns)
    return (
        None if None in rates.values() else predictive_values(**rates, prevalence=prevalence)[name]
    )


def calibration_section(title: str, found: Mapping[str, dict | None]) -> str:
    """Return the table of calibration and use; "" where no run has thresholds.

    Args:
        title: of the arm.
        found: {"tf", "pt"} -> what `calibration` returns.
    """
    done = [each for each in found.values() if each]
    if not done:
        return ""
    rows = {
        "calibration error of the softmax": lambda each: each["error"],
        "after division by the temperature": lambda each: each["tempered_error"],
        "images with an answer that is not *unsure*": lambda each: each["coverage"],
        "wrong among these answers": lambda each: each["risk"],
    }
    for wanted in done[0]["points"]:
        for name in ("sensitivity", "specificity"):
            shown = f"any tumour, threshold for {float(wanted):.0%}: {name}"
            rows[shown] = lambda each, w=wanted, n=name: each["points"][w][n]
    for prevalence in PREVALENCES:
        for name, kind in (("ppv", "positive"), ("npv", "negative")):
            shown = f"{kind} predictive value if {prevalence:.0%} have a tumour"
            rows[shown] = lambda each, w=wanted, p=str(prevalence), n=name: each["points"][w][
                "predictive"
            ][p][n]
    lines = [
        [name, *(with_interval(each and take(each)) for each in found.values())]
        for name, take in rows.items()
    ]
    for name in done[0]["brier"]:
        shown = f"{'Brier score' if name == 'brier' else name} of any tumour"
        lines.append([shown, *(decimals(each and each["brier"][name]) for each in found.values())])
    head = (title, *(f"{FRAMEWORKS[key]} {INTERVAL}" for key in found))
    wanted = list(done[0]["points"])[-1]
    rates = {key: each["points"][wanted]["folds"] for key, each in found.items() if each}
    carried = " and ".join(
        f"{min(each):.1%} to {max(each):.1%} ({FRAMEWORKS[key]})" for key, each in rates.items()
    )
    return f"{markdown_table(head, lines)}\n\n" + _ABOUT.format(
        bins=BINS,
        wanted=f"{float(wanted):.0%}",
        carried=carried,
    )
