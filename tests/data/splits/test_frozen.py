"""Split files: cut as written; refused where they leak or are of other images."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from image_folders import write_flat
from PIL import Image

from src.__main__ import main
from src.common.errors import InputError
from src.config import preset
from src.data.catalog import read_catalog
from src.data.dataset import open_dataset
from src.data.patients.recover import shipped_table
from src.data.phantom.write import write_phantom
from src.data.splits.folds import CT, DROPPED, make_folds
from src.data.splits.frozen import FOLDER, assign_unknown, read_frozen, shipped_file
from src.data.splits.split import split_catalog
from src.experiment import load_twin

PATIENT = "Training/glioma/Tr-gl_p0000_s{}.jpg"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return a phantom set with two copies of one slice, of which its table does not know."""
    root = write_phantom(tmp_path_factory.mktemp("phantom") / "set", 320, 48)
    source = root / PATIENT.format(0)
    shutil.copy(source, root / "Training/glioma/same_bytes.jpg")
    bright = np.asarray(Image.open(source)).astype(float) * 1.1 + 4
    gray = Image.fromarray(np.clip(bright, 0, 255).astype(np.uint8))
    gray.save(root / "Training/glioma/brightened.jpg", quality=80)
    return root


@pytest.fixture(scope="module")
def made(data, tmp_path_factory):
    """Return the file that `data split --write` makes of it."""
    file = tmp_path_factory.mktemp("frozen") / "frozen.csv"
    assert main(["data", "split", "--data", str(data), "--write", str(file)]) == 0
    return file


@pytest.mark.parametrize("part", [CT, DROPPED, "train"])
def test_an_unknown_copy_goes_where_its_copies_are(data, made, part):
    known = dict(read_frozen(made).assignments)
    unknown = known.pop("Training/glioma/same_bytes.jpg")
    copies = [path for path, each in known.items() if each.group == unknown.group]
    for path in copies if part != "train" else ():
        known[path] = replace(known[path], part=part, fold=-1)
    told = assign_unknown(read_catalog(data), known)["Training/glioma/same_bytes.jpg"]
    assert (told.part, told.fold) == (known[copies[0]].part, known[copies[0]].fold)


@pytest.fixture
def frozen(made, tmp_path):
    """Return a copy of that file, to be changed."""
    return Path(shutil.copy(made, tmp_path / "frozen.csv"))


@pytest.mark.parametrize("size, restored", [(71, ()), (299, ()), (224, ("preprocessing",))])
def test_a_split_is_of_the_files_whatever_the_network_sees_of_them(data, made, size, restored):
    """Timm cuts the edges off, and small images lose detail: neither makes an image unknown."""
    config = preset("smoke", split=str(made), image_size=size, restore_defaults=restored)
    decoder = load_twin("pt").data.make_decoder(config)
    dataset = open_dataset(config, data, decoder)
    written = parts_of(made)
    for part, rows in dataset.parts.items():
        names = {dataset.catalog.paths[row] for row in rows}
        assert names == {path for path, of in written.items() if of == part} and names


def rows_of(file):
    with file.open(newline="") as opened:
        about = opened.readline()
        return about, list(csv.DictReader(opened))


def parts_of(file):
    """Return path -> part of the single cut, in which the selection part trains."""
    parts = {row["path"]: row["part"] for row in rows_of(file)[1]}
    return {path: "train" if part == "selection" else part for path, part in parts.items()}


