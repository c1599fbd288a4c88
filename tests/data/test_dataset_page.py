"""What `dataset/README.md` says of the images is what the records say."""

import csv
import re
from collections import Counter
from pathlib import Path

from src.common.files import read_json
from src.comparison.baselines import NEIGHBOUR, PROBE, baselines_table
from src.data.duplicates.shifted import SAME_SHIFTED
from src.data.patients.recover import RENAMED
from src.data.splits.frozen import FOLDER, read_frozen

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "notebooks/results"
PAGE = (ROOT / "dataset/README.md").read_text()
TEXT = " ".join(PAGE.split())


def test_the_baselines_are_the_records():
    record = read_json(RESULTS / "baselines.json")
    scores = record["scores"]
    assert baselines_table(scores) in PAGE
    assert record["dataset"]["kind"] == "real"
    official = f"{100 * scores['official'][NEIGHBOUR]['accuracy']['value']:.1f} %"
    folds = [100 * scores[f"fold {k}"][NEIGHBOUR]["accuracy"]["value"] for k in range(5)]
    assert f"scores {official}" in TEXT
    assert f"{official} (official) to {min(folds):.1f} to {max(folds):.1f} %" in TEXT
    tenths = [100 * rate for rate in scores["probe tenths"]]
    assert f"scores {min(tenths):.1f} to {max(tenths):.1f} %" in TEXT
    tuned, steps = record["probe"]["tuning"]["selection"], record["probe"]["iterations"].values()
    assert f"on the {tuned['images']} images of the selection part" in TEXT
    low, *_, high = record["probe"]["grid"]
    assert len(record["probe"]["grid"]) == 11 and f"from {low:g} to {high:g}" in TEXT
    assert low < tuned["C"] < high  # else the grid is too short
    assert f"C = {tuned['C']:g} is the most accurate there" in TEXT
    assert f"converged in {min(steps)} to {max(steps)} steps" in TEXT
    assert f"scores {official} there" in (ROOT / "src/comparison/report/report.html.j2").read_text()


def test_the_copies_that_give_the_same_patients_are_the_records():
    variants = read_json(RESULTS / "provenance.json")["variants"]
    assert list(variants) == ["JPEG quality 60", "180 px", "512 px"]
    for counts in variants.values():
        assert counts["rows"] == counts["same_row"] == counts["confirmed"] == 4750
        assert counts["not_in_table"] == 0 and counts["files"] == 7019
    copies = "{} and {}".format(", ".join(list(variants)[:-1]), list(variants)[-1])
    assert (
        f"at {copies} the same slice, patient and mirroring are found for all of the 4,750" in TEXT
    )
    assert "nothing beyond them, and the shipped table alone confirms all 4,750" in TEXT
    assert "`notebooks/results/provenance.json`" in TEXT and "-m full" in TEXT


