"""Damaged files: a few of each kind here, and in the long campaign ten thousand."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz import CACHES, H5, LIMIT_SECONDS, PTH, READERS, campaign, damaged

from src.common.errors import InputError
from src.common.files import read_json
from src.serving.medical_files import is_medical
from src.xception import weight_files

FILES = 10_000
# Seeds whose files once crashed a reader or hung it.
FOUND = {
    "MATLAB, slice": (15, 27, 29, 103),  # KeyError
    H5: (128, 252, 296),  # for ever; RuntimeError; UnicodeEncodeError
    "split": (179, 380),  # OverflowError
    "kept outputs": (6361, 9777),  # another image's output was believed
}


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_answered_or_refused_with_a_sentence(name, tmp_path, monkeypatch):
    reader = READERS[name]
    path = reader.make(tmp_path)
    reader.read(path)
    monkeypatch.setattr(weight_files, "LONGEST", 6)  # only now: the good file must be read
    good = path.read_bytes()
    for seed in (*range(2 if name in (H5, PTH) else 25), *FOUND.get(name, ())):
        path.write_bytes(damaged(good, seed))
        try:
            reader.read(path)
        except InputError as error:
            assert str(error).strip(), seed


def test_a_reader_that_raises_otherwise_is_found(tmp_path):
    """The campaign's own arithmetic, on files that no reader of JSON answers."""
    code = (
        "import json, sys, fuzz; from pathlib import Path;"
        "make = lambda folder: fuzz._config(folder);"
        "fuzz.READERS['config'] = fuzz.Reader(make, lambda path: json.loads(path.read_bytes()));"
        "fuzz.work('config', range(20), Path(sys.argv[1]))"
    )
    report = tmp_path / "report.jsonl"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((".", "tests"))}
    root = Path(__file__).parents[1]
    subprocess.run([sys.executable, "-c", code, report], cwd=root, env=environment, check=True)
    rows = [json.loads(line) for line in report.read_text().splitlines()]
    assert [row["seed"] for row in rows[:-1:2]] == [*range(20)]
    found = [row["found"] for row in rows[1:-1:2] if row["found"]]
    assert found and all(text.startswith(("JSONDecodeError", "Unicode")) for text in found)


def test_a_campaign_counts_every_file(tmp_path):
    told = campaign("config", 5, tmp_path)
    assert told["answered"] + told["refused"] == 5 and not told["findings"]


def test_the_recorded_campaign_is_of_every_reader_and_found_nothing():
    recorded = read_json(Path(__file__).parent / "fuzz.json")["readers"]
    assert recorded.keys() == READERS.keys()
    for name, told in recorded.items():
        assert told["files"] == FILES, name
        assert told["findings"] == [] and told["answered"] + told["refused"] == told["files"], name
        assert told["grown_mb"] < 500 and told["slowest_seconds"] < LIMIT_SECONDS, name


@pytest.mark.full
@pytest.mark.parametrize("name", READERS)
def test_ten_thousand_damaged_files(name, tmp_path):
    told = campaign(name, FILES, tmp_path)
    assert told["findings"] == [] and told["answered"] + told["refused"] == FILES
    assert told["grown_mb"] < 500


class WaitedError(BaseException):
    """No reader may turn it into a sentence, as it may an OSError, which TimeoutError is."""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no named pipes of this kind")
@pytest.mark.parametrize("name", [name for name in READERS if name not in CACHES])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(name, tmp_path):
    """To open one waits for a writer, for ever."""

    def too_long(*_):
        raise WaitedError

    reader = READERS[name]
    path = reader.make(tmp_path)
    path.unlink()
    os.mkfifo(path)
    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(10)
    try:
        if name.startswith("image"):  # gives the reason instead of pixels
            assert "a pipe" in reader.read(path)
        else:  # a card's config is optional
            with contextlib.suppress(InputError):
                reader.read(path)
        assert not is_medical(path)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
