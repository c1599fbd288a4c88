"""Parts are disjoint, stratified, repeatable, and keep copies together."""

import shutil

import numpy as np
import pytest
from image_folders import picture, write_flat, write_set

from src.common.errors import InputError
from src.config import CLASS_NAMES, preset
from src.data.catalog import read_catalog
from src.data.phantom.write import write_phantom
from src.data.splits.groups import group_copies, patient_in_name
from src.data.splits.split import describe_split, split_catalog

pytestmark = pytest.mark.usefixtures("cache")


def _split(catalog, **fields):
    return split_catalog(catalog, preset("smoke", **{"split": "official", **fields}))


def _names(catalog, rows):
    return {catalog.paths[row] for row in rows}


@pytest.fixture
def catalog(tmp_path):
    return read_catalog(write_set(tmp_path / "set", counts=(40, 30, 10, 50)))


def _assert_a_partition(split, count):
    rows = np.concatenate(list(split.parts.values()))
    assert sorted(rows) == list(range(count))
    assert all(
        part.dtype == np.int64 and (np.diff(part) > 0).all() for part in split.parts.values()
    )


def test_official_parts(catalog):
    split = _split(catalog, val_fraction=0.2)
    _assert_a_partition(split, len(catalog))
    official = np.array(catalog.official)
    assert set(official[split.parts["test"]]) == {"Testing"}
    assert set(official[split.parts["train"]]) == set(official[split.parts["val"]]) == {"Training"}
    assert np.bincount(catalog.labels[split.parts["val"]]).tolist() == [8, 6, 2, 10]
    assert split.note == ""


def test_the_seed_alone_decides(catalog):
    first, again, other = (_split(catalog, seed=seed).parts for seed in (0, 0, 1))
    assert all(np.array_equal(first[part], again[part]) for part in first)
    assert not np.array_equal(first["val"], other["val"])


def test_one_more_file_moves_few_others(tmp_path, catalog):
    before = _names(catalog, _split(catalog, val_fraction=0.2).parts["val"])
    root = catalog.root
    shutil.copy(root / "Testing/glioma/Te-gl_0000.png", root / "Training/glioma/A.png")
    grown = read_catalog(root)
    after = _names(grown, _split(grown, val_fraction=0.2).parts["val"])
    assert len(before ^ after) <= 2


def test_copies_never_sit_in_training_and_validation(catalog):
    root = catalog.root
    for number in range(20):  # every second glioma twice, under names far apart
        shutil.copy(
            root / f"Training/glioma/Tr-gl_{2 * number:04}.png",
            root / f"Training/glioma/Z{number}.png",
        )
    shutil.copy(root / "Training/glioma/Tr-gl_0001.png", root / "Training/notumor/conflict.png")
    grown = read_catalog(root)
    for seed in range(5):
        split = _split(grown, val_fraction=0.3, seed=seed)
        sha = np.array(grown.sha256)
        assert not set(sha[split.parts["train"]]) & set(sha[split.parts["val"]])
        val = np.bincount(grown.labels[split.parts["val"]], minlength=4)
        assert val.sum() == pytest.approx(0.3 * 151, abs=3)


def test_a_class_too_small_for_all_parts_is_refused(tmp_path):
    catalog = read_catalog(write_set(tmp_path / "set", counts=(5, 5, 1, 5)))
    with pytest.raises(InputError, match=r"Class notumor has too few .* none is left for train"):
        _split(catalog)


def test_a_class_of_copies_is_refused(tmp_path):
    root = write_set(tmp_path / "set", counts=(5, 5, 5, 5))
    for path in sorted((root / "Training/notumor").iterdir())[1:]:
        shutil.copy(root / "Training/notumor/Tr-no_0000.png", path)
    with pytest.raises(InputError, match="Class notumor has too few different images"):
        _split(read_catalog(root))


