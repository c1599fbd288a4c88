"""Within which margin the two frameworks are equally accurate: numbers and the page's section."""

from collections.abc import Mapping, Sequence

import numpy as np

from src.common.tables import markdown_table
from src.evaluation.equivalence import (
    CONFIDENCE,
    MOST,
    power,
    repetitions_needed,
    smallest_margin,
    variance_shares,
)
from src.evaluation.intervals import fold_interval
from src.records import FRAMEWORKS, Predictions, Run
from src.results.pool import difference, overlap, select
from src.results.tables import INTERVAL, NOT_RUN, margin, points

STATED = 0.01  # of accuracy: for the tuned arm over folds, when four of the five were known
COMPARED = {  # title -> what `equivalence` calls it, and what is counted
    "tuned, these networks, five folds": ("tuned images", "images"),
    "tuned, over folds (other training images)": ("tuned folds", "folds"),
    "exact, these networks, five folds": ("images", "images"),
    "exact, over folds (other training images)": ("folds", "folds"),
    "exact, over seeds, first fold": ("seeds", "seeds"),
    "stock, these networks, five folds": ("stock images", "images"),
    "stock, over folds (other training images)": ("stock folds", "folds"),
}
MARGINS = (0.005, 0.01)  # of accuracy, at which power is told
_ABOUT = (
    "Two one-sided tests at 5 % ([equivalence.py](../../src/evaluation/equivalence.py)): the twins "
    "are equally accurate within the margin that the 90 % interval stays in. *Power* is the chance "
    "that a margin is shown where models are exactly equal."
)


def equivalence(
    runs: Sequence[Run],
    folds: Mapping[str, Mapping[str, Sequence[Run]]],
    pooled: Mapping[str, Mapping[str, Predictions | None]],
) -> dict:
    """Return within which margin PyTorch is as accurate as TensorFlow, on the clean split.

    Args:
        runs: of the grid.
        folds: "exact", "tuned" and "stock" -> {"tf", "pt"} -> the runs over the five folds.
        pooled: likewise, their predictions joined; None where a fold is missing.
    Returns:
        images (networks fixed, five folds), folds, seeds (of the first fold), and the first two
        again as tuned and stock images, tuned and stock folds: value, low and high (90 %), margin
        (the smallest), count; of folds and seeds also `power` at each of MARGINS. needed: "shared"
        and "own" draws -> at each of MARGINS, how many seeds show equivalence with a power of 80 %.
        variance: from `variance_shares` of the true class's probability. None where runs are
        missing.
    """
    found = dict.fromkeys(("seeds", "needed", "variance"))
    for arm, name in {"exact": "", "tuned": "tuned ", "stock": "stock "}.items():
        found[f"{name}images"] = _fixed(**pooled[arm])
        found[f"{name}folds"] = _over_folds(**folds[arm]) if found[f"{name}images"] else None
    first = {k: select(runs, framework=k, arm="exact", split="clean", fold=0) for k in FRAMEWORKS}
    seeds = [[run.record["seed"] for run in some] for some in first.values()]
    if len(seeds[0]) < 2 or seeds[0] != seeds[1]:
        return found
    rates = np.array([[_accuracy(run) for run in first[name]] for name in ("tf", "pt")])
    apart = rates[1][None, :] - rates[0][:, None]
    shared, own = np.diag(apart), apart[~np.eye(len(apart), dtype=bool)]
    deviations = {"shared": np.std(shared, ddof=1), "own": np.sqrt(np.mean(own**2))}
    found["seeds"] = _repeated(shared)
    found["needed"] = {
        name: [repetitions_needed(float(deviation), margin) for margin in MARGINS]
        for name, deviation in deviations.items()
    }
    true = [[_true_class(run.predictions) for run in first[name]] for name in ("tf", "pt")]
    found["variance"] = variance_shares(np.array(true))
    return found


def _fixed(tf: Predictions | None, pt: Predictions | None) -> dict | None:
    if not (gain := difference(pt, tf, CONFIDENCE)):
        return None
    count = gain.pop("images")
    return gain | {"margin": smallest_margin(gain), "count": count}


def _over_folds(tf: Sequence[Run], pt: Sequence[Run]) -> dict:
    return _repeated([_accuracy(two) - _accuracy(one) for one, two in zip(tf, pt)], overlap(pt))


def _repeated(differences: Sequence[float], test_per_train: float = 0.0) -> dict:
    interval = fold_interval(differences, test_per_train, CONFIDENCE)
    deviation, count = float(np.std(differences, ddof=1)), len(differences)
    at = [power(deviation, count, margin, test_per_train) for margin in MARGINS]
    return interval | {"margin": smallest_margin(interval), "count": count, "power": at}


def _accuracy(run: Run) -> float:
    return run.record["metrics"]["test"]["accuracy"]


def _true_class(predictions: Predictions) -> np.ndarray:
    return predictions.probs[np.arange(len(predictions.labels)), predictions.labels]


def equivalence_section(found: Mapping) -> str:
    """Return within which margins PyTorch is as accurate as TensorFlow, and what they rest on."""
    lines = []
    for title, (key, unit) in COMPARED.items():
        if not (row := found[key]):
            lines.append([title, NOT_RUN, *[""] * (2 + len(MARGINS))])
            continue
        powers = [f"{each:.0%}" for each in row["power"]] if "power" in row else ["", ""]
        lines.append([title, f"{row['count']:,} {unit}", points(row), margin(row), *powers])
    shown = [f"power at {100 * each:g}" for each in MARGINS]
    interval = INTERVAL.replace("95", "90")
    head = ("PyTorch minus TensorFlow", "of", f"points {interval}", "equal within, points", *shown)
    text = f"{markdown_table(head, lines)}\n\n{_ABOUT}"
    if row := found["tuned folds"]:
        text += (
            f" For *tuned*, a margin of {100 * STATED:g} point over folds was stated before "
            "TensorFlow's last fold was done, when the other four were known; equivalence within "
            "it is "
            f"{'shown' if row['margin'] <= STATED else 'not shown'}."
        )
    if needed := found["needed"]:
        shared, own = (
            " and ".join(str(each or f"more than {MOST:,}") for each in needed[name])
            for name in ("shared", "own")
        )
        margins = " and ".join(f"{100 * each:g}" for each in MARGINS)
        text += (
            f" A power of 80 % at {margins} points takes {shared} seeds if the twins share their "
            f"random draws, and {own} if each framework has its own."
        )
    if shares := found["variance"]:
        image, seed, framework, both = (f"{100 * share:.2g}" for share in shares.values())
        text += (
            f" Of the variance of the true class's probability on the first fold, images account "
            f"for {image} %, the seed for {seed} %, the framework for {framework} %, and framework "
            f"and seed together for {both} %."
        )
    return text
