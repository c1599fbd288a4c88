"""The page about the feature cache says what the record says."""

from pathlib import Path

import numpy as np

from src.common.files import read_json
from src.comparison.speed import feature_cache_table

ROOT = Path(__file__).parents[2]
AT_LEAST = {"head": 50, "block14": 5, "block13": 3}  # times faster
README = (ROOT / "src/feature_cache/README.md").read_text()


def test_what_the_cache_saves_is_the_record():
    measured = read_json(ROOT / "notebooks/results/prefix.json")
    assert feature_cache_table(measured) in README
    images, size = measured["images"], measured["config"]["image_size"]
    sentence = f"{images['train']} training and {images['val']} validation images, {size} px"
    assert sentence in " ".join(README.split())
    assert "/" not in measured["config"]["init"]  # no path of the machine
    assert measured["config"]["augment"] == "none"
    # PyTorch took TensorFlow's outputs, which differ from its own by a millionth (features.json),
    # and at these rates a difference grows from step to step.
    for framework, rounding in (("tf", 0), ("pt", 1e-5)):
        stages = measured["frameworks"][framework]
        assert list(stages) == list(AT_LEAST)
        for name, row in stages.items():
            assert row["times_cheaper"] >= AT_LEAST[name], name
            plain, cached = (np.array(row["losses"][kind]) for kind in ("plain", "cached"))
            assert np.isfinite(plain).all() and np.abs(plain - cached).max() <= rounding, name
            assert row["largest_difference"] == np.abs(plain - cached).max()
    limits = [stages[name]["by_multiply_adds"] for name in ("block14", "block13")]
    sentence = "by multiply-adds alone block14 would be {:.1f} and block13 {:.1f} times faster"
    assert sentence.format(*limits) in " ".join(README.split())


def test_another_record_shows():
    measured = read_json(ROOT / "notebooks/results/prefix.json")
    measured["frameworks"]["pt"]["head"]["seconds"]["plain"][0] += 1
    assert feature_cache_table(measured) not in README
