"""What the feature cache keeps on disk is whole, shared, bounded, or not believed."""

import json
import re

import numpy as np
import pytest
from image_folders import python

from src.common.errors import InputError
from src.feature_cache.cache import LIMIT, Store

ARRAYS = np.random.default_rng(0).normal(size=(3, 2, 2, 5)).astype(np.float32)
NAMES = ["a", "b", "c"]


def filled(folder):
    store = Store(folder, folder)
    with store.adding():
        store.add(NAMES, ARRAYS, "tf")
    return store


def test_another_process_reads_what_one_kept(tmp_path):
    store = filled(tmp_path)
    again = Store(tmp_path, tmp_path)
    for one in (store, again):
        np.testing.assert_array_equal(one.read(one.places(["c", "a"])), ARRAYS[[2, 0]])
        assert one.made_by(NAMES) == {"tf": 3} and "d" not in one


def truncated(data, index):
    data.write_bytes(data.read_bytes()[:-7])


def changed(data, index):
    content = bytearray(data.read_bytes())
    content[-5] ^= 1
    data.write_bytes(content)


def without_data(data, index):
    data.unlink()


def without_index(data, index):
    index.unlink()


def torn_index(data, index):
    index.write_text(index.read_text()[:40])


def fewer_names(data, index):
    about = json.loads(index.read_text())
    index.write_text(json.dumps(about | {"names": about["names"][:2]}))


@pytest.mark.parametrize(
    "fault", [truncated, changed, without_data, without_index, torn_index, fewer_names]
)
def test_a_damaged_file_is_never_believed(tmp_path, fault):
    filled(tmp_path)
    (data,) = tmp_path.glob("*.npy")
    fault(data, data.with_suffix(".json"))
    left = sorted(tmp_path.iterdir())
    store = Store(tmp_path, tmp_path)
    assert not any(name in store for name in NAMES)
    assert sorted(tmp_path.iterdir()) == left  # a reader deletes nothing
    with store.adding():
        assert [path.name for path in tmp_path.iterdir()] == ["lock"]
        store.add(NAMES, ARRAYS, "pt")
    np.testing.assert_array_equal(store.read(store.places(NAMES)), ARRAYS)
    assert store.made_by(NAMES) == {"pt": 3}


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from src.feature_cache import cache as store
real = {what}
def die(path, value):
    real(path, value)
    path = Path(path)
    path.write_bytes(path.read_bytes()[:40])
    os.kill(os.getpid(), signal.SIGKILL)
{what} = die
kept = store.Store(Path(sys.argv[1]), Path(sys.argv[1]))
with kept.adding():
    kept.add(["a", "b", "c"], np.ones((3, 2, 2, 5), np.float32), "tf")
"""


@pytest.mark.parametrize("what", ["np.save", "store.write_json"])
def test_a_kill_in_the_middle_leaves_nothing_that_counts(tmp_path, what):
    process = python(KILLED.format(what=what), tmp_path)
    process.communicate()
    assert process.returncode == -9
    store = Store(tmp_path, tmp_path)
    assert not any(name in store for name in NAMES)
    with store.adding():  # the lock of the dead is free
        store.add(NAMES, ARRAYS, "tf")
    np.testing.assert_array_equal(store.read(store.places(NAMES)), ARRAYS)
    assert not list(tmp_path.glob(".*.npy"))


HOLDING = """
import sys, time
from pathlib import Path
import numpy as np
from src.feature_cache.cache import Store
store = Store(Path(sys.argv[1]), Path(sys.argv[1]))
with store.adding():
    print("holding", flush=True)
    time.sleep(0.5)
    store.add(["a", "b", "c"], np.ones((3, 2, 2, 5), np.float32), "pt")
"""


def test_one_process_waits_and_then_sees_what_the_other_added(tmp_path, capsys):
    store = Store(tmp_path, tmp_path)
    other = python(HOLDING, tmp_path)
    assert other.stdout.readline() == "holding\n"
    assert "a" not in store
    with store.adding():
        assert "a" in store and store.made_by(["a"]) == {"pt": 1}
    other.communicate()
    assert "Waiting for another process" in capsys.readouterr().err


def test_a_file_that_cannot_be_opened_is_not_taken_for_a_damaged_one(tmp_path, monkeypatch):
    def too_many(*_, **__):
        raise OSError(24, "Too many open files")

    filled(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(np, "load", too_many)
        with pytest.raises(InputError, match="Too many open files"):
            Store(tmp_path, tmp_path)
    assert "a" in Store(tmp_path, tmp_path)


def test_a_reader_leaves_alone_what_is_being_written(tmp_path):
    half = tmp_path / ".aa.1.tmp.json"
    half.write_text('{"made_by')
    Store(tmp_path, tmp_path)
    assert half.exists()


def test_the_bound_holds_over_all_folders_and_says_what_to_do(tmp_path, monkeypatch):
    other = filled(tmp_path / "one")
    used = sum(file.stat().st_size for file in other.folder.iterdir())
    store = Store(tmp_path / "two", tmp_path)
    monkeypatch.setenv(LIMIT, str((used + 1000) / 1e9))
    store.reserve(10, 100)
    with pytest.raises(InputError, match=re.escape(LIMIT)) as error:
        store.reserve(11, 100)
    assert "11 images" in str(error.value) and "--no-feature-cache" in str(error.value)
    filled(tmp_path / "three")  # meanwhile, by another process
    with pytest.raises(InputError, match="10 images"):
        store.reserve(10, 100)
    monkeypatch.setenv(LIMIT, "1e6")
    with pytest.raises(InputError, match="the disk has"):
        store.reserve(10**9, 10**6)


@pytest.mark.parametrize("given", ["much", "-1", "nan", "inf"])
def test_a_bound_that_is_no_number_is_refused(tmp_path, monkeypatch, given):
    monkeypatch.setenv(LIMIT, given)
    with pytest.raises(InputError, match="number of gigabytes"):
        Store(tmp_path, tmp_path).reserve(1, 1)


def test_a_full_disk_is_told_in_a_sentence(tmp_path, monkeypatch):
    def full(path, arrays):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(InputError, match="No space left on device"):
        filled(tmp_path)
