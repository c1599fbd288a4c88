"""`data build`: sources made one folder, one copy of a slice, patients, boxes and masks kept."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from image_folders import data_command, disk_fills_up, picture, truncate
from made_sources import slice_image, write_folds, write_mat
from PIL import Image

from src.common.errors import InputError
from src.config import CLASS_NAMES, preset
from src.data.catalog import read_catalog
from src.data.dataset import open_dataset
from src.data.duplicates.similarity import Pairs
from src.data.patients.recover import Origin
from src.data.sources.build import (
    CONTRADICTED,
    COPY,
    UNDECIDED,
    WRONG_COPY,
    find_replacements,
)
from src.data.sources.matlab import to_8_bits
from src.data.sources.origin import is_augmented
from src.data.splits.groups import patients_from_file
from src.data.splits.split import split_catalog

pytestmark = pytest.mark.usefixtures("cache")
MAT_LABELS = {"meningioma": 1, "glioma": 2, "pituitary": 3}


def save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=90)


def write_sources(root: Path) -> None:
    """Write figshare (60 slices of 31 patients), the merge, SARTAJ and Br35H, with known copies.

    The merge holds figshare's slices 1 to 12, mirrored and, of the first six, plain as well; slice
    1 mirrored under a wrong class. Its `notumor` holds Br35H's first three and ten of its own.
    """
    (root / "figshare").mkdir(parents=True)
    for number in range(1, 61):
        kind = ("meningioma", "glioma", "pituitary")[number // 2 % 3]
        image = slice_image(number)
        pid, mat = f"10{number // 2:02}", root / f"figshare/{number}.mat"
        write_mat(mat, number, pid, MAT_LABELS[kind], image=image)
        gray = Image.fromarray(to_8_bits(image))
        if number <= 12:
            wrong = "pituitary" if number == 1 else kind
            mirrored = gray.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            save(mirrored, root / f"merge/Training/{wrong}/Tr-x_{number:04}.jpg")
        if number <= 6:
            save(gray, root / f"merge/Testing/{kind}/Te-x_{number:04}.jpg")
    write_folds(root / "figshare/cvind.mat", 60)
    for number in range(20):
        save(picture(2, number), root / f"br35h/no/no{number}.jpg")
        save(picture(3, number), root / f"br35h/yes/y{number}.jpg")
        part = "Training" if number % 3 else "Testing"
        own = picture(2, number if number < 3 else 100 + number)
        save(own, root / f"merge/{part}/notumor/{part[:2]}-no_{number:04}.jpg")
    for name in ("glioma_tumor", "meningioma_tumor", "no_tumor", "pituitary_tumor"):
        save(picture(5, len(name)), root / f"sartaj/Training/{name}/image(1).jpg")


def build(root: Path, *sources: str) -> tuple[dict[str, dict], list[dict], dict]:
    """Run `data build`; return catalogue rows by "source/name", what was left out, the record."""
    options = [word for name in sources for word in (f"--{name}", root / name)]
    data_command("build", *options, "--out", root / "out")
    tables = []
    for name in ("catalogue.csv", "left_out.csv"):
        with (root / "out" / name).open(newline="") as file:
            tables.append(list(csv.DictReader(file)))
    rows = {f"{row['source']}/{row['source_name']}": row for row in tables[0]}
    return rows, tables[1], json.loads((root / "out/source.json").read_text())


def know(monkeypatch, classes: dict[str, str]) -> None:
    """Let the shipped table know these images of the merge: slices 1, 2, ... and their classes."""
    table = {
        name: Origin("", str(n), f"{1000 + n}", False, CLASS_NAMES.index(kind), 1.0)
        for n, (name, kind) in enumerate(classes.items(), 1)
    }
    monkeypatch.setattr("src.data.sources.build.shipped_origins", lambda *_: table)


def test_every_slice_comes_once_with_patient_box_and_mask(tmp_path, capsys):
    write_sources(tmp_path)
    rows, left_out, about = build(tmp_path, "figshare", "merge", "sartaj", "br35h")
    assert {name: of["kept"] for name, of in about["sources"].items()} == {
        "figshare": 60,
        "sartaj": 4,
        "br35h": 20,
        "merge": 17,
    }
    first = rows["figshare/1"]
    assert (first["class"], first["slice"], first["patient"]) == ("meningioma", "1", "1000")
    assert [float(first[f"box_{side}"]) for side in ("x_center", "y_center", "width")] == [
        0.5,
        0.375,
        0.5,
    ]
    assert first["fold"] == "1"
    out = tmp_path / "out"
    image = np.asarray(Image.open(out / first["path"]))
    assert np.array_equal(image, to_8_bits(slice_image(1)))
    mask = np.asarray(Image.open(out / first["mask"]))
    assert mask.dtype == bool and mask.sum() == 10 * 20 and mask[10:20, 10:30].all()
    copies = [row for row in left_out if row["copy_of"].startswith("figshare")]
    assert {row["source_name"][-8:-4] for row in copies} == {f"{n:04}" for n in range(1, 13)}
    assert len(copies) == 18
    assert all(
        row["copy_of"] == f"figshare/{int(row['source_name'][-8:-4])}"
        and row["flip"] == ("left-right" if "Tr" in row["source_name"] else "identity")
        for row in copies
    )
    wrong = [row for row in left_out if row["reason"] == WRONG_COPY]
    assert [row["source_name"] for row in wrong] == ["Training/pituitary/Tr-x_0001.jpg"]
    twice = [row for row in left_out if row["copy_of"].startswith("br35h")]
    assert len(twice) == 3 and {row["reason"] for row in twice} == {COPY}
    printed = capsys.readouterr().out
    assert "60 images of 31 known patients, 60 with a box, 60 with a mask" in printed


def test_the_folder_is_read_as_data_and_patients_stay_in_one_part(tmp_path):
    write_sources(tmp_path)
    rows, _, about = build(tmp_path, "figshare", "merge")
    catalog = read_catalog(tmp_path / "out")
    assert len(catalog) == len(rows) and catalog.skipped == ()
    assert catalog.counts()["unsplit"] == about["counts"]
    by_path = {row["path"]: row for row in rows.values()}
    patients = {path: row["patient"] for path, row in by_path.items() if row["patient"]}
    assert patients_from_file(catalog) == patients and len(patients) == 60
    for fold in (-1, 0, 1):
        split = split_catalog(catalog, preset("smoke", fold=fold))
        where = {}
        for part, rows_of_part in split.parts.items():
            for row in rows_of_part:
                where.setdefault(patients.get(catalog.paths[row]), set()).add(part)
        where.pop(None)
        assert len(where) == 31 and all(len(parts) == 1 for parts in where.values())
    described = open_dataset(preset("smoke"), tmp_path / "out").describe()
    assert described["source"]["fetched"] == "built from figshare, merge"


def test_a_slice_under_two_classes_that_figshare_does_not_know_is_left_out(tmp_path):
    write_sources(tmp_path)
    save(picture(5, 12), tmp_path / "merge/Training/meningioma/Tr-me_0900.jpg")  # SARTAJ: glioma
    rows, left_out, _ = build(tmp_path, "merge", "sartaj")
    left_out_of = {(row["source"], row["class"]) for row in left_out if row["reason"] == UNDECIDED}
    assert left_out_of == {("sartaj", "glioma"), ("merge", "meningioma")}
    assert "sartaj/Training/glioma_tumor/image(1).jpg" not in rows


def test_a_third_copy_of_an_undecided_slice_is_left_out_for_the_same_reason(tmp_path):
    write_sources(tmp_path)
    for kind in ("glioma", "meningioma"):  # SARTAJ: glioma
        save(picture(5, 12), tmp_path / f"merge/Training/{kind}/Tr_0900.jpg")
    _, left_out, _ = build(tmp_path, "merge", "sartaj")
    assert {(row["source"], row["class"], row["reason"]) for row in left_out} == {
        ("sartaj", "glioma", UNDECIDED),
        ("merge", "glioma", UNDECIDED),
        ("merge", "meningioma", UNDECIDED),
    }


def test_a_slice_that_figshare_knows_through_the_merge_is_decided(tmp_path, monkeypatch):
    """SARTAJ's meningioma is a slice of a glioma, which only the merge's copy of it tells."""
    write_sources(tmp_path)
    told, other = "Training/glioma/Tr-gl_0900.jpg", "Training/meningioma/Tr-me_0900.jpg"
    for name in (told, other):
        save(picture(5, 16), tmp_path / "merge" / name)
    know(monkeypatch, {told: "glioma"})
    rows, left_out, _ = build(tmp_path, "merge", "sartaj")
    assert rows[f"merge/{told}"]["patient"] == "1001"
    assert {(row["source_name"], row["slice"], row["reason"]) for row in left_out} == {
        ("Training/meningioma_tumor/image(1).jpg", "1", CONTRADICTED),
        (other, "1", CONTRADICTED),
    }


def test_a_copy_of_known_slice_confirms_the_class_of_the_image_that_stays(tmp_path, monkeypatch):
    """Both images of the merge are SARTAJ's glioma, but too unlike to be copies of one another."""
    write_sources(tmp_path)
    told, other = "Training/glioma/Tr-gl_0900.jpg", "Training/meningioma/Tr-me_0900.jpg"
    for name, noise in ((told, 1), (other, 2)):
        image = Image.blend(picture(5, 12), picture(9, noise), 0.18)
        save(image, tmp_path / "merge" / name)
    know(monkeypatch, {told: "glioma"})
    rows, left_out, _ = build(tmp_path, "merge", "sartaj")
    stays = "sartaj/Training/glioma_tumor/image(1).jpg"
    assert stays in rows
    assert {(row["source_name"], row["copy_of"], row["reason"]) for row in left_out} == {
        (told, stays, COPY),
        (other, stays, WRONG_COPY),
    }


