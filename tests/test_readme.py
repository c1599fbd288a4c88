"""The README's promises that a test can hold it to."""

import csv
import re
from pathlib import Path

from src.common.files import read_json
from src.comparison.baselines import NEIGHBOUR, PROBE, baselines_table

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def commands() -> list[str]:
    """Return the README's two commands, without their comments."""
    block = README.partition("## Two commands")[2].partition("```bash\n")[2].partition("```")[0]
    return [line.partition("#")[0].strip() for line in block.strip().splitlines()]


def test_two_commands_each_starting_with_the_install():
    assert commands() == [
        "python -m pip install -r requirements.txt && python -m src compare",
        "python -m pip install -r requirements.txt && python -m pytest -n 2",
    ]


def test_ci_calls_exactly_the_test_command():
    assert commands()[1] in (ROOT / ".ci" / "run").read_text().splitlines()


def test_what_the_readme_links_to_is_there():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_readme_says_that_this_is_no_medical_device():
    assert "Not a medical device" in README


def test_the_baselines_are_the_records():
    record = read_json(ROOT / "notebooks" / "results" / "baselines.json")
    scores = record["scores"]
    data = (ROOT / "dataset" / "README.md").read_text()
    assert baselines_table(scores) in data
    assert record["dataset"]["kind"] == "real"
    official = f"{100 * scores['official'][NEIGHBOUR]['accuracy']['value']:.1f} %"
    folds = [100 * scores[f"fold {k}"][NEIGHBOUR]["accuracy"]["value"] for k in range(5)]
    assert f"scores {official}" in data
    assert f"{official} (official) to {min(folds):.1f} to {max(folds):.1f} %" in data
    tenths = [100 * rate for rate in scores["probe tenths"]]
    assert f"scores {min(tenths):.1f} to {max(tenths):.1f} %" in data
    assert f"scores {official} there" in (ROOT / "src/comparison/report/report.html.j2").read_text()


def test_the_copies_that_give_the_same_patients_are_the_records():
    variants = read_json(ROOT / "notebooks" / "results" / "provenance.json")["variants"]
    data = " ".join((ROOT / "dataset" / "README.md").read_text().split())
    assert list(variants) == ["JPEG quality 60", "180 px", "512 px"]
    for counts in variants.values():
        assert counts["rows"] == counts["same_row"] == counts["confirmed"] == 4750
        assert counts["not_in_table"] == 0 and counts["files"] == 7019
    told = "{} and {}".format(", ".join(list(variants)[:-1]), list(variants)[-1])
    assert f"at {told} the same slice, patient and mirroring are found for all of the 4,750" in data
    assert "nothing beyond them, and the shipped table alone confirms all 4,750" in data
    assert "`notebooks/results/provenance.json`" in data and "-m full" in data


def test_anyone_can_recompute_the_baselines():
    results = ROOT / "notebooks" / "results"
    scores = read_json(results / "baselines.json")["scores"]
    with (results / "baselines.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for name in (NEIGHBOUR, PROBE):
        right = [row[name] == row["label"] for row in rows if row["split"] != "official"]
        assert len(right) == scores["pooled"][name]["count"] == 7015
        assert abs(sum(right) / 7015 - scores["pooled"][name]["accuracy"]["value"]) < 1e-9


def test_what_the_audit_costs_is_the_record():
    rows = read_json(ROOT / "notebooks/results/audit_cost.json")["rows"]
    data = (ROOT / "dataset" / "README.md").read_text()
    for row in rows:
        cost = f"{row['images']:,} | {row['seconds']:.0f} s | {row['peak_mib']:,} MiB |"
        assert f"| {row['what']} | {cost}" in data
    merge, *phantom = rows
    assert merge["images"] == 7019 and merge["seconds"] < 90 and merge["peak_mib"] < 2048
    assert [row["images"] for row in phantom] == [5000, 10000, 20000]
    time, memory = (phantom[-1][name] / phantom[0][name] for name in ("seconds", "peak_mib"))
    grown = (
        f"four times the images take {time:.1f} times as long, and {memory:.1f} times the memory"
    )
    assert grown in data
    assert phantom[-1]["seconds"] < 240 and phantom[-1]["peak_mib"] < 3072
