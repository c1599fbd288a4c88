"""`doctor` finds what is there, and says of what is missing what to do."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from image_folders import python, write_flat

from src import doctor
from src.__main__ import main
from src.doctor import BAD, GOOD, NOTE


@pytest.fixture
def findings(monkeypatch, tmp_path):
    """A function that returns {what: (state, says)}, without the parts that start processes."""
    monkeypatch.setenv("BRAIN_TUMOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BRAIN_TUMOR_DATA", raising=False)
    monkeypatch.setattr(doctor, "_together", lambda: (GOOD, ""))
    monkeypatch.setattr(doctor, "_training", lambda: (GOOD, ""))
    monkeypatch.setattr(doctor, "_predict", lambda: (GOOD, ""))

    def found(data_dir=None):
        return {what: (state, says) for state, what, says in doctor.examine(data_dir)}

    return found


def test_images_are_counted_and_named(findings, tmp_path):
    state, says = findings(write_flat(tmp_path / "set", count=2))["images"]
    assert state == GOOD and says.startswith(f"8 in {tmp_path / 'set'}: ")


def test_a_wrong_folder_is_a_finding_not_an_end(findings, tmp_path):
    found = findings(tmp_path / "nowhere")
    assert found["images"][0] == BAD and "does not exist" in found["images"][1]
    assert found["frameworks"][0] == GOOD


def test_a_folder_that_leads_nowhere_is_a_finding(findings, monkeypatch, tmp_path):
    assert "no-such-user-1/x" in findings(Path("~no-such-user-1/x"))["images"][1]
    try:
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        assert "is a link in a circle" in findings(tmp_path / "loop")["images"][1]
    except OSError:  # Windows without the right to make links
        pass
    monkeypatch.setenv("BRAIN_TUMOR_CACHE", "~no-such-user-1/cache")
    state, says = findings()["room"]
    assert state == BAD and "~no-such-user-1/cache" in says


def test_a_missing_framework_leaves_training_out(findings, monkeypatch):
    monkeypatch.setattr(doctor, "_FRAMEWORKS", ("tensorflow", "another-one"))
    found = findings()
    assert found["frameworks"][0] == NOTE
    assert found["frameworks"][1].startswith("another-one not installed")
    assert not {"together", "training"} & set(found)


def test_a_full_disk_and_a_cache_that_cannot_be_written_are_named(findings, monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2e9))
    state, says = findings()["room"]
    assert state == NOTE and says.startswith(f"2 GB free for {tmp_path / 'cache'}, 2 GB here. Free")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BRAIN_TUMOR_CACHE", str(tmp_path / "file"))
    assert findings()["room"][0] == BAD and "BRAIN_TUMOR_CACHE" in findings()["room"][1]


@pytest.mark.parametrize("verdict, state", [("green", GOOD), ("red", BAD)])
def test_twins_that_differ_are_found(monkeypatch, verdict, state):
    steps = [{"loss_tf": 1.0, "loss_pt": 1.0}]
    measured = {"steps": steps, "verdict": verdict, "largest_ratio": 9.0}
    monkeypatch.setattr("src.comparison.parity.measure.measure_parity", lambda *_: measured)
    monkeypatch.setattr("src.data.phantom.write.default_phantom", lambda: Path())
    assert doctor._training()[0] == state


def test_a_missing_model_is_found(monkeypatch, tmp_path):
    monkeypatch.setattr("src.xception.weight_files.PRETRAINED", tmp_path)
    state, says = list(doctor._finding("predict", doctor._predict))[::2]
    assert state == BAD and "git checkout" in says


@pytest.mark.parametrize("state, code", [(GOOD, 0), (NOTE, 0), (BAD, 1)])
def test_the_exit_code_follows_the_worst(monkeypatch, capsys, state, code):
    found = [doctor.Finding(GOOD, "a", "is there"), doctor.Finding(state, "b", "is this")]
    monkeypatch.setattr("src.cli.doctor.examine", lambda _: iter(found))
    assert main(["doctor"]) == code
    assert capsys.readouterr().out.splitlines()[1].split() == [state, "b", "is", "this"]


WITHOUT = """
import sys
for name in ("matplotlib", "psutil", "scipy", "tensorflow", "torch", "filelock", "sklearn", "h5py"):
    sys.modules[name] = None
from src.doctor import examine
for state, what, says in examine():
    print(state, what, says)
"""


def test_where_only_prediction_is_installed_it_says_so(tmp_path):
    process = python(WITHOUT, BRAIN_TUMOR_CACHE=str(tmp_path))
    told, errors = process.communicate()
    assert process.returncode == 0, errors[-2000:]
    lines = dict(reversed(line.split(" ", 2)[:2]) for line in told.splitlines())
    assert lines["predict"] == GOOD and lines["processor"] == NOTE and "training" not in lines
