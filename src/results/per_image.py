"""`predictions.csv`: what each network of the two main arms says of each test image."""

from collections.abc import Sequence
from pathlib import Path

from src.common.files import write_csv
from src.config import CLASS_NAMES
from src.records import FRAMEWORKS, Run
from src.results.pool import select

ARMS = ("tuned", "exact")


def write_per_image(runs: Sequence[Run], path: Path) -> None:
    """Write the predicted classes as CSV: a row per split and image, a column per network.

    The columns are split ("official" or the fold that tests the image), path, truth, group, and one
    for each arm and framework, empty where its run is not done. The probabilities lie in `grid/`.
    """
    networks = [f"{arm}-{framework}" for arm in ARMS for framework in FRAMEWORKS]
    rows: dict[tuple[str, str], dict] = {}
    for run in (each for arm in ARMS for each in select(runs, arm=arm, seed=0)):
        if (cut := run.record["split"]) not in ("official", "clean"):
            continue
        split = cut if cut == "official" else f"fold {run.record['fold']}"
        said = run.predictions
        table = zip(said.paths.tolist(), said.labels, said.groups, said.probs.argmax(axis=1))
        for image, label, group, predicted in table:
            about = {"split": split, "path": image, "truth": CLASS_NAMES[label], "group": group}
            row = rows.setdefault((split, image), about)
            row[f"{run.record['arm']}-{run.framework}"] = CLASS_NAMES[predicted]
    columns = ("split", "path", "truth", "group", *networks)
    write_csv(path, columns, (row for _, row in sorted(rows.items())))