def test_a_synthetic_file_can_still_be_told_by_its_name(tmp_path, capsys):
    write_sources(tmp_path)
    synthetic = "Training/meningioma/Tr-aug-me_1.jpg"
    save(picture(8, 8), tmp_path / "merge" / synthetic)
    rows, _, about = build(tmp_path, "merge")
    marked = [name for name, row in rows.items() if is_augmented(row["path"])]
    assert marked == [f"merge/{synthetic}"] and about["augmented"] == 1
    assert "1 are synthetic (*-aug-*)" in capsys.readouterr().out


def test_a_damaged_image_is_named_and_left_out(tmp_path, capsys):
    write_sources(tmp_path)
    truncate(tmp_path / "merge/Training/notumor/Tr-no_0013.jpg", 0.2)
    rows, left_out, _ = build(tmp_path, "figshare", "merge")
    assert "merge/Training/notumor/Tr-no_0013.jpg" not in rows
    (damaged,) = [row for row in left_out if row["source_name"].endswith("Tr-no_0013.jpg")]
    assert damaged["reason"] and damaged["reason"] in capsys.readouterr().out


def test_without_notumor_the_summary_says_so_and_three_classes_are_left(tmp_path, capsys):
    write_sources(tmp_path)
    build(tmp_path, "figshare")
    assert "No image of notumor" in capsys.readouterr().out
    assert read_catalog(tmp_path / "out").classes == ("glioma", "meningioma", "pituitary")


