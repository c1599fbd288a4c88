"""Each step of quality is worse than the one before; masks take away what they say."""

import numpy as np
import pytest

from notebooks.results import robustness
from notebooks.results.robustness import (
    BORDER,
    EVERY,
    QUALITY,
    border_mask,
    degrade,
    draw,
    keep,
    predict,
    qualities,
    remove_box,
    shortcuts,
)
from src.common.files import read_json
from src.config import preset
from src.data.dataset import open_dataset
from src.results.grid import RESULTS
from src.results.sections import robustness_section
from src.serving.backends import BATCH, Outputs
from src.training.checkpoint import weights_sha256
from src.xception.weight_files import PRETRAINED

SIDE = 96


@pytest.fixture(scope="module")
def dataset():
    return open_dataset(preset("smoke", image_size=SIDE, split="clean"))


class ByBrightness:
    """A backend whose class depends on the brightest pixel alone."""

    def run(self, images):
        assert images.dtype == np.uint8 and len(images) <= BATCH
        classes = images.reshape(len(images), -1).max(axis=1) // 64
        return Outputs(np.eye(4)[classes], None, None)


@pytest.mark.parametrize("kind", QUALITY)
def test_each_step_is_worse(kind, dataset):
    image = dataset.test_pixels[0]
    distances = [0.0]
    for step in QUALITY[kind]:
        made = degrade(kind, step)(image, 0)
        assert made.shape == image.shape and made.dtype == np.uint8
        distances.append(np.abs(made.astype(float) - image).mean())
    assert all(np.diff(distances) > 0), distances


def test_noise_is_the_same_for_both_twins_and_another_for_each_image(dataset):
    change, image = degrade("noise, gray levels", 10), dataset.test_pixels[0]
    np.testing.assert_array_equal(change(image, 3), change(image, 3))
    assert (change(image, 3) != change(image, 4)).any()


def test_masks_leave_what_they_say():
    image = np.full((50, 50), 200, np.uint8)
    border = border_mask(50)
    width = round(BORDER * 50)
    assert border.sum() == 50**2 - (50 - 2 * width) ** 2
    assert (keep(border)(image, 0)[width:-width, width:-width] == 0).all()
    assert (keep(~border)(image, 0)[:width] == 0).all()
    image[20:30, 20:30] = 90
    masks = np.zeros((2, 50, 50), bool)
    masks[1, 20:30, 20:30] = True
    assert (remove_box(masks)(image, 1) == 200).all()  # the median of the rest
    assert (remove_box(masks)(image, 0) == image).all()


def test_images_are_changed_under_their_number():
    images = np.zeros((BATCH + 3, 8, 8), np.uint8)
    numbers = []

    def change(image, number):
        numbers.append(number)
        return image + np.uint8(number)

    classes = predict(ByBrightness(), images, change)
    assert numbers == list(range(BATCH + 3)) and (classes == 0).all()


def test_the_record_holds_every_step_and_is_drawn(dataset, tmp_path, monkeypatch):
    backends = {"tf": ByBrightness(), "pt": ByBrightness()}
    quality = qualities(backends, dataset)
    assert len(quality) == 1 + sum(map(len, QUALITY.values()))
    assert all(0 <= row["pt"]["value"] <= 1 for row in quality)
    record = {"quality": quality, "dataset": {"kind": "phantom"}, "config": {}}
    monkeypatch.setattr(robustness, "save_figure", lambda figure, *_: figure)
    axes = draw(record, tmp_path / "robustness.png").axes
    drawn = [y for panel in axes for line in panel.lines[:1] for y in line.get_ydata()[1:]]
    assert drawn == [row["tf"]["value"] for row in quality[1:]]
    found = {row["name"]: row for row in shortcuts(ByBrightness(), dataset)}
    assert found["test images"]["count"] == len(dataset.parts["test"]) > EVERY
    assert 0 < found["images with a box"]["count"] < found["test images"]["count"]
    record |= {"shortcuts": [*found.values()], "border": BORDER, "every": EVERY}
    text = robustness_section(record)
    assert "| images with a box, the box filled |" in text and "| blur, px: 4 |" in text


RECORD = RESULTS / "robustness.json"


def test_the_record_is_of_the_model_that_ships_and_stands_in_its_card():
    record = read_json(RECORD)
    assert record["weights_sha256"] == weights_sha256(PRETRAINED)
    assert robustness_section(record) in (PRETRAINED / "README.md").read_text()
    assert len(record["quality"]) == 1 + sum(map(len, QUALITY.values()))
