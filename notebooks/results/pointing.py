"""Do heat maps of the shipped classifier point at the tumour?

    python -m notebooks.results.pointing DATA [MODEL]

Method and block are chosen on the boxes of its validation part, and scored on those of its test
part beside the randomised network and beside a map that always points at the centre. Boxes come
from figshare: FIGSHARE_DATA names its folder. It writes `pointing.json` beside this file.
"""

from dataclasses import replace
from pathlib import Path

from notebooks.results.script import record
from src.comparison.pointing import measure_pointing, randomised
from src.data.dataset import open_dataset
from src.evaluation.localisation import BEST_BLOCKS, BEST_METHOD, METHODS
from src.experiment import load_twin
from src.records import measurement
from src.training.checkpoint import read_model
from src.xception.weight_files import PRETRAINED

BLOCKS = ("block12", "block13", "block14")


def measure(data: Path, folder: Path) -> dict:
    """Return what is recorded: all maps on the validation part, the best on the test part."""
    twin, (weights, config) = load_twin("pt"), read_model(folder)
    config = replace(config, precision="float32")  # on any machine
    twin.runtime.configure(config)
    dataset, model = open_dataset(config, data), twin.model.build_model(config, weights)
    validation = measure_pointing(twin, {"trained": model}, dataset, BLOCKS, METHODS, "val")
    joined = "+".join(BEST_BLOCKS)
    validation += measure_pointing(
        twin, {"trained": model}, dataset, [joined], [BEST_METHOD], "val"
    )
    best = max(validation, key=lambda row: row["hits"])
    networks = {"trained": model, "randomised": randomised(twin, config)}
    test = measure_pointing(twin, networks, dataset, [best["block"]], [best["method"]])
    return measurement(config, dataset.describe(), validation=validation, test=test)


if __name__ == "__main__":
    record("pointing", measure, "data", model=PRETRAINED)
