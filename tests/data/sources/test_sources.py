"""Readers of figshare (.mat and exported), SARTAJ and Br35H, and what they refuse."""

import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
from image_folders import picture, truncate
from made_sources import slice_image, write_folds, write_mat
from real_files import real_file

from src.common.errors import InputError
from src.config import CLASS_NAMES
from src.data.sources.matlab import lesion_box, read_facts, read_pixels, to_8_bits
from src.data.sources.origin import merge_variant
from src.data.sources.readers import read_source, same_patient, source_thumbnails


def test_a_mat_file_is_read_as_written(tmp_path):
    written, written_mask = write_mat(tmp_path / "1.mat")
    image, mask = read_pixels(tmp_path / "1.mat")
    assert np.array_equal(image, written) and image.dtype == np.int16
    assert np.array_equal(mask, written_mask > 0)
    assert read_facts(tmp_path / "1.mat") == (CLASS_NAMES.index("glioma"), "MR040240B")
    assert lesion_box(mask) == (0.5, 0.375, 0.5, 0.25)
    gray = to_8_bits(image)
    assert gray.dtype == np.uint8 and gray.min() == 0 and gray.max() == 255


def test_a_folder_of_mat_files_is_listed_without_pixels(tmp_path):
    for number in (10, 9, 1):
        write_mat(tmp_path / f"{number}.mat", number, f"10036{number}", 1 + number % 3)
    write_folds(tmp_path / "cvind.mat", 10)
    images = read_source(tmp_path)
    assert [image.name for image in images] == ["1", "9", "10"]
    assert [image.patient for image in images] == ["100361", "100369", "1003610"]
    assert [image.fold for image in images] == [1, 4, 5]
    assert images[0].gray().size == (32, 24)


@pytest.mark.parametrize("content", [b"MATLAB 5.0 MAT-file".ljust(200), b"", None])
def test_a_table_of_folds_that_is_none_is_named(tmp_path, content):
    write_mat(tmp_path / "1.mat")
    if content is None:
        write_mat(tmp_path / "cvind.mat")  # HDF5, but another structure
    else:
        (tmp_path / "cvind.mat").write_bytes(content)
    with pytest.raises(InputError, match=r"cvind\.mat is not figshare's table of folds"):
        read_source(tmp_path)


@pytest.mark.parametrize("fold", [0, 6, 1.5, float("nan")])
def test_a_fold_that_is_none_is_refused(tmp_path, fold):
    write_mat(tmp_path / "1.mat")
    write_folds(tmp_path / "cvind.mat", 10)
    with h5py.File(tmp_path / "cvind.mat", "r+") as file:
        file["cvind"][0, 3] = fold
    with pytest.raises(InputError, match="a fold is none of 1 to 5"):
        read_source(tmp_path)


@pytest.mark.slow
def test_large_files_stream_in_bounded_memory(cache, tmp_path):
    folder = tmp_path / "mats"
    folder.mkdir()
    for number in range(1, 5):
        image = slice_image(number, (512, 512))
        write_mat(folder / f"{number}.mat", number, f"1003{number}", 1, image=image)
    for number in range(5, 201):
        (folder / f"{number}.mat").hardlink_to(folder / f"{number % 4 + 1}.mat")
    tracemalloc.start()
    try:
        thumbnails, bad = source_thumbnails(read_source(folder))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(thumbnails) == 200 and not bad
    assert peak < 40e6 < 200 * image.nbytes, f"{peak / 1e6:.0f} MB"


@pytest.mark.parametrize("field", ["image", "label", "PID", "tumorMask"])
def test_a_mat_file_that_lacks_a_field_is_named(tmp_path, field):
    write_mat(tmp_path / "1.mat", lacks=field)
    with pytest.raises(InputError, match=rf"1\.mat lacks cjdata\.{field}"):
        read_source(tmp_path)


def test_a_mat_file_that_is_cut_off_is_named(tmp_path):
    write_mat(tmp_path / "1.mat")
    truncate(tmp_path / "1.mat")
    with pytest.raises(InputError, match=r"1\.mat is damaged, cut off.*Download it again"):
        read_source(tmp_path)


def test_a_v5_file_is_refused_with_the_way_out(tmp_path):
    (tmp_path / "1.mat").write_bytes(
        b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(128) + bytes(64)
    )
    with pytest.raises(InputError, match=r"no MATLAB v7\.3 file.*save\(\.\.\., '-v7\.3'\)"):
        read_source(tmp_path)


def test_a_label_that_figshare_has_not_is_refused(tmp_path):
    write_mat(tmp_path / "1.mat", label=4)
    with pytest.raises(InputError, match=r"label must be 1, 2 or 3. Received: 4"):
        read_source(tmp_path)


def write_exported(root: Path, header: str, rows: list[str], images: int = 3) -> Path:
    (root / "images").mkdir(parents=True)
    for number in range(1, images + 1):
        picture(1, number).save(root / f"images/{number}.jpg")
    (root / "slices.csv").write_text("\n".join([header, *rows]) + "\n")
    return root


HEADER = "id,label,pid,box_x_center,box_y_center,box_width,box_height"
ROWS = [f"{n},glioma,MR04024{n}B,0.5,0.4,0.2,0.1" for n in (1, 2, 3)]


