"""A twin's process: what it may run, where from, and how it ends."""

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest
from image_folders import write_set

from src.common.errors import InputError
from src.comparison.features import write_features
from src.comparison.parity.worker import write_step_trace
from src.comparison.process import ROOT, _interrupt, run_twin, running_twin
from src.config import preset

CONFIG = preset("smoke")


@pytest.fixture
def started(monkeypatch):
    """The processes that a test starts."""
    processes = []
    real = subprocess.Popen

    def popen(command, **options):
        processes.append(real(command, **options))
        return processes[-1]

    monkeypatch.setattr(subprocess, "Popen", popen)
    # What a shell script starts in the background ignores Ctrl-C, and so do its own processes.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield processes
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("quiet", [False, True])
def test_a_mistake_is_told_by_the_process_and_stops_the_caller(quiet, tmp_path, capfd):
    with pytest.raises(InputError, match="TensorFlow process stopped with exit code 2"):
        run_twin(write_features, "tf", CONFIG, tmp_path / "nowhere", quiet=quiet, count=1)
    told = capfd.readouterr()
    assert told.out == "" and "nowhere" in told.err and "Traceback" not in told.err


def test_the_current_folder_does_not_matter(tmp_path, monkeypatch, capfd):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "__init__.py").write_text("raise RuntimeError('the wrong src')")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="exit code 2"):
        run_twin(write_features, "pt", CONFIG, tmp_path / "nowhere", count=1)
    assert "the wrong src" not in capfd.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_whatever_stops_the_caller_stops_the_process(error, started, tmp_path):
    data = write_set(tmp_path / "data")
    with pytest.raises(error), running_twin(write_step_trace, "pt", CONFIG, data, perturbed=False):
        raise error
    (process,) = started
    # Interrupted, not ended by a write that nobody reads.
    assert process.poll() in (-signal.SIGINT, 128 + signal.SIGINT)


def test_windows_has_no_interrupt_to_send(monkeypatch):
    asked = []
    process = SimpleNamespace(terminate=lambda: asked.append("terminate"))  # no send_signal
    monkeypatch.setattr(os, "name", "nt")
    _interrupt(process)
    assert asked == ["terminate"]


PARENT = """
import sys
from pathlib import Path
from src.comparison.process import running_twin
from src.comparison.run import train_and_test
from src.config import preset
config = preset("smoke", finetune_epochs=500)
options = dict(folder=sys.argv[2], perturbed=False, workers=0)
with running_twin(train_and_test, "pt", config, Path(sys.argv[1]), **options):
    sys.stdin.read()
"""


@pytest.mark.slow
def test_a_process_ends_with_a_parent_that_was_killed(tmp_path):
    """Its work writes nothing, so it does not notice by itself that nobody reads."""
    command = [sys.executable, "-c", PARENT, write_set(tmp_path / "data"), tmp_path / "run"]
    parent = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    children = []
    while not children:
        time.sleep(0.05)
        children = psutil.Process(parent.pid).children()
    parent.kill()
    parent.communicate()
    _, alive = psutil.wait_procs(children, timeout=20)  # its training takes much longer
    for child in alive:
        child.kill()
    assert not alive


@pytest.mark.slow
def test_a_process_whose_output_nobody_reads_is_an_error(tmp_path, capfd):
    data = write_set(tmp_path / "data")
    with (
        pytest.raises(InputError, match="PyTorch process stopped"),
        running_twin(write_features, "pt", CONFIG, data, count=1),
    ):
        pass
    assert "BrokenPipeError" in capfd.readouterr().err


def test_nothing_slow_is_imported_where_an_interrupt_would_be_a_traceback():
    probe = "import sys, src.comparison.process; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], cwd=ROOT).returncode == 0