def test_what_cannot_be_built_is_refused_and_leaves_nothing(tmp_path, monkeypatch):
    write_sources(tmp_path)
    merge, out = tmp_path / "merge", tmp_path / "out"
    with pytest.raises(InputError, match="needs a source"):
        data_command("build", "--out", out)
    with pytest.raises(InputError, match=r"--sartaj .* holds br35h. Give it as --br35h"):
        data_command("build", "--sartaj", tmp_path / "br35h", "--out", out)
    with pytest.raises(InputError, match=r"No such folder: .*nowhere"):
        data_command("build", "--merge", tmp_path / "nowhere", "--out", out)
    with pytest.raises(InputError, match="is not an empty folder"):
        data_command("build", "--merge", merge, "--out", tmp_path / "br35h")
    disk_fills_up(monkeypatch)
    with pytest.raises(InputError, match=r"Cannot write .*No space left"):
        data_command("build", "--merge", merge, "--out", out)
    assert {path.name for path in tmp_path.iterdir()} == {
        "figshare",
        "merge",
        "sartaj",
        "br35h",
        "cache",
    }


@pytest.mark.parametrize(
    ("sources", "pairs", "stays"),
    [
        ([3, 3], [(0, 1)], {0, 1}),  # copies within one source alone stay
        ([2, 2, 3], [(0, 2), (1, 2), (0, 1)], {0}),  # a slice of two sources stays once
        ([0, 0, 3], [(0, 2), (1, 2), (0, 1)], {0, 1}),  # figshare's neighbours are two slices
        ([0, 3, 3], [(0, 1), (1, 2)], {0, 2}),  # what stands for 2 is gone itself
    ],
)
def test_which_copy_stays(sources, pairs, stays):
    first, second = (np.array(column) for column in zip(*pairs))
    alike = np.full(len(pairs), 0.99, np.float32)
    same = Pairs(first, second, alike, alike, np.zeros(len(pairs), np.int8))
    gone = find_replacements(np.array(sources), same)
    assert set(range(len(sources))) - set(gone) == stays
    assert all(int(first[pair]) in stays for pair in gone.values())
