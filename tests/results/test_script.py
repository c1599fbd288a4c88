"""The command line that the scripts beside the results share."""

from pathlib import Path

import pytest

from notebooks.results import script
from src.common.errors import InputError
from src.common.files import read_json


def test_a_script_writes_what_it_measures_or_ends_with_a_sentence(tmp_path, monkeypatch):
    def run(*given):
        monkeypatch.setattr("sys.argv", ["", *given])
        script.record("made", measure, "data", model=Path("shipped"))
        return read_json(tmp_path / "made.json")["measured"]

    def measure(data, model):
        if data == Path("none"):
            raise InputError("There are no images.")
        return {"measured": [data.name, model.name]}

    monkeypatch.setattr(script, "RESULTS", tmp_path)
    assert run("images") == ["images", "shipped"]
    assert run("images", "own") == ["images", "own"]
    with pytest.raises(SystemExit, match=r"error: There are no images\."):
        run("none")
