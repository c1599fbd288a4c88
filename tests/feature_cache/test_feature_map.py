"""What the feature cache keeps on disk is whole, shared and bounded, or it is computed again."""

import os
import re
import resource

import numpy as np
import pytest
from image_folders import python

from src.common.errors import InputError
from src.config import preset
from src.data.dataset import open_dataset
from src.feature_cache import cache
from src.feature_cache.cache import LIMIT, FeatureMap, check_room, find_cache
from src.xception.blocks import BACKBONE_TENSORS
from src.xception.stages import HEAD

ROWS = np.arange(3)
OUTPUTS = np.random.default_rng(0).normal(size=(3, 2, 2, 5)).astype(np.float32)
ENTRY = 8 + 2 * 2 * 5 * 4  # bytes: maker, checksum, output


def opened(folder, count=5):
    return FeatureMap(folder / "map.bin", count, (2, 2, 5), "<f4")


def filled(folder):
    opened(folder).write(ROWS, OUTPUTS, "tf")
    return folder / "map.bin"


def test_another_process_reads_what_one_kept(tmp_path):
    earlier = opened(tmp_path)
    assert list(earlier.makers(ROWS)) == ["", "", ""]
    filled(tmp_path)
    for each in (earlier, opened(tmp_path)):
        assert list(each.makers(np.array([2, 0, 4]))) == ["tf", "tf", ""]
        np.testing.assert_array_equal(each.output(2), OUTPUTS[2])


def truncated(path):
    os.truncate(path, 3 * ENTRY - 7)


def longer(path):
    os.truncate(path, 9 * ENTRY)


def one_bit(path):
    content = bytearray(path.read_bytes())
    content[3 * ENTRY - 5] ^= 1
    path.write_bytes(content)


def foreign(path):
    path.write_bytes(b"something else entirely " * 99)


def emptied(path):
    path.write_bytes(b"")


@pytest.mark.parametrize(
    "fault, left",
    [(truncated, "tt"), (longer, "ttt"), (one_bit, "tt"), (foreign, ""), (emptied, "")],
)
def test_a_damaged_file_gives_only_what_is_whole_and_is_repaired(tmp_path, fault, left):
    fault(filled(tmp_path))
    damaged = opened(tmp_path)
    assert "".join(maker[:1] for maker in damaged.makers(ROWS)) == left
    missing = np.flatnonzero(damaged.makers(ROWS) == "")
    damaged.write(missing, OUTPUTS[missing], "pt")
    assert [maker[:1] for maker in damaged.makers(ROWS)] == [*left.ljust(3, "p")]
    np.testing.assert_array_equal([damaged.output(row) for row in ROWS], OUTPUTS)
    assert damaged.path.stat().st_size == 5 * ENTRY


def test_a_value_that_16_bits_cannot_hold_is_refused_and_nothing_is_kept(tmp_path):
    half = FeatureMap(tmp_path / "half.bin", 5, (2, 2, 5), "<f2")
    assert half.output_bytes == 8 + (ENTRY - 8) / 2
    too_large = OUTPUTS.copy()
    too_large[1, 0, 0, 0] = -65600  # beyond float16, not beyond bfloat16
    with pytest.raises(InputError, match=r"up to 65504 .* half has an output of 65600\..*float32"):
        half.write(ROWS, too_large, "pt")
    assert list(half.makers(ROWS)) == ["", "", ""]
    opened(tmp_path).write(ROWS, too_large, "pt")
    np.testing.assert_array_equal(opened(tmp_path).output(1), too_large[1])


SMOKE = preset("smoke", feature_cache=True, augment="none", init="complete file")
FILL = """
import os, signal, sys, time
import numpy as np
from src.config import preset
from src.data.dataset import open_dataset
from src.feature_cache import cache
from src.xception.blocks import BACKBONE_TENSORS
cache._FOLDER = sys.argv[1]
config = preset("smoke", feature_cache=True, augment="none", init="complete file")
weights = {tensor.name: np.zeros(1, np.float32) for tensor in BACKBONE_TENSORS}
batches, computed = 0, int(sys.argv[3])

def compute(images):
    global batches
    batches += 1
    if batches == 1:
        print("computing", flush=True)
        sys.stdin.readline()  # the other process has started, too
    time.sleep(0.05)
    if batches == computed:
        os.kill(os.getpid(), signal.SIGKILL)
    return images[..., 0].reshape(len(images), -1)[:, 1000:3048]

features = cache.find_cache(config, 1, sys.argv[2], lambda: weights, lambda block: compute)
features.batches(open_dataset(config).batches("test"))
print(features.computed, features.describe()["images"])
"""


