"""Do heat maps point at the tumour? Every method and block, trained and randomised network."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace

from src.config import ExperimentConfig
from src.data.augment import as_input
from src.data.dataset import Dataset
from src.data.tumour_boxes import tumour_boxes
from src.evaluation.localisation import enlarge, joint_maps, localisation
from src.xception.weights import initial_weights


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
