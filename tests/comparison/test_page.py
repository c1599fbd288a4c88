"""The page of this folder shows the records, and its commands make them again."""

import dataclasses
import re
import shlex
from pathlib import Path

import pytest

from src.__main__ import build_parser
from src.cli.options import config_fields
from src.common.files import read_json
from src.comparison.attribution.report import attribution_table, within_floor
from src.comparison.features import features_table
from src.comparison.page import comparison_page, parity_table
from src.comparison.parity.settings import parity_config
from src.config import ExperimentConfig

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "notebooks" / "results"
FOLDER = ROOT / "src" / "comparison"
PAGE = (FOLDER / "README.md").read_text()
PARITY = {path.stem: read_json(path) for path in sorted((RESULTS / "parity").glob("*.json"))}
TASKS = ("train", "forward")
COMMANDS = {
    words[1]: words[2:]
    for words in map(shlex.split, re.findall(r"^parity \w+ .*", PAGE, flags=re.MULTILINE))
}


def test_the_page_is_what_the_records_give():
    assert f"<!-- results -->\n{comparison_page(RESULTS)}\n<!-- /results -->" in PAGE


def test_what_the_page_links_to_is_there():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", PAGE):
        assert (FOLDER / target).exists(), target


def test_the_features_are_of_real_images():
    record = read_json(RESULTS / "features.json")
    assert features_table(record["rows"]) in PAGE
    assert record["dataset"]["kind"] == "real" and record["precision"] == "float32"


def test_no_parity_run_is_red():
    verdicts = {name: record["verdict"] for name, record in PARITY.items()}
    assert len(verdicts) == 13 and verdicts.pop("bfloat16_sgd") == "not judged"
    assert set(verdicts.values()) == {"green"}


def test_the_ratios_in_the_text_are_the_largest_of_the_records():
    largest = {
        dtype: max(r["largest_ratio"] for name, r in PARITY.items() if name.startswith(dtype))
        for dtype in ("float32", "float64")
    }
    text = "up to {float32:.1f} floors apart in float32 and up to {float64:.1f} in float64"
    assert text.format(**largest) in " ".join(PAGE.split())


def test_a_parity_row_by_hand():
    steps = [{"gap": 3e-9}, {"gap": 4.2e-6}]
    record = dict(steps=steps, largest_ratio=1.309, largest_bn_ratio=2.1, verdict="green")
    row = parity_table({"float32_sgd": record}).splitlines()[-1]
    assert row == "| float32 sgd | 2 | 1.31 | 2.10 | 4e-06 | passed |"


@pytest.mark.parametrize("name", PARITY)
def test_the_command_on_the_page_makes_the_parity_record(name):
    options = build_parser("parity").parse_args(["parity", *COMMANDS[name]])
    config = parity_config(
        dtype=options.dtype, recipe=options.recipe, steps=options.steps, **config_fields(options)
    )
    record = PARITY[name]
    recorded = ExperimentConfig.from_json(record["config"])
    assert dataclasses.replace(config, init="any") == dataclasses.replace(recorded, init="any")
    assert len(record["steps"]) == options.steps
    assert record["dataset"]["kind"] == ("real" if options.data else "phantom")


def test_exactness_costs_a_few_percent():
    cost = read_json(RESULTS / "bench.json")
    low, high = cost["cost_interval"]
    assert low < cost["cost"] < high < 0.05
    assert f"{cost['cost'] * 100:.1f} % longer" in PAGE


def test_the_exact_twins_are_closer_than_the_floor():
    attribution = read_json(RESULTS / "attribution.json")
    assert attribution["dataset"]["kind"] == "real" and len(attribution["seeds"]) == 3
    assert attribution_table(attribution) in PAGE
    exact = attribution["gaps"][-1]["gap"]["probs"]["mean"]
    assert exact < attribution["floor"]["probs"]["mean"]
    assert len(within_floor(attribution)) == 5 and "5 of 17 changes" in PAGE
    accuracies = [entry["moved"]["accuracy"] for entry in attribution["rows"]]
    assert all(change["low"] <= 0 <= change["high"] for change in accuracies)
    assert "No single default is shown to change the accuracy" in PAGE


def test_the_readme_tells_the_speeds_of_the_record():
    rows = {
        (row["framework"], row["task"], row["written"], row["precision"]): row["images_per_second"]
        for row in read_json(RESULTS / "speeds.json")["rows"]
        if (row["image_size"], row["batch_size"]) == (224, 16)
    }

    def times(one, other):
        return [rows[one[0], task, *one[1:]] / rows[other[0], task, *other[1:]] for task in TASKS]

    tf, pt = ("tf", "plain", "float32"), ("pt", "plain", "float32")
    twins = times(("pt", "twin", "float32"), ("tf", "twin", "float32"))
    text = " ".join((ROOT / "README.md").read_text().split())
    assert "plain TensorFlow trains {:.1f} and predicts {:.1f} times".format(*times(tf, pt)) in text
    assert f"The PyTorch twin trains {twins[0]:.2f} times as fast as the TensorFlow twin." in text
    low = times(("pt", "twin", "bfloat16"), pt)
    assert "In bfloat16 it trains {:.1f} and predicts {:.1f} times".format(*low) in text