def features_and_batches(framework="tf"):
    def compute(images):
        return images[..., 0].reshape(len(images), -1)[:, 1000:3048]

    weights = {tensor.name: np.zeros(1, np.float32) for tensor in BACKBONE_TENSORS}
    features = find_cache(SMOKE, HEAD, framework, lambda: weights, lambda block: compute)
    return features, open_dataset(SMOKE).batches("test")


def fill(framework="tf"):
    """Fill a map in this process; return the cache, the images and the outputs."""
    features, batches = features_and_batches(framework)
    return features, batches, features.batches(batches)


def same_outputs(batches, cached):
    for index in range(len(batches)):
        images = batches.batch(0, index)[0]
        expected = images[..., 0].reshape(len(images), -1)[:, 1000:3048]
        np.testing.assert_array_equal(cached.batch(0, index)[0], expected)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_FOLDER", f"feature_cache-{tmp_path.name}")
    return f"feature_cache-{tmp_path.name}"


@pytest.mark.slow
def test_a_kill_while_filling_loses_one_batch_of_16(folder):
    killed = python(FILL, folder, "tf", 3)
    killed.communicate()
    assert killed.returncode == -9
    features, batches, cached = fill("pt")
    images = len(batches.labels)
    assert features.describe()["made_by"] == {"pt": images - 32, "tf": 32}
    same_outputs(batches, cached)


@pytest.mark.slow
def test_of_two_processes_one_computes_and_the_other_reads(folder):
    images = len(open_dataset(SMOKE).batches("test").labels)
    others = [python(FILL, folder, framework, 0) for framework in ("tf", "pt")]
    for process in others:
        process.stdin.write("go\n")
        process.stdin.flush()
    ends = [process.communicate()[0].split()[-2:] for process in others]
    assert sorted(int(computed) for computed, _ in ends) == [0, images]
    assert [int(seen) for _, seen in ends] == [images, images]
    features, batches, cached = fill()
    assert features.computed == 0 and len(features.describe()["made_by"]) == 1
    same_outputs(batches, cached)


def test_a_map_that_vanishes_while_it_is_filled_is_not_believed(folder, monkeypatch):
    write = FeatureMap.write

    def vanish(self, *given):
        write(self, *given)
        self.path.unlink()
        self.path.write_bytes(b"")

    monkeypatch.setattr(FeatureMap, "write", vanish)
    with pytest.raises(InputError, match="Run it again"):
        fill()


def test_the_bound_holds_over_all_files_and_says_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "of-another-run.bin").write_bytes(bytes(10**6))
    used = sum(path.stat().st_blocks * 512 for path in tmp_path.iterdir())
    big = FeatureMap(tmp_path / "big.bin", 10**6, (10**4,), "<f4")  # sparse: it takes no room yet
    monkeypatch.setenv(LIMIT, str((used + 10 * big.output_bytes + 4096) / 1e9))
    check_room(big, 10)
    with pytest.raises(InputError, match=re.escape(LIMIT)) as error:
        check_room(big, 11)
    assert "11 images" in str(error.value) and "--no-feature-cache" in str(error.value)
    (tmp_path / "meanwhile.bin").write_bytes(bytes(10**6))
    with pytest.raises(InputError, match="10 images"):
        check_room(big, 10)


def test_no_room_stops_a_run_before_it_computes(folder, monkeypatch):
    monkeypatch.setenv(LIMIT, "0.0001")
    with pytest.raises(InputError, match=r"may hold 0\.0 GB"):
        fill()


@pytest.mark.parametrize("given", ["much", "-1", "nan", "inf"])
def test_a_bound_that_is_no_number_is_refused(tmp_path, monkeypatch, given):
    monkeypatch.setenv(LIMIT, given)
    with pytest.raises(InputError, match="number of gigabytes"):
        check_room(opened(tmp_path), 1)


def test_a_full_disk_ends_in_a_sentence_and_keeps_what_was_computed(folder):
    features, batches = features_and_batches()
    (each,) = features._open_maps(batches)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (33 * each.output_bytes, limits[1]))
    try:
        with pytest.raises(InputError, match=r"File too large.*--no-feature-cache"):
            features.batches(batches)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    features, batches, cached = fill()
    assert 0 < features.computed < len(batches.labels)
    same_outputs(batches, cached)


def test_a_file_that_cannot_be_read_is_not_taken_for_a_damaged_one(folder, monkeypatch):
    def too_many(*_, **__):
        raise OSError(24, "Too many open files")

    features = fill()[0]
    with monkeypatch.context() as patch:
        patch.setattr(cache.np, "memmap", too_many)
        with pytest.raises(InputError, match="Too many open files"):
            features.batches(open_dataset(SMOKE).batches("test"))
    assert fill()[0].computed == 0
