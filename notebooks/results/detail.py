"""Does detail help? 224 px of the originals, 224 px of JPEG copies of them, and 299 px.

    python -m notebooks.results.detail DATA WEIGHTS OUT

Asked on the clean split's selection part: of the published recipe in PyTorch, in bfloat16 and with
three seeds, and of the linear probe, whose C is chosen on the same part. Copies and runs lie in
OUT; the same command goes on after a stop. It writes `detail.json`, and `detail.csv` with every
answer, beside this file.
"""

import argparse
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

from notebooks.results.script import in_a_sentence
from src.common.files import atomic_write, write_csv, write_json
from src.comparison.baselines import fit_probe, pooled_features, tune_probe
from src.comparison.run import train_once
from src.config import CLASS_NAMES, ExperimentConfig
from src.data.dataset import open_dataset
from src.data.splits.folds import SELECTION_FOLD
from src.evaluation.intervals import group_intervals, paired_difference
from src.records import Predictions, measurement, read_run
from src.results.grid import RECIPE, RESULTS

SETS = {"224 px": 224, "224 px, JPEG copies": 224, "299 px": 299}
ORIGINALS, COPIES, _ = SETS
COPY = "image.convert('RGB').resize((224, 224)).save(copy, quality=75)"
SEEDS = (0, 1, 2)
XCEPTION, PROBE = "Xception", "linear probe"


def make_copies(data: Path, copies: Path) -> None:
    """Make the copy of every image under `data` that is not there yet, as COPY says."""
    for path in sorted(data.rglob("*.jpg")):
        copy = copies / path.relative_to(data)
        if not copy.exists():
            with Image.open(path) as image, atomic_write(copy) as temporary:
                image.convert("RGB").resize((224, 224)).save(temporary, quality=75)


def ask_probe(config: ExperimentConfig, data: Path) -> tuple[dict, np.ndarray]:
    """Return how the probe was tuned on the test part, and its probabilities (N, 4) for it."""
    dataset = open_dataset(config, data)
    features, labels = pooled_features(config, dataset), dataset.catalog.labels
    train, test = dataset.parts["train"], dataset.parts["test"]
    tuned = tune_probe(features, labels, train, test)
    probe = fit_probe(features[train], labels[train], tuned["C"])
    return tuned, probe.predict_proba(features[test])


def compare(probs: dict, tested: Predictions) -> tuple[dict, dict]:
    """Return scores of each set and model, and differences in accuracy to the originals at 224 px.

    Values are means over seeds; intervals are over groups, each drawn with all its seeds.

    Args:
        probs: set -> model -> (N, 4) of each seed.
        tested: the labels and groups of the N images.
    """
    labels, groups = tested.labels, tested.groups
    scores, differences = {}, {}
    for name, of_set in probs.items():
        scores[name], differences[name] = {}, {}
        for model, seeds in of_set.items():
            each = [float((one.argmax(axis=1) == labels).mean()) for one in seeds]
            scored = group_intervals(labels, seeds, groups)
            scores[name][model] = {"accuracies": each, **scored}
            pair = [
                np.concatenate(some).argmax(axis=1) for some in (seeds, probs[ORIGINALS][model])
            ]
            tiled = [np.tile(column, len(seeds)) for column in (labels, groups)]
            differences[name][model] = paired_difference(tiled[0], *pair, tiled[1])
    del differences[ORIGINALS]
    return scores, differences


def measure_detail(data: Path, weights: Path, out: Path) -> tuple[dict, list[dict]]:
    """Train and test what is not done yet; return the record, and every answer for every image."""
    make_copies(data, out / "copies")
    runs, probs, tuning = [], {}, {}
    for name, side in SETS.items():
        images = out / "copies" if name == COPIES else data
        fields = dict(image_size=side, fold=SELECTION_FOLD, precision="bfloat16", init=str(weights))
        seeds = []
        for seed in SEEDS:
            config = ExperimentConfig(**RECIPE | fields | {"seed": seed})
            train_once("pt", out / f"{name}, seed {seed}", config, images)
            seeds.append(read_run(out / f"{name}, seed {seed}"))
        runs += seeds
        tuning[name], of_probe = ask_probe(config, images)
        probs[name] = {XCEPTION: [run.predictions.probs for run in seeds], PROBE: [of_probe]}
    first, tested = runs[0].record, runs[0].predictions
    scores, differences = compare(probs, tested)
    record = measurement(
        ExperimentConfig.from_json(first["config"]),
        first["dataset"],
        copies=f"Pillow {PIL.__version__}: {COPY}",
        image_sizes=SETS,
        seeds=SEEDS,
        images=len(tested.labels),
        groups=len(np.unique(tested.groups)),
        scores=scores,
        differences=differences,
        probe=tuning,
        minutes=[run.record["seconds"] / 60 for run in runs],
        commits=sorted({run.record["commit"] for run in runs}),
    )
    answers = {
        f"{name}, {model} {number}": each.argmax(axis=1)
        for name, of_set in probs.items()
        for model, some in of_set.items()
        for number, each in enumerate(some)
    }
    rows = []
    for index, (path, label, group) in enumerate(zip(tested.paths, tested.labels, tested.groups)):
        given = {column: CLASS_NAMES[each[index]] for column, each in answers.items()}
        rows.append({"path": path, "label": CLASS_NAMES[label], "group": group, **given})
    return record, rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m notebooks.results.detail")
    for name in ("data", "weights", "out"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    with in_a_sentence():
        record, rows = measure_detail(options.data, options.weights, options.out)
    write_json(RESULTS / "detail.json", record)
    write_csv(RESULTS / "detail.csv", list(rows[0]), rows)
