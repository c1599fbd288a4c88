"""What does each difference change? Neighbours on the path compared, with intervals over seeds."""

import functools
from pathlib import Path

import numpy as np
from scipy import stats

from src.comparison.attribution.runs import Cell, cell_at
from src.config import ExperimentConfig
from src.differences import STOCK
from src.evaluation.intervals import CONFIDENCE
from src.records import Run, read_run

QUANTITIES = ("log_loss", "accuracy", "probs")


def measure_attribution(config: ExperimentConfig, seeds: list[int], out: Path) -> dict:
    """Read the runs in `out` and return what each difference changes.

    Quantities are of the test part: log_loss and accuracy as signed changes, probs as the mean
    absolute change of the four probabilities. Each is {"mean", "low", "high", "values"}, with one
    value per seed and a t interval over the seeds, which includes the noise between them.

    Returns:
        rows [{row, framework, moved: {quantity: ...}}]: exact setting minus default;
        gaps [{settled, gap: {quantity: ...}}]: TensorFlow minus PyTorch, along the path;
        floor {quantity: ...}: perturbed PyTorch minus PyTorch; seeds, config.
    Raises:
        InputError: a run is missing.
    """
    read = functools.cache(lambda cell: read_run(out / cell.folder))

    def at(framework: str, settled: int) -> list[Cell]:
        return [cell_at(framework, settled, config, seed) for seed in seeds]

    def change(cells: list[Cell], references: list[Cell]) -> dict:
        changes = [_change(*map(read, pair)) for pair in zip(cells, references)]
        return {name: interval([each[name] for each in changes]) for name in QUANTITIES}

    perturbed = [Cell("pt", (), seed, perturbed=True) for seed in seeds]
    return {
        "rows": [
            {"row": name, "framework": twin, "moved": change(at(twin, n + 1), at(twin, n))}
            for n, name in enumerate(STOCK)
            for twin in ("tf", "pt")
            if at(twin, n + 1) != at(twin, n)
        ],
        "gaps": [
            {"settled": name, "gap": change(at("tf", n), at("pt", n))}
            for n, name in enumerate([None, *STOCK])
        ],
        "floor": change(perturbed, at("pt", len(STOCK))),
        "seeds": seeds,
        "config": config.to_json() | {"init": Path(config.init).name},  # no path of this machine
    }


def interval(values: list[float]) -> dict:
    """Return the mean of `values` and its t interval; a single value has no interval."""
    mean, low, high = float(np.mean(values)), None, None
    if len(values) > 1:
        reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * stats.sem(values))
        low, high = mean - reach, mean + reach
    return {"mean": mean, "low": low, "high": high, "values": values}


def _change(run: Run, reference: Run) -> dict[str, float]:
    score, reference_score = (each.record["metrics"]["test"] for each in (run, reference))
    changes = {name: score[name] - reference_score[name] for name in ("log_loss", "accuracy")}
    probs = np.abs(run.predictions.probs.astype(np.float64) - reference.predictions.probs)
    return changes | {"probs": float(probs.mean())}
