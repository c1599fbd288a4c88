"""Does detail help? What the script does with images and answers."""

import numpy as np
import pytest
from PIL import Image

from notebooks.results.detail import COPIES, ORIGINALS, PROBE, SETS, XCEPTION, compare, make_copies
from src.common.files import read_json
from src.records import Predictions
from src.results.grid import RESULTS
from src.results.tables import points, with_interval


def test_copies_are_small_jpeg_files_of_the_same_names_made_once(tmp_path):
    original, copy = (tmp_path / name / "Testing/glioma/Te-gl_1.jpg" for name in ("from", "to"))
    original.parent.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(256, size=(512, 400), dtype=np.uint8)
    Image.fromarray(noise).save(original, quality=95)
    make_copies(tmp_path / "from", tmp_path / "to")
    Image.new("RGB", (8, 8)).save(tmp_path / "75.jpg", quality=75)
    with Image.open(tmp_path / "75.jpg") as expected, Image.open(copy) as made:
        assert made.size == (224, 224) and made.format == "JPEG"
        assert made.quantization == expected.quantization
    written = copy.stat().st_mtime_ns
    make_copies(tmp_path / "from", tmp_path / "to")
    assert copy.stat().st_mtime_ns == written


def test_differences_are_means_over_seeds_to_the_originals():
    rng = np.random.default_rng(0)
    labels, groups = rng.integers(4, size=60), np.arange(60) // 3
    tested = Predictions(np.arange(60).astype(str), labels, np.eye(4)[labels], groups)

    def seed(wrong):
        return np.eye(4)[(labels + (np.arange(60) < wrong)) % 4]

    *_, larger = SETS
    probs = {
        ORIGINALS: {"Xception": [seed(6), seed(12)]},
        COPIES: {"Xception": [seed(12), seed(18)]},
        larger: {"Xception": [seed(3), seed(3)]},
    }
    scores, differences = compare(probs, tested)
    assert scores[ORIGINALS]["Xception"]["accuracies"] == [0.9, 0.8]
    assert scores[ORIGINALS]["Xception"]["accuracy"]["value"] == pytest.approx(0.85)
    assert list(differences) == [COPIES, larger]
    worse, better = (differences[name]["Xception"] for name in differences)
    assert worse["value"] == pytest.approx(-0.1) and worse["low"] < -0.1 < worse["high"] <= 0
    assert better["value"] == pytest.approx(0.1) and worse["only_b"] == 12


def test_the_table_of_the_results_page_is_the_record():
    page, record = (RESULTS / "README.md").read_text(), read_json(RESULTS / "detail.json")
    assert f"its {record['images']} images of {record['groups']} groups" in " ".join(page.split())
    for name in SETS:
        scores, minus = record["scores"][name], record["differences"].get(name)
        cells = [with_interval(scores[model]["accuracy"]) for model in (XCEPTION, PROBE)]
        cells += [points(minus[model]) if minus else "" for model in (XCEPTION, PROBE)]
        assert f"| {name} | {' | '.join(cells)} |" in page