def test_an_exported_folder_is_read(tmp_path):
    images = read_source(write_exported(tmp_path / "a", HEADER, ROWS))
    assert [image.patient for image in images] == ["MR040241", "MR040242", "MR040243"]
    assert images[0].box == (0.5, 0.4, 0.2, 0.1) and images[0].gray().mode == "L"
    (without,) = read_source(write_exported(tmp_path / "b", HEADER, ["1,glioma,p1,,,,"]))
    assert without.box is None


@pytest.mark.parametrize(
    ("header", "rows", "images", "message"),
    [
        (HEADER.replace("pid", "patient"), ROWS, 3, "lacks the column pid"),
        (HEADER, [], 3, "has no rows"),
        (HEADER, ROWS, 2, "names 1 slices that have no image, the first 3"),
        (HEADER, [ROWS[0], ROWS[0]], 3, "names a slice twice"),
        (HEADER, [ROWS[0].replace("glioma", "cyst")], 3, "line 2: label must be one of"),
        (HEADER, ["", ROWS[0].replace("glioma", "cyst")], 3, "line 3: label must be one of"),
        (HEADER, ["", ROWS[0], "", ",glioma,p1"], 3, r"slices\.csv, line 5: id is empty"),
        (HEADER, [ROWS[0].replace("MR040241B", "")], 3, "line 2: pid is empty"),
        ("label,pid,id", ["glioma,p1"], 3, r"slices\.csv, line 2: id is empty"),
        (HEADER, [ROWS[0], ",glioma,p1", ",glioma,p2"], 3, r"slices\.csv, line 3: id is empty"),
        (HEADER, [ROWS[0].replace("0.4", "high")], 3, "line 2: a box must be four numbers"),
        (HEADER, [ROWS[0].replace("0.4", "nan")], 3, "line 2: a box must be four numbers"),
        (HEADER, [ROWS[0].replace("0.4", "7")], 3, r"line 2: .* Received: 0\.5, 7, 0\.2, 0\.1"),
        (HEADER, [ROWS[0].replace("0.4", "-3")], 3, "line 2: a box must be four numbers"),
        (HEADER, [ROWS[0].replace("0.4", "")], 3, r"line 2: .* Received: 0\.5, , 0\.2, 0\.1"),
        (HEADER, [ROWS[0].removesuffix(",0.1")], 3, "line 2: a box must be four numbers"),
    ],
)
def test_a_bad_table_is_refused(tmp_path, header, rows, images, message):
    root = write_exported(tmp_path / "a", header, rows, images)
    with pytest.raises(InputError, match=message):
        read_source(root)


def test_sartaj_and_br35h_are_told_apart(tmp_path):
    for name in ("glioma_tumor", "no_tumor"):
        (tmp_path / "s/Training" / name).mkdir(parents=True)
        picture(0).save(tmp_path / "s/Training" / name / "image(1).jpg")
    for name in ("yes", "no"):
        (tmp_path / "b" / name).mkdir(parents=True)
        picture(2).save(tmp_path / "b" / name / f"{name}1.jpg")
    sartaj, br35h = read_source(tmp_path / "s"), read_source(tmp_path / "b")
    assert {(i.source, CLASS_NAMES[i.label]) for i in sartaj} == {
        ("sartaj", "glioma"),
        ("sartaj", "notumor"),
    }
    assert [(i.source, i.name) for i in br35h] == [("br35h", "no/no1.jpg")]


@pytest.mark.parametrize("healthy", ["no_tumor", "No Tumour"])
def test_a_merge_under_other_folder_names_is_no_sartaj(tmp_path, healthy):
    folders = {"glioma": "glioma", "Meningioma": "meningioma", healthy: "notumor"}
    folders |= {"pituitary_tumor": "pituitary"}
    for name in folders:
        (tmp_path / "Training" / name).mkdir(parents=True)
        picture(0).save(tmp_path / "Training" / name / "1.jpg")
    images = read_source(tmp_path)
    assert {image.source for image in images} == {"merge"}
    assert {i.file.parent.name: CLASS_NAMES[i.label] for i in images} == folders


def test_a_folder_of_nothing_known_says_what_is_expected(tmp_path):
    with pytest.raises(InputError, match=r"No images of a known source.*figshare \(.mat files"):
        read_source(tmp_path)


@pytest.mark.parametrize(
    ("pid", "patient"), [("MR040240B", "MR040240"), ("MR040240", "MR040240"), ("100360", "100360")]
)
def test_ids_that_differ_by_a_final_letter_are_one_patient(pid, patient):
    assert same_patient(pid) == patient


@pytest.mark.parametrize(
    ("train", "test", "augmented", "words"),
    [
        (5712, 1311, 0, "7,023 variant (version 1), whole"),
        (5708, 1311, 0, "7,023 variant (version 1), without 4 images"),
        (5712, 1300, 0, "7,023 variant (version 1), without 11 images"),
        (5600, 1600, 203, "7,200 variant (version 2), 203 images"),
        (5600, 1497, 100, "7,200 variant (version 2), without 103 images, 100 images"),
        (5500, 1497, 0, "7,200 variant (version 2), without 203 images, 0 images"),
        (90, 20, 3, "neither published variant"),
        (100, 20, 0, "neither published variant"),
    ],
)
def test_the_variants_of_the_merge_are_told_apart(train, test, augmented, words):
    counts = {"Training": {"glioma": train}, "Testing": {"glioma": test}}
    assert words in merge_variant(counts, augmented)


@pytest.mark.real
def test_the_real_slices_have_209_patients():
    images = read_source(real_file("FIGSHARE_DATA"))
    assert len(images) == 3064 and len({image.patient for image in images}) == 209
