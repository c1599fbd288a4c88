"""What does each difference change? Neighbours on the path compared, with intervals over seeds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import stats

from src.comparison.attribution.runs import Cell, cell_at, path_to_exact
from src.config import ExperimentConfig
from src.differences import STOCK
from src.records import Run, read_run

CONFIDENCE = 0.95
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
    runs: dict[Cell, Run] = {}

    def read(cell: Cell) -> Run:
        if cell not in runs:
            runs[cell] = read_run(out / cell.folder)
        return runs[cell]

    def change(cell: Callable[[int], Cell], reference: Callable[[int], Cell]) -> dict:
        changes = [_change(read(cell(seed)), read(reference(seed))) for seed in seeds]
        return {name: interval([each[name] for each in changes]) for name in QUANTITIES}

    path = path_to_exact()

    def at(framework: str, settled: int) -> Callable[[int], Cell]:
        return lambda seed: cell_at(framework, path[settled], config, seed)

    return {
        "rows": [
            {"row": name, "framework": twin, "moved": change(at(twin, n + 1), at(twin, n))}
            for n, name in enumerate(STOCK)
            for twin in ("tf", "pt")
            if at(twin, n + 1)(seeds[0]) != at(twin, n)(seeds[0])
        ],
        "gaps": [
            {"settled": STOCK[n - 1] if n else None, "gap": change(at("tf", n), at("pt", n))}
            for n in range(len(path))
        ],
        "floor": change(lambda seed: Cell("pt", (), seed, perturbed=True), at("pt", len(STOCK))),
        "seeds": seeds,
        "config": config.to_json() | {"init": Path(config.init).name},  # no path of this machine
    }


def interval(values: list[float]) -> dict:
    """Return the mean of `values` and its t interval; a single value has no interval."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return {"mean": mean, "low": None, "high": None, "values": values}
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * stats.sem(values))
    return {"mean": mean, "low": mean - reach, "high": mean + reach, "values": values}


def _change(run: Run, reference: Run) -> dict[str, float]:
    score, reference_score = (each.record["metrics"]["test"] for each in (run, reference))
    probs = np.abs(run.predictions.probs.astype(np.float64) - reference.predictions.probs)
    return {
        "log_loss": score["log_loss"] - reference_score["log_loss"],
        "accuracy": score["accuracy"] - reference_score["accuracy"],
        "probs": float(probs.mean()),
    }
