"""The recovered patients on the real merge and figshare, and on re-encoded copies of the merge."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from real_files import real_file
from recovered_copies import VARIANTS, compare_copies, copy_thumbnails

from src.common.files import read_json
from src.data.patients import recover as module
from src.data.patients.recover import recover, shipped_table
from src.data.patients.report import describe_origins
from src.data.sources.readers import read_source

pytestmark = [pytest.mark.real, pytest.mark.slow]
ROOT = Path(__file__).parents[3]
SAMPLE = 300  # files of each variant, every class in its share
# The four images whose class figshare contradicts; see tests/data/audit/test_real_merge.py.
MISLABELLED = {
    "Training/pituitary/Tr-pi_0520.jpg",
    "Training/pituitary/Tr-pi_0515.jpg",
    "Training/pituitary/Tr-pi_0043.jpg",
    "Testing/pituitary/Te-piTr_0002.jpg",
}


@pytest.fixture(scope="session")
def slices():
    return read_source(real_file("FIGSHARE_DATA"))


@pytest.fixture(scope="session")
def about(real_grouping, slices):
    """What `data provenance --json` says of the merge."""
    catalog = real_grouping.catalog
    origins = recover(catalog, real_grouping.thumbnails, slices)
    return describe_origins(catalog, origins, len(slices), None)


@pytest.fixture(scope="session")
def sample(real_catalog):
    """SAMPLE files of the merge."""
    catalog = real_catalog
    rng = np.random.default_rng(0)
    kinds = np.array([f"{of} {label}" for of, label in zip(catalog.official, catalog.labels)])
    chosen = np.concatenate(
        [
            rng.choice(rows, max(1, round(SAMPLE * len(rows) / len(catalog))), replace=False)
            for rows in (np.flatnonzero(kinds == kind) for kind in sorted(set(kinds)))
        ]
    )
    chosen = {catalog.paths[row] for row in chosen}
    return catalog.without({path: "not drawn" for path in catalog.paths if path not in chosen})


def test_what_is_matched_is_what_the_issue_says(about):
    matched = {"glioma": 1621, "meningioma": 1387, "notumor": 0, "pituitary": 1742}
    assert about["matched"] == {"total": 4750, **matched}
    assert about["slices_matched"] == about["figshare_slices"] == 3064
    assert about["patients"] == 209
    assert about["lowest_correlation"] >= 0.999


def test_labels_are_figshare_s_but_for_the_four_conflicts(about):
    wrong = {row["path"]: row["figshare"] for row in about["labels_differ"]}
    assert wrong == dict.fromkeys(MISLABELLED, "meningioma")


def test_every_known_test_patient_is_in_training(about):
    assert about["test_images"] == about["test_images_with_patient_in_train"] == 788
    assert about["test_patients"] == about["test_patients_in_train"] == 188


def test_the_shipped_table_is_what_is_found(about):
    table = shipped_table()
    shipped = {path: (row.slice, row.patient, row.mirrored) for path, row in table.items()}
    files = about["files"].items()
    assert {path: (row["slice"], row["patient"], row["mirrored"]) for path, row in files} == shipped


@pytest.mark.parametrize("variant", VARIANTS)
def test_copies_give_the_same_rows(sample, slices, variant):
    counts = compare_copies(sample, copy_thumbnails(sample, variant), slices, shipped_table())
    assert counts["files"] >= SAMPLE - 8 and counts["rows"] > SAMPLE / 2
    assert counts["same_row"] >= 0.995 * counts["rows"]
    assert counts["confirmed"] >= 0.995 * counts["rows"]
    assert counts["not_in_table"] == 0


@pytest.mark.full
@pytest.mark.parametrize("variant", VARIANTS)
def test_copies_of_all_files_give_what_the_record_says(real_catalog, slices, variant):
    """The record was made of a copy of the merge that lacks four files, none of figshare."""
    record = read_json(ROOT / "notebooks/results/provenance.json")["variants"][variant]
    thumbnails = copy_thumbnails(real_catalog, variant)
    counts = compare_copies(real_catalog, thumbnails, slices, shipped_table())
    assert counts == record | {"files": len(real_catalog)}


@pytest.mark.parametrize("fault", ["slices moved by one", "the table mirrored"])
def test_a_wrong_table_would_be_seen(sample, slices, fault):
    table = shipped_table()
    if fault == "the table mirrored":
        table = {p: dataclasses.replace(o, mirrored=not o.mirrored) for p, o in table.items()}
    else:
        names = [image.name for image in slices]
        slices = [
            dataclasses.replace(image, name=name)
            for image, name in zip(slices, names[1:] + names[:1])
        ]
    counts = compare_copies(sample, copy_thumbnails(sample, "180 px"), slices, table)
    assert counts["found"] == counts["same_patient"] == counts["rows"]
    assert counts["same_row"] == 0


def test_a_threshold_too_strict_would_be_seen(sample, slices, monkeypatch):
    monkeypatch.setattr(module, "MATCH", 0.9999)
    thumbnails = copy_thumbnails(sample, "JPEG quality 60")
    counts = compare_copies(sample, thumbnails, slices, shipped_table())
    assert counts["same_row"] < 0.995 * counts["rows"]
