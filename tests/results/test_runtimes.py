"""The runtimes' record: turns, differences and costs by hand, and the page that shows it."""

from pathlib import Path

import numpy as np
import pytest

from notebooks.results import runtimes
from notebooks.results.runtimes import BUILT, EXPORTED, TWINS, costs, differences, times_faster
from src.common.files import read_json
from src.results.grid import RESULTS
from src.results.tables import points, with_interval
from src.serving.export import MAX_ACCURACY_LOSS, TOLERANCES
from src.xception.weight_files import PRETRAINED

ROOT = Path(__file__).parents[2]


def test_runtimes_take_turns_batch_by_batch(monkeypatch):
    asked, images = [], np.arange(40, dtype=np.uint8).reshape(40, 1, 1)

    def run(name):
        return lambda some: asked.append((name, len(some))) or some[:, 0] / 100

    found, seconds = runtimes.take_turns({"a": run("a"), "b": run("b")}, images)
    assert asked == [(name, size) for size in (16, 16, 8) for name in "ab"]
    np.testing.assert_array_equal(found["b"], images[:, 0] / 100)
    assert [len(each) for each in seconds.values()] == [3, 3]


def test_the_first_turns_and_the_last_do_not_count():
    seconds = {"slow": [50, 9, 2, 4, 6, 9], "fast": [1, 1, 1, 1, 3, 1]}
    rate = times_faster(seconds, "slow")
    assert rate == {"fast": {"value": 2.0, "low": 2.0, "high": 4.0, "turns": 3}}


def test_differences_are_the_largest_and_of_calibrated_answers_where_a_runtime_gives_them():
    twin = np.full((3, 2), 0.5)
    other, moved = twin.copy(), twin.copy()
    other[2, 1] += 1e-6
    moved[1, 0] -= 0.25
    found = {TWINS["tf"]: twin, TWINS["pt"]: other, BUILT: moved, EXPORTED: twin / 2}
    largest = differences(found, lambda probs: probs / 2)
    assert largest[TWINS["tf"]] == {"pt": pytest.approx(1e-6)}
    assert largest[BUILT] == {"tf": 0.25, "pt": 0.25}
    assert largest[EXPORTED] == {"tf": 0, "pt": pytest.approx(5e-7)}


def test_costs_are_against_float32():
    labels, groups = np.arange(40) % 4, np.arange(40) // 2
    right = np.eye(4)[labels]
    wrong = right.copy()
    wrong[:4] = np.roll(wrong[:4], 1, axis=1)
    found = costs(labels, groups, {"float32": right, "float16": right, "int8": wrong})
    assert [each["accuracy"]["value"] for each in found.values()] == [1, 1, 0.9]
    assert found["int8"]["change"]["value"] == pytest.approx(-0.1)
    assert found["int8"]["change"]["low"] < -0.1 < found["int8"]["change"]["high"]
    assert found["int8"]["largest_difference"] == 1 and found["float16"]["largest_difference"] == 0


def test_the_page_is_what_the_record_says():
    record = read_json(RESULTS / "runtimes.json")
    page = (ROOT / "src/serving/README.md").read_text()
    assert record["model"] == read_json(PRETRAINED / "model.json")["sha256"]
    assert f"{record['images']} images" in page and f"all {record['tested']}" in page

    def faster(rates, name):
        rate = rates.get(name)
        return f"{rate['value']:.2f} ({rate['low']:.2f} to {rate['high']:.2f})" if rate else ""

    for name, largest in record["differences"].items():
        cells = [f"{largest[twin]:.1e}" if twin in largest else "" for twin in TWINS]
        cells += [faster(record["times_faster"][twin], name) for twin in TWINS.values()]
        assert f"| {name} | {' | '.join(cells)} |" in page
        assert max(largest.values()) <= TOLERANCES["float32"]
    raced = [record["raced"][twin] for twin in TWINS.values()]
    said = [faster(rates, name) for name in (BUILT, "int8") for rates in raced]
    assert all(said)
    for text in (f"On {record['images'] + record['more']:,} images", *said):
        assert f"{text}" in page
    for precision, cost in record["precisions"].items():
        cells = [f"{record['bytes'][precision] / 1e6:.1f}", with_interval(cost["accuracy"])]
        if precision == "float32":
            cells += [""] * 3
        else:
            cells += [points(cost["change"]), f"{cost['largest_difference']:.1e}"]
            cells += [faster(record["times_faster"][EXPORTED], precision)]
            assert cost["change"]["value"] >= -MAX_ACCURACY_LOSS
        assert f"| {precision} | {' | '.join(cells)} |" in page
