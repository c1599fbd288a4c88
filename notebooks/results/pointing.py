"""Do heat maps of the shipped classifier point at the tumour?

    python -m notebooks.results.pointing DATA [MODEL]

Method and block are chosen on the boxes of its validation part, and scored on those of its test
part beside the randomised network and beside a map that always points at the centre. Boxes come
from figshare: FIGSHARE_DATA names its folder. It writes `pointing.json` beside this file.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from notebooks.results.script import record
from src.config import ExperimentConfig
from src.data.augment import as_input
from src.data.dataset import Dataset, open_dataset
from src.data.tumour_boxes import tumour_boxes
from src.evaluation.localisation import (
    BEST_BLOCKS,
    BEST_METHOD,
    METHODS,
    enlarge,
    joint_maps,
    localisation,
)
from src.experiment import load_twin
from src.records import measurement
from src.training.checkpoint import read_model
from src.xception.weight_files import PRETRAINED
from src.xception.weights import initial_weights

BLOCKS = ("block12", "block13", "block14")


def randomised(twin: SimpleNamespace, config: ExperimentConfig):
    """Return the network with every weight randomly initialised.

    Maps that score the same with it show the image, not what was learned.
    Source: Adebayo et al. 2018, arXiv:1810.03292.
    """
    weights = initial_weights(replace(config, init="scratch", reinit=()))
    return twin.model.build_model(config, weights)


def measure_pointing(
    twin: SimpleNamespace,
    networks: Mapping,
    dataset: Dataset,
    blocks: Sequence[str],
    methods: Sequence[str],
    part: str = "test",
) -> list[dict]:
    """Return how well maps of the true class point at tumours, a row per map and network.

    Args:
        twin: from `load_twin`.
        networks: name -> network of that twin.
        dataset: see `tumour_boxes`.
        blocks, methods: see `heat_maps`; every pair of them. Several blocks, joined by "+", give
            the map of `joint_maps`.
        part: "test", or "val".
    Returns:
        block, method, side (of the map), network, and what `localisation` returns.
    Raises:
        InputError: there are no boxes.
    """
    rows, boxes = tumour_boxes(dataset, part=part)
    images, labels = as_input(dataset.test_pixels[rows]), dataset.catalog.labels[rows]
    table = []
    for block, method, name in itertools.product(blocks, methods, networks):
        explain, network, side = twin.explain, networks[name], images.shape[1]
        if "+" in block:
            maps = joint_maps(explain, network, images, labels, block.split("+"), method)
        else:
            maps = explain.heat_maps(network, images, labels, block, method)
        about = {"block": block, "method": method, "side": maps.shape[1], "network": name}
        if maps.shape[1] < side:
            maps = enlarge(maps, side, side)
        table.append(about | localisation(maps, boxes))
    return table


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
