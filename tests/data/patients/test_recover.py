"""The recovered patients on the real merge and figshare, and on re-encoded copies of the merge."""

import dataclasses

import numpy as np
import pytest
from image_folders import data_command, write_set
from PIL import Image
from real_files import real_file
from test_real_merge import CONFLICTS

from src.common.errors import InputError
from src.data.catalog import read_catalog
from src.data.duplicates.thumbnails import catalog_thumbnails
from src.data.patients import recover as provenance
from src.data.patients.recover import fingerprints, read_table, recover
from src.data.patients.report import describe_origins
from src.data.provenance_copies import VARIANTS, compare_with_table
from src.data.sources import read_source

SAMPLE = 300  # files of each variant, every class in its share


@pytest.fixture(scope="session")
def slices():
    return read_source(real_file("FIGSHARE_DATA"))


@pytest.fixture(scope="session")
def looked_at(real_data, own_cache):
    """The merge's catalogue and thumbnails."""
    return catalog_thumbnails(read_catalog(real_data))


@pytest.fixture(scope="session")
def about(looked_at, slices):
    """What `data provenance --json` says of the merge."""
    catalog, thumbnails = looked_at
    return describe_origins(catalog, recover(catalog, thumbnails, slices), len(slices), None)


@pytest.fixture(scope="session")
def copies(looked_at, tmp_path_factory):
    """Variant -> catalogue and thumbnails of SAMPLE files of the merge, written anew as JPEG."""
    catalog, _ = looked_at
    rng = np.random.default_rng(0)
    kinds = np.array([f"{of} {label}" for of, label in zip(catalog.official, catalog.labels)])
    chosen = np.concatenate(
        [
            rng.choice(rows, max(1, round(SAMPLE * len(rows) / len(catalog))), replace=False)
            for rows in (np.flatnonzero(kinds == kind) for kind in sorted(set(kinds)))
        ]
    )
    found = {}
    for name, (quality, side) in VARIANTS.items():
        root = tmp_path_factory.mktemp("copies")
        for path in (catalog.paths[row] for row in chosen):
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(catalog.root / path) as image:
                gray = image.convert("L")
            gray = gray.resize((side, side)) if side else gray
            gray.save(target, "JPEG", quality=quality)
        found[name] = catalog_thumbnails(read_catalog(root))
    return found


def test_what_is_matched_is_what_the_issue_says(about):
    matched = {"glioma": 1621, "meningioma": 1387, "notumor": 0, "pituitary": 1742}
    assert about["matched"] == {"total": 4750, **matched}
    assert about["slices_matched"] == about["figshare_slices"] == 3064
    assert about["patients"] == 209
    assert about["lowest_correlation"] >= 0.999


def test_labels_are_figshare_s_but_for_the_four_conflicts(about):
    wrong = {row["path"]: row["figshare"] for row in about["labels_differ"]}
    assert wrong == {pituitary: "meningioma" for _, pituitary in CONFLICTS}


def test_every_known_test_patient_is_in_training(about):
    assert about["test_images"] == about["test_images_with_patient_in_train"] == 788
    assert about["test_patients"] == about["test_patients_in_train"] == 188


def test_the_shipped_table_is_what_is_found(about):
    table, _ = read_table()
    shipped = {path: (row.slice, row.patient, row.mirrored) for path, row in table.items()}
    files = about["files"].items()
    assert {path: (row["slice"], row["patient"], row["mirrored"]) for path, row in files} == shipped


@pytest.mark.parametrize("variant", VARIANTS)
def test_copies_give_the_same_rows(copies, slices, variant):
    counts = _counts(*copies[variant], slices)
    assert counts["files"] >= SAMPLE - 8 and counts["rows"] > SAMPLE / 2
    assert counts["same_row"] >= 0.995 * counts["rows"]
    assert counts["confirmed"] >= 0.995 * counts["rows"]
    assert counts["not_in_table"] == 0


@pytest.mark.parametrize("fault", ["slices moved by one", "the table mirrored"])
def test_a_wrong_table_would_be_seen(copies, slices, fault, monkeypatch):
    catalog, thumbnails = copies["180 px"]
    table, prints = read_table()
    if fault == "the table mirrored":
        wrong = {p: dataclasses.replace(o, mirrored=not o.mirrored) for p, o in table.items()}
        monkeypatch.setattr("src.data.provenance_copies.read_table", lambda: (wrong, prints))
    else:
        names = [image.name for image in slices]
        slices = [
            dataclasses.replace(image, name=name)
            for image, name in zip(slices, names[1:] + names[:1])
        ]
    counts = _counts(catalog, thumbnails, slices)
    assert counts["found"] == counts["same_patient"] == counts["rows"]
    assert counts["same_row"] == 0


def test_a_threshold_too_strict_would_be_seen(copies, slices, monkeypatch):
    monkeypatch.setattr(provenance, "MATCH", 0.9999)
    counts = _counts(*copies["JPEG quality 60"], slices)
    assert counts["same_row"] < 0.995 * counts["rows"]


def test_copies_without_figshare_are_refused(tmp_path):
    data = write_set(tmp_path / "set")
    with pytest.raises(InputError, match="give --figshare DIR"):
        data_command("provenance", "--data", data, "--copies", tmp_path / "copies.json")


def _counts(catalog, thumbnails, slices):
    origins = recover(catalog, thumbnails, slices)
    return compare_with_table(catalog, origins, fingerprints(thumbnails.whole))
