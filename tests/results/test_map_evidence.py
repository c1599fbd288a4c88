"""What is said of heat maps: by class and size, while weights are randomised, pixel by pixel."""

from types import SimpleNamespace

import numpy as np
import pytest

from notebooks.results import heatmaps
from notebooks.results.heatmaps import (
    STEPS,
    cascade,
    deletion_and_insertion,
    faithfulness,
    hits_by_kind,
)
from src.common.files import read_json
from src.config import BLOCK_NAMES, preset
from src.evaluation.localisation import box_masks
from src.results.grid import RESULTS
from src.results.sections import heatmaps_section
from src.training.checkpoint import weights_sha256
from src.xception.weight_files import PRETRAINED

SIDE = 16


def bright_corner(images: np.ndarray) -> np.ndarray:
    """Return probabilities (N, 2): of class 1, the mean of the upper left quarter of an image."""
    share = images[:, : SIDE // 2, : SIDE // 2].mean(axis=(1, 2)) / 255
    return np.stack([1 - share, share], axis=1)


def corner_scores() -> np.ndarray:
    scores = np.zeros((1, SIDE, SIDE))
    scores[:, : SIDE // 2, : SIDE // 2] = 1
    return scores


@pytest.mark.parametrize("order, deletion", [(1, 1 / 8), (-1, 7 / 8)])
def test_what_the_network_needs_goes_first_or_last(order, deletion):
    """The quarter that counts goes within the first, or the last, quarter of the steps."""
    white = np.full((1, SIDE, SIDE), 255, np.uint8)
    areas = deletion_and_insertion(bright_corner, white, order * corner_scores(), np.array([1]))
    assert STEPS % 4 == 0 and areas["deletion"] == pytest.approx([deletion])
    assert areas["insertion"] == pytest.approx([1])  # a blurred white image is white


def test_insertion_begins_with_a_blurred_image():
    image = np.zeros((1, SIDE, SIDE), np.uint8)
    image[:, SIDE // 2 :] = 255  # white where nothing counts; blurred, some of it leaks
    first, last = (
        deletion_and_insertion(bright_corner, image, order * corner_scores(), np.array([1]))
        for order in (1, -1)
    )
    assert 0 < first["insertion"][0] < last["insertion"][0] < 0.1  # the black corner comes last


def test_rows_by_class_and_by_size():
    boxes = np.array([(0.5, 0.5, width, 0.2) for width in (0.2, 0.3, 0.5, 0.6, 0.8, 0.9)])
    boxes[1, 0] = 0.1  # the centre lies in all but this one
    names = np.array(["glioma", "meningioma"] * 3)
    hits = np.array([True, True, True, False, True, False])
    found = hits_by_kind(hits, box_masks(boxes, 64), names, np.arange(6))
    rows = {row["kind"]: row for row in found}
    assert list(rows) == ["glioma", "meningioma", "small", "medium", "large"]
    assert [row["count"] for row in rows.values()] == [3, 3, 2, 2, 2]
    assert rows["glioma"]["hits"]["value"] == 1 and rows["large"]["hits"]["value"] == 0.5
    assert rows["small"]["centre"]["value"] == 0.5 and rows["large"]["centre"]["value"] == 1


def test_blocks_are_randomised_from_the_head_on_and_stay_so(monkeypatch):
    names = ["head_logits/kernel", *(f"{block}_conv/kernel" for block in BLOCK_NAMES)]
    weights, random = ({name: np.full(1, v) for name in names} for v in (0.0, 1.0))
    seen, seeds = [], []
    monkeypatch.setattr(
        heatmaps, "initial_weights", lambda config: seeds.append(config.seed) or random
    )

    def heat_maps(model, images, labels, block, method):
        """As they are, then turned round, then empty."""
        changed, maps = (
            sum(float(v[0]) for v in seen[-1].values()),
            np.arange(49.0).reshape(1, 7, 7),
        )
        return maps if changed < 3 else 48 - maps if changed < 15 else 0 * maps

    twin = SimpleNamespace(
        model=SimpleNamespace(set_weights=lambda model, now: seen.append(dict(now))),
        explain=SimpleNamespace(heat_maps=heat_maps),
    )
    model = SimpleNamespace(config=preset("smoke"))
    images, inside = np.zeros((1, 224, 224, 3)), np.zeros((1, 224, 224), bool)
    inside[:, -28:, -28:] = True
    rows = cascade(twin, model, weights, images, np.array([0]), inside)
    assert seeds == [model.config.seed + 1]  # not what training began with
    assert [row["randomised"] for row in rows[:3]] == ["", "head", "block14"]
    assert rows[-1]["randomised"] == "block1" and len(rows) == 16
    assert [sum(float(v[0]) for v in now.values()) for now in seen] == [*range(16)]
    correlations = [row["correlation"] for row in rows]
    assert correlations == pytest.approx([1, 1, 1, *[-1] * 12, 0])
    assert [row["hits"] for row in rows] == [1, 1, 1, *[0] * 13]


def test_the_section_shows_every_row():
    images = np.full((4, 224, 224), 255, np.uint8)
    maps, labels = np.ones((4, 224, 224), np.float32), np.ones(4, int)
    orders = faithfulness(lambda some: np.full((len(some), 2), 0.5), images, maps, labels, labels)
    assert [row["order"] for row in orders] == ["heat map", "the centre first", "random"]
    rate = {"value": 0.5, "low": 0.25, "high": 0.75}
    record = {
        "blocks": ["block2", "block12"], "method": "hirescam", "every": 4, "faithfulness": orders,
        "pointing": [{"kind": "glioma", "count": 3, "hits": rate, "centre": rate}],
        "cascade": [{"randomised": "", "correlation": 1.0, "hits": 0.5}],
    }  # fmt: skip
    text = heatmaps_section(record)
    assert "| glioma | 3 | 50.0% (25.0 to 75.0) |" in text.replace("\N{NO-BREAK SPACE}", " ")
    assert "| the centre first | 50.0%" in text and "| nothing | 1.00 | 50.0% |" in text


RECORD = RESULTS / "heatmaps.json"


def test_the_record_is_of_the_model_that_ships_and_stands_in_its_card():
    record = read_json(RECORD)
    assert record["weights_sha256"] == weights_sha256(PRETRAINED)
    assert heatmaps_section(record) in (PRETRAINED / "README.md").read_text()
