"""The record of the first answer: turns, ratios, and the page that says them."""

import sys
from pathlib import Path

import numpy as np

from notebooks.results.cold_start import OURS, TURNS, take_turns, times_shorter
from src.common.files import read_json
from src.results.grid import RESULTS

ROOT = Path(__file__).parents[2]


def test_commands_run_in_turns_and_the_first_turn_does_not_count(tmp_path):
    write = "open('turns', 'a').write('{}'); import src"
    commands = {name: [sys.executable, "-c", write.format(name)] for name in "ab"}
    seconds = take_turns(commands, tmp_path)
    assert (tmp_path / "turns").read_text() == "ab" * (TURNS + 1)
    assert {name: len(each) for name, each in seconds.items()} == {"a": TURNS, "b": TURNS}


def test_the_shortest_script_of_each_turn_counts():
    seconds = {OURS: [1.0, 2.0, 1.0], "keras": [9.0, 9.0, 6.0], "timm": [7.0, 12.0, 8.0]}
    assert times_shorter(seconds) == {"value": 6.0, "low": 4.5, "high": 7.0}


def test_the_page_is_what_the_record_says():
    record = read_json(RESULTS / "cold_start.json")
    page = " ".join((ROOT / "src/serving/README.md").read_text().split())
    seconds = [f"{np.median(record['seconds'][name]):.1f} s" for name in (OURS, "keras", "timm")]
    rate = record["times_shorter"]
    said = "label, took {}; the lines that `export` prints took {} (Keras) and {} (timm)."
    assert said.format(*seconds) in page
    assert f"{rate['value']:.1f} times ({rate['low']:.1f} to {rate['high']:.1f})" in page
