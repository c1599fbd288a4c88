"""One process at a time writes; the next is told who, and waits or is refused."""

import os
import signal

import pytest
from image_folders import python

from src.common import lock
from src.common.errors import InputError
from src.common.lock import one_writer

HOLD = """
import sys
from pathlib import Path
from src.common.lock import one_writer
with one_writer(Path(sys.argv[1])):
    print("holds", flush=True)
    sys.stdin.readline()
    Path(sys.argv[2]).write_text("written")
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the folder `run` until it gets a line."""
    (tmp_path / "run").mkdir()
    process = python(HOLD, tmp_path / "run", tmp_path / "result")
    assert process.stdout.readline() == "holds\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_is_refused_and_told_who(tmp_path, holder, monkeypatch):
    monkeypatch.setattr(lock, "_PATIENCE", 0.1)
    says = rf"Process {holder.pid} on .* writes to .*run\. Go away\."
    with pytest.raises(InputError, match=says), one_writer(tmp_path / "run", "Go away"):
        raise AssertionError("two writers")


def test_the_second_waits_and_finds_what_the_first_wrote(tmp_path, holder):
    holder.stdin.write("go\n")
    holder.stdin.flush()
    with one_writer(tmp_path / "run"):
        assert (tmp_path / "result").read_text() == "written"


def test_whoever_waits_says_for_whom(tmp_path, holder):
    second = python(HOLD, tmp_path / "run", tmp_path / "second")
    assert second.stderr.readline().startswith(f"Process {holder.pid} on ")
    holder.communicate("go\n")
    assert second.communicate("go\n")[0] == "holds\n"
    assert (tmp_path / "second").read_text() == "written"


def test_what_a_killed_writer_left_is_swept_by_the_next(tmp_path):
    left = [tmp_path / f".pixels.1234abcd.tmp.{suffix}" for suffix in ("bin", "json")]
    (tmp_path / ".pixels.1234abcd.tmp").mkdir()
    left.append(tmp_path / ".pixels.1234abcd.tmp" / "1.jpg")
    another = tmp_path / ".thumbs.1234abcd.tmp.bin"
    for file in (*left, another):
        file.write_bytes(b"half")
    with one_writer(tmp_path / "pixels.bin"):
        assert not any(file.exists() for file in left) and another.exists()


def test_a_killed_writer_holds_nothing(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    with one_writer(tmp_path / "run", "Go away"):
        pass


def test_a_file_need_not_exist_and_only_an_empty_lock_stays(tmp_path):
    with one_writer(tmp_path / "cache.bin"):
        assert not (tmp_path / "cache.bin").exists()
    assert [path.stat().st_size for path in tmp_path.iterdir()] == [0]
