"""What pages and figures share: the score of each model, pairs of runs, and whole rows."""

from collections.abc import Mapping

from src.comparison.baselines import NEIGHBOUR, PROBE
from src.records import FRAMEWORKS
from src.results.statistics import OFFICIAL, POOLED, TUNED, TUNED_OFFICIAL

FINE_TUNED, BLOCK14 = "Xception fine-tuned", "only block14 trained"
_ARMS = {FINE_TUNED: (TUNED, TUNED_OFFICIAL), BLOCK14: (POOLED, OFFICIAL)}
BASELINE_TITLES = {
    PROBE: "linear probe on the frozen features",
    NEIGHBOUR: "nearest neighbour, 32 x 32 pixels",
    "border": "border pixels only",
    "majority": "always the commonest class",
}


def headline(measured: Mapping, baselines: Mapping) -> dict[str, dict[str | None, tuple]]:
    """Return model -> framework, None for a baseline -> (clean folds, official split).

    Either is a row of scores, or empty where a run is missing; a framework without both is left
    out, a model without frameworks too.

    Args:
        measured: from `src.results.statistics.measure`.
        baselines: the scores in `baselines.json`.
    """
    rows = whole_rows(measured)
    models = {}
    for model, titles in _ARMS.items():
        twins = {name: tuple(rows[title, name] for title in titles) for name in FRAMEWORKS}
        models[model] = {name: pair for name, pair in twins.items() if any(pair)}
    for key, model in BASELINE_TITLES.items():
        by = measured["baselines"].get(key, {})
        models[model] = {None: (baselines["pooled"][key] | {"by": by}, baselines["official"][key])}
    return {model: scores for model, scores in models.items() if scores}


def pairs_of_runs(agreement: Mapping) -> dict[tuple[str, str], list]:
    """Return (arm, pair) -> shares of the first fold's images put into the same class.

    A pair is "twins", "itself" (PyTorch and its perturbed start), or two seeds of "tf" or "pt".
    """
    perturbed = agreement["perturbed"]
    return {
        ("exact", "twins"): agreement["twins"],
        ("exact", "itself"): [perturbed["exact"]],
        **{("exact", name): agreement["seeds"][name] for name in FRAMEWORKS},
        ("stock", "twins"): [agreement["stock"]],
        ("small", "twins"): [agreement["small"]],
        ("small", "itself"): [perturbed["small"]],
        ("scratch", "twins"): [agreement["scratch"]],
        ("scratch", "itself"): [perturbed["scratch"]],
    }


def whole_rows(table: Mapping) -> dict[tuple[str, str], Mapping]:
    """Return (title, framework) -> row; empty without all its runs, which scores fewer images."""
    return {
        (row["title"], row["framework"]): row if len(row["cells"]) == row["wanted"] > 0 else {}
        for row in table["rows"]
    }