@pytest.fixture
def few_patients(tmp_path):
    """Return four patients of each of two classes, five slices each."""
    for label, name in enumerate(("no", "yes")):
        (tmp_path / "few" / name).mkdir(parents=True)
        for number in range(20):
            file = f"p{number // 5:03}_slice{number % 5}.png"
            picture(label, number).save(tmp_path / "few" / name / file)
    return read_catalog(tmp_path / "few")


def test_a_fold_of_too_few_patients_is_refused(few_patients):
    with pytest.raises(InputError, match=r"10 parts: they are 6 groups .* Add images of other pat"):
        _split(few_patients, split="clean", fold=0)


def test_folds_that_nobody_asked_for_may_be_impossible(few_patients):
    about = describe_split(few_patients, preset("smoke"))
    assert about["folds"] == {} and about["counts"]["test"] == {"no": 5, "yes": 5}
    assert "The five folds are not shown: Too few images" in about["note"]


def test_a_folder_without_parts_gets_them_and_says_so(tmp_path):
    catalog = read_catalog(write_flat(tmp_path / "flat", 50))
    split = _split(catalog, val_fraction=0.1)
    _assert_a_partition(split, 200)
    assert np.bincount(catalog.labels[split.parts["test"]]).tolist() == [10] * 4
    assert np.bincount(catalog.labels[split.parts["val"]]).tolist() == [4] * 4
    assert "made at runtime" in split.note and "200 groups" in split.note


def test_patients_stay_whole_in_a_folder_without_parts(tmp_path):
    phantom = write_phantom(tmp_path / "phantom", 160, 32)
    flat = tmp_path / "flat"
    shutil.copytree(phantom / "Training", flat)
    catalog = read_catalog(flat)
    split = _split(catalog)
    _assert_a_partition(split, 128)
    patients = {
        part: {path.rsplit("_", 1)[0] for path in _names(catalog, rows)}
        for part, rows in split.parts.items()
    }
    assert all(len(names) >= len(CLASS_NAMES) for names in patients.values())
    assert sum(map(len, patients.values())) == len(set().union(*patients.values())) == 32
    assert "32 groups" in split.note


def test_groups_join_copies_and_only_by_name_patients(tmp_path):
    root = write_flat(tmp_path / "flat", 3)
    for name in ("p1_1.png", "p1_2.png", "p2_1.png"):
        shutil.copy(root / "glioma/gl_0000.png", root / "glioma" / name)
        (root / "glioma" / name).write_bytes((root / "glioma" / name).read_bytes() + name.encode())
    shutil.copy(root / "glioma/gl_0001.png", root / "notumor/copy.png")
    catalog = read_catalog(root)

    def group_of(groups, path):
        return groups[catalog.paths.index(path)]

    plain, named = group_copies(catalog), group_copies(catalog, by_name=True)
    for groups in (plain, named):
        assert group_of(groups, "glioma/gl_0001.png") == group_of(groups, "notumor/copy.png")
        assert group_of(groups, "glioma/p1_1.png") != group_of(groups, "glioma/p2_1.png")
    assert group_of(named, "glioma/p1_1.png") == group_of(named, "glioma/p1_2.png")
    assert group_of(plain, "glioma/p1_1.png") != group_of(plain, "glioma/p1_2.png")


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("patient012_slice03.png", "patient012_slice11.png", True),
        ("patient012_slice03.png", "patient013_slice03.png", False),
        ("TCGA_CS_4941_19960909_1.tif", "TCGA_CS_4941_19960909_22.tif", True),
        ("Tr-gl_p0012_s3.jpg", "Tr-gl_p0012_s0.jpg", True),
        ("p1_1.png", "p11_1.png", False),
        ("12-3.png", "12-4.png", True),
        ("IMG12 (1).png", "IMG12 (2).png", True),
    ],
)
def test_patients_are_read_from_names(one, other, together):
    assert (patient_in_name(one) == patient_in_name(f"glioma/{other}")) is together
    assert patient_in_name(one)


@pytest.mark.parametrize("name", ["Tr-gl_0010.jpg", "image(12).jpg", "1.png", "a.png"])
def test_a_running_number_is_no_patient(name):
    assert patient_in_name(name) is None
