"""The measurement of streams: its images differ, its numbers are of what it says."""

import hashlib

import numpy as np
import pytest

from notebooks.results import streams
from notebooks.results.streams import SIZES, draw, make_images, read_all
from src.common.files import read_json
from src.data.catalog import read_catalog
from src.results.grid import RESULTS

RECORD = RESULTS / "streams.json"


@pytest.fixture
def root(tmp_path):
    make_images(tmp_path / "images", 0, 40)
    return tmp_path / "images"


def test_images_differ_and_more_can_be_added(root):
    make_images(root, 40, 48)
    files = [path.read_bytes() for path in root.rglob("*.jpg")]
    assert len({hashlib.sha256(content).digest() for content in files}) == len(files) == 48


@pytest.mark.skipif(not streams.STATUS.exists(), reason="/proc/self/status is Linux's")
def test_an_epoch_takes_every_training_image(root, monkeypatch):
    monkeypatch.setenv("BRAIN_TUMOR_CACHE", str(root.parent / "cache"))
    taken, batch = [], streams.Batches.batch

    def counted(*asked):
        made = batch(*asked)
        taken.append(len(made[1]))
        return made

    monkeypatch.setattr(streams.Batches, "batch", counted)
    told = read_all(root)
    assert told["images"] == 40 and sum(taken) == 40
    assert all(value > 0 for value in told.values())
    assert np.bincount(read_catalog(root).labels).tolist() == [10, 10, 10, 10]


def test_the_record_is_of_every_size():
    record = read_json(RECORD)
    assert [row["images"] for row in record["rows"]] == [*SIZES]
    assert len(draw(record).axes) == 2


def test_cost_grows_no_faster_than_the_images_and_memory_stays_bounded():
    """What the results page says of the record."""
    rows = read_json(RECORD)["rows"]
    first, last = rows[0], rows[-1]
    for name in ("open_seconds", "epoch_seconds"):
        # A quarter for what else a machine does in minutes.
        assert last[name] / first[name] < 1.25 * last["images"] / first["images"], name
    # A catalogue's row takes 0.9 KB; a decoded image would take 9.
    assert last["memory_mb"] - first["memory_mb"] < (last["images"] - first["images"]) / 500