def edit(file, *changes):
    """Give images another assignment, as a person with a spreadsheet would."""
    about, rows = rows_of(file)
    for path, fields in changes:
        (row,) = [row for row in rows if row["path"] == path]
        row |= fields
    with file.open("w", newline="") as opened:
        opened.write(about)
        writer = csv.DictWriter(opened, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def elsewhere(file, path):
    """Return an assignment in another part, under the name of a new group."""
    _, rows = rows_of(file)
    part = next(row["part"] for row in rows if row["path"] == path)
    other = next(row for row in rows if row["part"] not in (part, "dropped"))
    return {"group": "new", "fold": other["fold"], "part": other["part"]}


def run(data, file, tmp_path):
    answer = tmp_path / "split.json"
    code = main(["data", "split", "--data", str(data), "--kind", str(file), "--json", str(answer)])
    return code, json.loads(answer.read_text()) if answer.exists() else None


def test_a_written_split_is_cut_as_it_says(data, frozen, tmp_path):
    code, about = run(data, frozen, tmp_path)
    assert code == 0 and read_frozen(frozen).sealed
    assert about["parts"] == parts_of(frozen)
    folds = {row["path"]: row["fold"] for row in rows_of(frozen)[1] if row["fold"]}
    assert {path: str(fold) for path, fold in about["folds"].items()} == folds


def test_the_selection_part_is_tested_by_fold_5_alone(data, made):
    """It trains in the other folds; those test every other image exactly once."""
    catalog = read_catalog(data)
    selection = {row["path"] for row in rows_of(made)[1] if row["part"] == "selection"}
    cuts = [split_catalog(catalog, preset("smoke", split=str(made), fold=f)) for f in range(6)]
    tested = [[catalog.paths[row] for row in cut.parts["test"]] for cut in cuts]
    assert set(tested[5]) == selection and 0.06 < len(selection) / len(catalog) < 0.11
    folds = [path for fold in tested[:5] for path in fold]
    assert len(folds) == len(set(folds)) and set(folds) == set(catalog.paths) - selection
    for cut in cuts[:5]:
        known = {catalog.paths[row] for part in ("train", "val") for row in cut.parts[part]}
        assert selection <= known


def test_a_split_without_a_selection_part_says_so(data):
    with pytest.raises(InputError, match="Fold 5 is the selection part, and split clean has none"):
        split_catalog(read_catalog(data), preset("smoke", fold=5))


@pytest.mark.parametrize("kind", ["clean", "patient"])
def test_version_2_keeps_joined_images_together_and_ct_out(kind):
    frozen = read_frozen(FOLDER / f"{kind}_split.csv")
    assert frozen.sealed and "version 2" in frozen.about
    first = read_frozen(FOLDER / f"{kind}_split_v1.csv")  # still readable
    assert first.sealed and "selection" not in {each.part for each in first.assignments.values()}
    assigned = frozen.assignments
    for pair in rows_in("joined_images.csv"):
        one, other = (assigned.get(pair[name]) for name in ("first", "second"))
        if one and other and {one.part, other.part}.isdisjoint({"ct", "dropped"}):
            assert one.group == other.group
    for image in rows_in("modality.csv"):
        assert image["path"] not in assigned or assigned[image["path"]].part == "ct"
    clean = read_frozen(FOLDER / "clean_split.csv").assignments
    for path, each in assigned.items():  # what chose a recipe is tested by no fold of either kind
        assert (each.part == "selection") == (clean[path].part == "selection")


def rows_in(name):
    with (FOLDER / name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_change_by_hand_that_keeps_groups_whole_is_taken(data, frozen, tmp_path):
    _, rows = rows_of(frozen)
    group = rows[0]["group"]
    changed = [(row["path"], {"group": "mine"}) for row in rows if row["group"] == group]
    edit(frozen, *changed)
    assert not read_frozen(frozen).sealed
    assert run(data, frozen, tmp_path)[0] == 0


@pytest.mark.parametrize("name", ["same_bytes", "brightened"])
@pytest.mark.parametrize("shipped", [False, True])
def test_a_slice_in_two_parts_is_refused(
    data, frozen, tmp_path, monkeypatch, capsys, name, shipped
):
    path = f"Training/glioma/{name}.jpg"
    edit(frozen, (path, elsewhere(frozen, path)))
    if shipped:
        monkeypatch.setattr("src.data.splits.frozen.FOLDER", tmp_path)
        frozen.rename(tmp_path / "clean_split.csv")
        frozen = "clean"
    code, about = run(data, frozen, tmp_path)
    message = capsys.readouterr().err
    assert code == 2 and about is None
    assert "show a slice or a patient that is in" in message and "Traceback" not in message
    assert f"the first {path}" in message or f"the first {PATIENT[:-6]}" in message


def test_a_patient_in_two_parts_is_refused(data, frozen, tmp_path, capsys):
    path = PATIENT.format(3)
    edit(frozen, (path, elsewhere(frozen, path)))
    assert run(data, frozen, tmp_path)[0] == 2
    message = capsys.readouterr().err
    assert "show a slice or a patient that is in" in message and "p0000_s" in message


def test_a_seal_alone_is_what_spares_the_look_at_the_images(data, frozen, tmp_path, monkeypatch):
    """The fault: were edited rows believed, the leak would pass."""
    path = "Training/glioma/brightened.jpg"
    edit(frozen, (path, elsewhere(frozen, path)))
    monkeypatch.setattr("src.data.splits.frozen._seal", lambda rows: rows_of(frozen)[0].split()[-1])
    assert run(data, frozen, tmp_path)[0] == 0


def test_a_group_in_two_parts_and_an_image_named_twice_are_refused(data, frozen, tmp_path, capsys):
    whole = frozen.read_text()
    path = PATIENT.format(3)
    edit(frozen, (path, elsewhere(frozen, path) | {"group": rows_of(frozen)[1][-1]["group"]}))
    assert run(data, frozen, tmp_path)[0] == 2
    assert "puts 1 groups (" in capsys.readouterr().err
    frozen.write_text(whole + whole.splitlines()[-1] + "\n")
    assert run(data, frozen, tmp_path)[0] == 2
    assert "names 1 images twice, the first T" in capsys.readouterr().err


def test_a_recovered_patient_in_two_parts_is_refused_without_the_images(tmp_path):
    copy = tmp_path / "clean.csv"
    shutil.copy(shipped_file("clean"), copy)
    origins = shipped_table()
    path = next(row["path"] for row in rows_of(copy)[1] if row["path"] in origins)
    edit(copy, (path, elsewhere(copy, path)))
    with pytest.raises(
        InputError, match=r"puts 1 recovered patients \(\d+ images\) into several folds"
    ) as caught:
        read_frozen(copy)
    assert origins[path].patient in str(caught.value)


def test_a_split_of_another_dataset_is_refused(frozen, tmp_path, capsys):
    same_names = write_phantom(tmp_path / "other", 320, 48, 1)
    other_names = write_flat(tmp_path / "flat")
    for other in (same_names, other_names):
        code, about = run(other, frozen, tmp_path)
        message = capsys.readouterr().err
        assert code == 2 and about is None
        assert "is a split of other images: of its 322 it finds " in message
        assert "Traceback" not in message


def test_a_shipped_split_that_does_not_know_the_images_is_not_used(tmp_path):
    split = split_catalog(read_catalog(write_flat(tmp_path / "flat")), preset("smoke"))
    assert split.made_at_runtime and "made at runtime" in split.note


@pytest.mark.parametrize("kind", ["own", "{tmp}/nothing.csv", "{tmp}/text.csv", "{tmp}"])
def test_what_is_no_split_file_gets_a_sentence(data, tmp_path, capsys, kind):
    (tmp_path / "text.csv").write_bytes(b"\xff\xfe no table")
    assert run(data, kind.format(tmp=tmp_path), tmp_path)[0] == 2
    message = capsys.readouterr().err
    assert "Config field split must be one of" in message or "is not a frozen split" in message


def test_only_clean_and_patient_are_frozen(data, tmp_path, capsys):
    words = ["data", "split", "--data", str(data), "--kind", "official", "--write"]
    assert main([*words, str(tmp_path / "o.csv")]) == 2
    assert "--write freezes --kind clean or patient" in capsys.readouterr().err
    assert not (tmp_path / "o.csv").exists()


def test_a_patient_split_needs_figshare_slices(data, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("FIGSHARE_DATA", raising=False)
    words = ["data", "split", "--data", str(data), "--kind", "patient", "--write"]
    assert main([*words, str(tmp_path / "p.csv")]) == 2
    message = capsys.readouterr().err
    assert "None of these images is known to be a figshare slice" in message
    assert not (tmp_path / "p.csv").exists()


def test_no_image_at_all_has_no_folds():
    """As where the one figshare slice was set aside for selection."""
    none = np.array([], np.int64)
    with pytest.raises(InputError, match="Too few images to cut them into 5 parts"):
        make_folds(none, none, 0, split_first_fold=True)


def test_what_is_written_is_what_is_shown(data, tmp_path):
    words = ["data", "split", "--data", str(data), "--write", str(tmp_path / "w.csv")]
    assert main([*words, "--json", str(tmp_path / "w.json")]) == 0
    about = json.loads((tmp_path / "w.json").read_text())
    assert about["parts"] == parts_of(tmp_path / "w.csv")
    assert about["kind"] == str(tmp_path / "w.csv")


@pytest.mark.parametrize("name", ["split.txt", "split", "clean"])
def test_a_file_that_split_would_not_take_is_not_written(tmp_path, capsys, name):
    """Before any work: the folder of images, which is not there, is not looked for."""
    words = ["data", "split", "--data", str(tmp_path / "none"), "--write", str(tmp_path / name)]
    assert main(words) == 2
    assert "--write must name a .csv file" in capsys.readouterr().err
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("fold", [-1, 0])
def test_copies_under_two_labels_are_named(data, tmp_path, fold):
    data = shutil.copytree(data, tmp_path / "set")
    shutil.copy(data / PATIENT.format(1), data / "Training/notumor/copy.jpg")
    split = split_catalog(read_catalog(data), preset("smoke", fold=fold))
    assert "1 pairs of images show one slice under two classes" in split.note
    assert PATIENT.format(1) in split.note and "Training/notumor/copy.jpg" in split.note


@pytest.mark.parametrize("action", ["summary", "audit", "split", "provenance"])
@pytest.mark.parametrize("place", ["file", "file/below"])
def test_an_unwritable_cache_gets_a_sentence(tmp_path, monkeypatch, capsys, action, place):
    data = write_flat(tmp_path / "flat")
    (tmp_path / "file").touch()
    monkeypatch.setenv("BRAIN_TUMOR_CACHE", str(tmp_path / place))
    assert main(["data", action, "--data", str(data)]) == 2
    message = capsys.readouterr().err
    assert "Cannot write to the folder" in message
    assert "Set BRAIN_TUMOR_CACHE" in message and "Traceback" not in message
