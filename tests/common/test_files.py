"""Files and folders: whole or not at all, on the disk, and what killed processes leave is swept."""

import os
from pathlib import Path

import pytest

from src.common.errors import InputError, reason_of
from src.common.files import (
    atomic_folder,
    atomic_write,
    cache_dir,
    read_json,
    sweep,
    write_csv,
    write_json,
)
from src.data.patients.recover import shipped_table
from src.data.sources.readers import read_source
from src.data.splits.frozen import read_frozen
from src.records import read_predictions
from src.results.rescore import rescore
from src.serving.calibration import read_calibration
from src.xception.weight_files import load_arrays


def test_what_a_kill_leaves_is_swept_and_what_is_young_or_meant_is_not(tmp_path):
    folders = (".saved.abcd1234.tmp", ".tmpFolder", ".tmp-notes")
    meant = {"kept.tmp", ".hidden", ".tmp", ".tmpl", ".notes.tmp", ".tmpFolder", ".tmp-notes"}
    names = (".tmpAbC123", ".record.1234abcd.tmp.json", ".saved.abcd1234.tmp", *meant)
    for name in names:
        (tmp_path / name).mkdir() if name in folders else (tmp_path / name).touch()
    (tmp_path / ".saved.abcd1234.tmp" / "graph").touch()
    sweep(tmp_path, older_than=60)
    assert {path.name for path in tmp_path.iterdir()} == set(names)
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == meant


@pytest.mark.skipif(os.name != "posix", reason="only POSIX flushes a folder")
def test_content_and_new_name_are_on_the_disk_before_the_block_is_left(tmp_path, monkeypatch):
    flushed, real = [], os.fsync

    def fsync(handle):
        flushed.append(os.fstat(handle).st_ino)
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with atomic_write(tmp_path / "a.txt") as temporary:
        temporary.write_text("a")
    with atomic_folder(tmp_path / "b") as folder:
        (folder / "c").write_text("c")
    written = (tmp_path / "a.txt", tmp_path, tmp_path / "b" / "c", tmp_path)
    assert flushed == [path.stat().st_ino for path in written]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name here")
@pytest.mark.parametrize("link", [False, True])
def test_what_is_no_file_is_not_replaced(tmp_path, link):
    os.mkfifo(tmp_path / "pipe")
    if link:  # as /dev/stdout is one
        (tmp_path / "link").symlink_to(tmp_path / "pipe")
    with pytest.raises(InputError, match="a pipe or a device is there"):
        write_json(tmp_path / ("link" if link else "pipe"), {})
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "link").is_symlink() == link


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux has it")
def test_a_stream_that_goes_to_a_file_is_not_replaced(tmp_path):
    with (tmp_path / "a.txt").open("w") as file:
        stream = f"/proc/self/fd/{file.fileno()}"  # where /dev/stdout leads; never give that here:
        with pytest.raises(InputError, match="a pipe or a device is there"):  # it could be replaced
            write_json(stream, {})
    assert (tmp_path / "a.txt").read_text() == ""


@pytest.mark.parametrize("there", [False, True])
def test_a_link_stays_and_its_file_is_written(tmp_path, there):
    (tmp_path / "other").mkdir()
    target, link = tmp_path / "other" / "a.json", tmp_path / "link.json"
    if there:
        target.write_text("old")
    try:
        link.symlink_to(Path("other", "a.json"))
    except OSError:
        pytest.skip("no right to make links")
    write_json(link, [1])
    assert link.is_symlink() and read_json(target) == [1]
    assert [path.name for path in target.parent.iterdir()] == ["a.json"]


@pytest.mark.parametrize("content", ["[" * 100_000, "{", "\udcff"])
def test_what_is_no_json_is_a_sentence(content, tmp_path):
    (tmp_path / "a.json").write_text(content, errors="surrogateescape")
    with pytest.raises(InputError, match="not a readable JSON file"):
        read_json(tmp_path / "a.json")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(InputError, match="a pipe or a device"):
        read_json(tmp_path / "a.json")


def test_a_table_keeps_the_bytes_of_a_name_that_is_no_text(tmp_path):
    write_csv(tmp_path / "a.csv", ("path", "label"), [{"path": os.fsdecode(b"\xe9.jpg")}])
    assert (tmp_path / "a.csv").read_bytes() == b"path,label\n\xe9.jpg,\n"


def test_an_empty_variable_is_no_cache_folder(monkeypatch):
    monkeypatch.delenv("BRAIN_TUMOR_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_dir() == Path("~/.cache/brain-tumor-xception").expanduser()


READERS = (
    read_json, load_arrays, read_frozen, read_predictions, read_source, rescore, shipped_table,
    lambda path: read_calibration(path.parent, {"calibration": {"sha256": ""}}),
)  # fmt: skip


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("there", [False, True])
def test_a_file_that_cannot_be_opened_is_named_once(read, there, tmp_path):
    path = tmp_path / ("slices.csv" if read is read_source else "calibration.safetensors")
    if there or read is read_source:
        path.mkdir()  # a folder in its place
    with pytest.raises(InputError) as caught:
        read(tmp_path if read is read_source else path)
    message = str(caught.value)
    assert message.count(str(path)) == 1 and "[Errno" not in message and "Error" not in message


def test_an_error_that_says_too_little_keeps_its_name():
    assert reason_of(KeyError("path")) == "KeyError: 'path'"
    assert reason_of(ValueError("no number")) == "no number"
    assert reason_of(OSError("a pipe")) == "a pipe"
