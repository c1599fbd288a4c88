"""What the prefix cache saves is measured on equal losses, and unequal ones show."""

import dataclasses

import pytest
from made_weights import backbone_file

from src.comparison import bench_prefix
from src.config import preset
from src.prefix.store import Store


def measured(monkeypatch, folder):
    # Batches of 16, as in test_prefix_twins.py: PyTorch rounds by an image's place in the batch.
    monkeypatch.setattr(bench_prefix, "IMAGES", {"train": 32, "val": 16})
    config = preset("smoke", init=str(backbone_file(folder)), redraw=("block14",), batch_size=16)
    config = dataclasses.replace(config, head_rate=0.1, finetune_rate=0.01)  # so losses move
    found = bench_prefix.measure_half("pt", config, None)
    return found, {"frameworks": {"pt": found}}


def test_losses_with_and_without_the_cache_are_equal(monkeypatch, tmp_path):
    found, both = measured(monkeypatch, tmp_path)
    assert [row["fill"]["block"] for row in found.values()] == ["block14", "block13", "block12"]
    for name, row in found.items():
        assert row["fill"]["computed"] == 48  # all images of both parts, once
        assert len(row["losses"][0]) == 2 * bench_prefix.EPOCHS
        assert row["largest_difference"] < 2e-5, name  # 71 px: see test_prefix_twins.py
        times = f"{row['times_cheaper']:.1f} | {row['fill']['seconds']:.1f} |"
        assert any(f"| PyTorch | {name} |" in line and times in line for line in table(both))


def table(both):
    return bench_prefix.prefix_table(both).splitlines()


def test_a_cache_that_gives_outputs_of_other_images_shows(monkeypatch, tmp_path):
    read = Store.read
    monkeypatch.setattr(Store, "read", lambda store, places: read(store, places[::-1]))
    monkeypatch.setattr(bench_prefix, "STAGES", {"head": bench_prefix.STAGES["head"]})
    found, _ = measured(monkeypatch, tmp_path)
    assert found["head"]["largest_difference"] > 1e-3


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("BRAIN_TUMOR_CACHE", str(tmp_path / "cache"))
