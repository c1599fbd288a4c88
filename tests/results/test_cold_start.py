"""The record of the first answer: turns, ratios, and the page that says them."""

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from notebooks.results import cold_start
from notebooks.results.cold_start import NO_NETWORK, OURS, TURNS, take_turns, times_shorter
from src.common.files import read_json
from src.results.grid import RESULTS

ROOT = Path(__file__).parents[2]
ISOLATES = shutil.which("unshare") and not subprocess.run([*NO_NETWORK, "true"]).returncode


def test_commands_run_in_turns_without_a_network(tmp_path, monkeypatch):
    if not ISOLATES:
        monkeypatch.setattr(cold_start, "NO_NETWORK", ())
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # of a machine; it must not count
    write = "open('turns', 'a').write('{}'); import src, sys; assert not sys.dont_write_bytecode"
    commands = {name: [sys.executable, "-c", write.format(name)] for name in "ab"}
    seconds = take_turns(commands, tmp_path)
    assert (tmp_path / "turns").read_text() == "ab" * (TURNS + 1)
    assert {name: len(each) for name, each in seconds.items()} == {"a": TURNS + 1, "b": TURNS + 1}


@pytest.mark.skipif(not ISOLATES, reason="unshare cannot take the network away here")
def test_nothing_is_reached_without_a_network():
    reach = "import socket; socket.create_connection(('127.0.0.1', {}), 5)"
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, "-c", reach.format(server.getsockname()[1])]
        assert subprocess.run(command).returncode == 0
        assert subprocess.run([*NO_NETWORK, *command], stderr=subprocess.DEVNULL).returncode == 1


def test_the_shortest_script_of_each_turn_counts():
    seconds = {OURS: [1.0, 2.0, 1.0], "keras": [9.0, 9.0, 6.0], "timm": [7.0, 12.0, 8.0]}
    assert times_shorter(seconds) == {"value": 6.0, "low": 4.5, "high": 7.0}


def test_the_page_is_what_the_record_says():
    record = read_json(RESULTS / "cold_start.json")
    page, readme = (
        " ".join((ROOT / name).read_text().split())
        for name in ("src/serving/README.md", "README.md")
    )
    seconds = [f"{np.median(record['seconds'][name]):.1f} s" for name in (OURS, "keras", "timm")]
    rate = record["times_shorter"]
    said = "label, took {}; the lines that `export` prints took {} (Keras) and {} (timm)."
    assert said.format(*seconds) in page
    assert f"A new process answers in {seconds[0]}." in readme
    assert f"The very first start took {record['first'][OURS]:.1f} s" in page
    assert f"{rate['value']:.1f} times ({rate['low']:.1f} to {rate['high']:.1f})" in page
