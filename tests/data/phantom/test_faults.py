"""The audit graded against a phantom set whose copies, neighbours and broken files are known."""

import json

import numpy as np
import pytest
from image_folders import data_command
from injected_faults import Injection, same_slice_pairs, write_faulty
from PIL import Image

import src.data.duplicates.similarity as similarity
from src.config import CLASS_NAMES
from src.data.catalog import read_catalog
from src.data.phantom.write import MARKER
from src.data.splits.groups import group_catalog

FAULTS = Injection(duplicates=24, mirrored=24, brightened=24, adjacent=40, conflicts=8, corrupt=6)


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """Return a phantom set with faults, and what its marker says of them."""
    root = write_faulty(tmp_path_factory.mktemp("faults") / "set", 160, 96, 0, FAULTS)
    return root, json.loads((root / MARKER).read_text())


@pytest.fixture(scope="module")
def about(faulty, tmp_path_factory):
    """Return what the audit says of it."""
    file = tmp_path_factory.mktemp("audit") / "audit.json"
    data_command("audit", "--data", faulty[0], "--json", file)
    return json.loads(file.read_text())


def _of_kind(marker, *kinds):
    return [row for row in marker["injected"] if row["kind"] in kinds]


def _rates(found, truth):
    """Return precision and recall of pairs of paths."""
    found, truth = ({tuple(pair) for pair in pairs} for pairs in (found, truth))
    return len(found & truth) / len(found), len(found & truth) / len(truth)


def test_the_marker_says_what_was_put_in(faulty):
    root, marker = faulty
    assert [len(_of_kind(marker, kind)) for kind in ("duplicate", "adjacent", "corrupt")] == [
        24,
        40,
        6,
    ]
    assert all((root / row["path"]).exists() for row in marker["injected"])
    parts = [(row["path"].split("/")[0] == row["of"].split("/")[0]) for row in marker["injected"]]
    assert 0.3 < np.mean(parts) < 0.7, "copies lie in both parts"
    chained = [row for row in marker["injected"] if row["of"] not in marker["images"]]
    assert not chained, "every source is known"
    added = {row["path"] for row in marker["injected"]}
    assert sum(row["of"] in added for row in marker["injected"]) >= 10, "copies of copies"
    readable = {path.relative_to(root).as_posix() for path in root.rglob("*.jpg")}
    assert set(marker["images"]) == readable - {row["path"] for row in _of_kind(marker, "corrupt")}


def test_copies_of_copies_are_copies():
    rows = [
        {"path": "b", "of": "a", "kind": "mirrored"},
        {"path": "c", "of": "b", "kind": "duplicate"},
        {"path": "d", "of": "a", "kind": "adjacent"},
        {"path": "e", "of": "d", "kind": "brightened"},
    ]
    assert same_slice_pairs(rows) == [["a", "b"], ["a", "c"], ["b", "c"], ["d", "e"]]


def test_a_mirrored_copy_s_lesion_is_mirrored_too(faulty):
    root, marker = faulty
    seen = 0
    for row in _of_kind(marker, "mirrored"):
        here, there = (marker["images"][row[key]]["box"] for key in ("path", "of"))
        if here and 0.5 not in here[:2]:  # a lesion in the middle stays there
            assert here[2:] == there[2:] and here[:2] != there[:2]
            tiles = []
            for key, (x, y, width, height) in (("path", here), ("of", there)):
                image = np.asarray(Image.open(root / row[key]), float)
                left, top = round(96 * (x - width / 2)), round(96 * (y - height / 2))
                tile = image[top : top + round(96 * height), left : left + round(96 * width)]
                tiles.append(tile.mean())
            assert tiles[0] == pytest.approx(tiles[1], abs=6)
            seen += 1
    assert seen > 10


def test_the_audit_finds_every_copy_and_nothing_else(faulty, about):
    precision, recall = _rates(about["same_slice"]["pairs"], faulty[1]["same_slice"])
    assert precision >= 0.99 and recall >= 0.99


@pytest.mark.parametrize(
    ("whole", "detail", "worse"), [(0.93, 0.95, "precision"), (0.9995, 1.0, "recall")]
)
def test_a_moved_threshold_is_noticed(faulty, monkeypatch, whole, detail, worse):
    monkeypatch.setattr(similarity, "SAME_WHOLE", whole)
    monkeypatch.setattr(similarity, "SAME_DETAIL", detail)
    grouping = group_catalog(read_catalog(faulty[0]))
    same, paths = grouping.pairs.where(grouping.pairs.same), grouping.catalog.paths
    found = [(paths[a], paths[b]) for a, b in zip(same.first, same.second)]
    precision, recall = _rates(found, faulty[1]["same_slice"])
    assert (precision if worse == "precision" else recall) < 0.97


def test_neighbouring_slices_are_no_copies(faulty, about):
    neighbours = {
        tuple(sorted((row["path"], row["of"]))) for row in _of_kind(faulty[1], "adjacent")
    }
    assert len(neighbours) == 40
    assert not neighbours & {tuple(pair) for pair in about["same_slice"]["pairs"]}
    groups = about["groups"]
    assert all(groups[one] == groups[other] for one, other in neighbours), "but stay together"


def test_every_label_conflict_is_found(faulty, about):
    def label(path):
        return path.split("/")[1]

    truth = [pair for pair in faulty[1]["same_slice"] if label(pair[0]) != label(pair[1])]
    assert len(truth) >= 8
    assert sorted(about["label_conflicts"]) == truth
    assert all(
        name in CLASS_NAMES for row in about["label_conflicts_judged"] for name in row["labels"]
    )


def test_every_corrupt_file_is_named_with_a_reason(faulty, about):
    skipped = dict(about["files"]["skipped"])
    assert set(skipped) == {row["path"] for row in _of_kind(faulty[1], "corrupt")}
    assert all(skipped.values())


def test_byte_copies_in_the_other_part_are_counted(faulty, about):
    root = faulty[0]
    content = {path: (root / path).read_bytes() for path in read_catalog(root).paths}
    train = {value for path, value in content.items() if path.startswith("Training")}
    tests = [value for path, value in content.items() if path.startswith("Testing")]
    assert about["exact_duplicates"]["test_in_train"] == sum(value in train for value in tests) > 0


def test_the_same_seed_puts_in_the_same(tmp_path):
    few = Injection(duplicates=3, mirrored=3, brightened=3, adjacent=3, conflicts=3, corrupt=3)
    roots = [write_faulty(tmp_path / name, 40, 48, 5, few) for name in "ab"]
    files = [sorted(path.relative_to(root) for path in root.rglob("*.*")) for root in roots]
    assert files[0] == files[1] and len(files[0]) == 40 + 18 + 1
    assert all(
        (roots[0] / name).read_bytes() == (roots[1] / name).read_bytes() for name in files[0]
    )