def test_anyone_can_recompute_the_baselines():
    scores = read_json(RESULTS / "baselines.json")["scores"]
    with (RESULTS / "baselines.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for name in (NEIGHBOUR, PROBE):
        right = [row[name] == row["label"] for row in rows if row["split"] != "official"]
        assert len(right) == scores["pooled"][name]["count"] == 6358
        assert abs(sum(right) / 6358 - scores["pooled"][name]["accuracy"]["value"]) < 1e-9


def test_what_streaming_costs_is_the_record():
    first, *_, last = read_json(RESULTS / "streams.json")["rows"]
    grown = [last[name] / first[name] for name in ("open_seconds", "epoch_seconds")]
    said = (
        f"{last['images']:,} synthetic images of 96 px take {last['open_seconds']:.0f} s to hash "
        f"and decode once, then {last['epoch_seconds']:.0f} s for an epoch of augmented batches, "
        f"with {last['memory_mb']:.0f} MB of memory; the decoded pixels, "
        f"{last['pixels_mb']:,.0f} MB"
    )
    text = " ".join(TEXT.split())
    assert said in text
    assert last["images"] == 8 * first["images"]
    assert "images take {:.1f} and {:.1f} times as long".format(*grown) in text


def test_what_the_audit_costs_is_the_record():
    rows = read_json(RESULTS / "audit_cost.json")["rows"]
    for row in rows:
        cost = f"{row['images']:,} | {row['seconds']:.0f} s | {row['peak_mib']:,} MiB |"
        assert f"| {row['what']} | {cost}" in TEXT
    merge, *phantom = rows
    assert merge["images"] == 7023 and merge["seconds"] < 90 and merge["peak_mib"] < 2048
    assert [row["images"] for row in phantom] == [5000, 10000, 20000]
    time, memory = (phantom[-1][name] / phantom[0][name] for name in ("seconds", "peak_mib"))
    grown = (
        f"four times the images take {time:.1f} times as long, and {memory:.1f} times the memory"
    )
    assert grown in TEXT
    assert phantom[-1]["seconds"] < 240 and phantom[-1]["peak_mib"] < 3072


def test_version_2_and_what_was_judged_are_the_tables():
    splits = {kind: read_frozen(FOLDER / f"{kind}_split.csv") for kind in ("clean", "patient")}
    used, selection = (
        {kind: [a for a in s.assignments.values() if wanted(a)] for kind, s in splits.items()}
        for wanted in (lambda a: a.fold >= 0, lambda a: a.part == "selection")
    )
    groups = {kind: len({each.group for each in some}) for kind, some in selection.items()}
    clean = len(used["clean"]), len({each.group for each in used["clean"]})
    assert "the default: group, fold and part of {:,} images in {} groups".format(*clean) in TEXT
    first = read_frozen(FOLDER / "clean_split_v1.csv").assignments.values()
    first = [each.group for each in first if each.fold >= 0]
    first = f"{len(first):,} images in {len(set(first))} groups"
    assert f"`--split dataset/clean_split_v1.csv`. {first}" in TEXT
    assert f"sets {len(selection['clean'])} images in {groups['clean']} groups aside" in TEXT
    assert f"{len(selection['patient'])} slices of {groups['patient']} figshare patients" in TEXT
    joined = Counter(row["why"] for row in rows_of(FOLDER / "joined_images.csv"))
    assert f"| {joined['same slice']} pairs of one slice, shifted" in TEXT
    assert f"{joined['one person']} pairs of files in a row" in TEXT
    ct = Counter(row["path"].split("/")[1] for row in rows_of(FOLDER / "modality.csv"))
    about = "{} files that are CT, not MRI: {} `notumor` files"
    assert about.format(sum(ct.values()), ct["notumor"]) in TEXT
    assert f"{ct['meningioma']} `meningioma` files" in TEXT


def test_the_search_for_shifted_copies_is_the_record():
    judged = {"same slice": [], "different": []}
    for row in rows_of(RESULTS / "shifted_pairs.csv"):
        judged[row["judged"]].append(float(row["score"]))
    same, different = judged.values()
    assert min(same) >= SAME_SHIFTED > max(different)
    assert f"all {len(same)} pairs that the search calls one slice" in TEXT
    nearest = f"{max(different):.2f}".lstrip("0")
    assert f"next pair scores {nearest}, and none of the next {len(different)} is" in TEXT
    nearest = rows_of(RESULTS / "shifted_figshare.csv")[0]["score"].lstrip("0")
    assert f"the nearest pair scores {nearest}" in TEXT


def test_how_close_a_renamed_image_is_is_the_constant():
    assert f"the closest within {RENAMED} of 63 bits decides" in TEXT


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_datasheet_says_what_the_page_says():
    sheet = (ROOT / "dataset/DATASHEET.md").read_text()
    for fact in ("5,712", "1,311", "6,936", "4,750", "387 sizes", "994 of the 1,311"):
        assert fact in sheet and fact in TEXT, fact


def test_what_ships_tells_the_versions_of_the_split_from_those_of_the_merge():
    ships = TEXT.partition("## What ships")[2]
    assert len(re.findall(r"[Vv]ersion [12]", ships)) == 5
    assert len(re.findall(r"[Vv]ersion [12] of (?:the split|both splits)", ships)) == 5
