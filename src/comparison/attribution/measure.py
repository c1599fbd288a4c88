"""What did each row move? Differences between neighbours on the path, with intervals over seeds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import stats

from src.comparison.attribution.runs import Cell, cell_at, path_to_exact, read_cell
from src.config import ExperimentConfig
from src.differences import STOCK

CONFIDENCE = 0.95
QUANTITIES = ("log_loss", "accuracy", "probs")
_Scored = tuple[dict, object]  # from `read_cell`


def measure_attribution(config: ExperimentConfig, seeds: list[int], out: Path) -> dict:
    """Read the runs below `out` and say what each row of the ledger moved.

    Quantities are of the test part: log_loss and accuracy as signed differences, probs as the mean
    absolute difference of the four probabilities. Each is {"mean", "low", "high", "values"} with a
    value a seed and a t interval over seeds, which so includes their noise.

    Returns:
        rows [{row, framework, moved: {quantity: ...}}]: settled less default;
        gaps [{settled, gap: {quantity: ...}}]: TensorFlow less PyTorch, along the path;
        floor {quantity: ...}: PyTorch one epsilon off less PyTorch; seeds, config.
    Raises:
        InputError: a run is missing.
    """
    cache: dict[Cell, _Scored] = {}

    def read(cell: Cell) -> _Scored:
        if cell not in cache:
            cache[cell] = read_cell(out, cell)
        return cache[cell]

    def across(one: Callable[[int], Cell], other: Callable[[int], Cell]) -> dict:
        return _intervals([_difference(read(one(seed)), read(other(seed))) for seed in seeds])

    places = path_to_exact()

    def at(framework: str, place: int) -> Callable[[int], Cell]:
        return lambda seed: cell_at(framework, places[place], config, seed)

    return {
        "rows": [
            {"row": row, "framework": twin, "moved": across(at(twin, n + 1), at(twin, n))}
            for n, row in enumerate(STOCK)
            for twin in ("tf", "pt")
            if at(twin, n + 1)(seeds[0]) != at(twin, n)(seeds[0])
        ],
        "gaps": [
            {
                "settled": STOCK[place - 1] if place else None,
                "gap": across(at("tf", place), at("pt", place)),
            }
            for place in range(len(places))
        ],
        "floor": across(lambda seed: Cell("pt", (), seed, perturbed=True), at("pt", len(STOCK))),
        "seeds": seeds,
        "config": config.to_json() | {"init": Path(config.init).name},  # no path of this machine
    }


def interval(values: list[float]) -> dict:
    """Return the mean of `values` and its t interval; None for the ends of a single value."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return {"mean": mean, "low": None, "high": None, "values": values}
    reach = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * stats.sem(values)
    return {
        "mean": mean,
        "low": float(mean - reach),
        "high": float(mean + reach),
        "values": values,
    }


def _difference(one: _Scored, other: _Scored) -> dict[str, float]:
    (scores, predictions), (other_scores, other_predictions) = one, other
    moved = np.abs(predictions.probs.astype(np.float64) - other_predictions.probs)
    return {
        "log_loss": scores["log_loss"] - other_scores["log_loss"],
        "accuracy": scores["accuracy"] - other_scores["accuracy"],
        "probs": float(moved.mean()),
    }


def _intervals(differences: list[dict[str, float]]) -> dict[str, dict]:
    return {name: interval([d[name] for d in differences]) for name in QUANTITIES}
