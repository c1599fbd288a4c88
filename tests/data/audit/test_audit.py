"""Similarity, groups, folds, the frozen split and the audit: on drawn heads with known copies."""

import csv
import json

import numpy as np
import pytest
from image_folders import data_command
from PIL import Image

from src.common.errors import InputError
from src.config import CLASS_NAMES, preset
from src.data.catalog import read_catalog
from src.data.duplicates.similarity import FLIPS, best_matches, find_pairs, standardise
from src.data.duplicates.thumbnails import catalog_thumbnails
from src.data.patients.recover import SHIPPED, image_fingerprint, is_close, shipped_table
from src.data.phantom.write import write_phantom
from src.data.splits.folds import make_folds
from src.data.splits.frozen import FOLDER, Assignment, FrozenSplit, read_frozen, write_frozen
from src.data.splits.groups import group_catalog, join_images
from src.data.splits.split import Split, refuse_leak, split_catalog

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def injected(tmp_path):
    """Return a phantom set with copies put into Testing, and the true pairs with their flip."""
    root = write_phantom(tmp_path / "set", 80, 96)
    truth = {}
    for number, source in enumerate(sorted((root / "Training").rglob("*.jpg"))[::3]):
        image = np.asarray(Image.open(source))
        flip = number % 4
        turned = [image, image[:, ::-1], image[::-1], image[::-1, ::-1]][flip]
        bright = np.clip(turned * 1.15 + 4, 0, 255).astype(np.uint8)
        target = root / "Testing" / source.parent.name / f"copy{number}.jpg"
        Image.fromarray(bright).save(target, quality=75)
        pair = (target.relative_to(root).as_posix(), source.relative_to(root).as_posix())
        truth[pair] = flip
    return root, truth


def test_copies_turned_and_brightened_are_found_and_nothing_else(injected):
    root, truth = injected
    catalog, thumbnails = catalog_thumbnails(read_catalog(root))
    pairs = find_pairs(thumbnails)
    same = pairs.where(pairs.same)
    found = {
        (catalog.paths[a], catalog.paths[b]): int(flip)
        for a, b, flip in zip(same.first, same.second, same.flip)
    }
    hits = set(found) & set(truth)
    assert len(hits) >= 0.99 * len(truth), "recall"
    assert len(hits) >= 0.99 * len(found), "precision"
    assert all(found[pair] == truth[pair] for pair in hits)


def test_the_audit_counts_what_was_injected(injected, tmp_path, capsys):
    root, truth = injected
    conflict = root / "Training/notumor/conflict.jpg"
    conflict.write_bytes(sorted((root / "Training/glioma").iterdir())[1].read_bytes())
    (root / "Training/glioma/torn.jpg").write_bytes(conflict.read_bytes()[:900])
    file, page = tmp_path / "audit.json", tmp_path / "audit.html"
    data_command("audit", "--data", root, "--json", file, "--html", page)
    about = json.loads(file.read_text())
    assert about["same_slice"]["test_in_train"]["total"] == len(truth)
    assert about["exact_duplicates"]["images"] == 1
    assert ["Training/glioma/Tr-gl_p0000_s1.jpg", "Training/notumor/conflict.jpg"] in about[
        "label_conflicts"
    ]
    assert [path for path, _ in about["files"]["skipped"]] == ["Training/glioma/torn.jpg"]
    assert all(about["groups"][one] == about["groups"][two] for one, two in truth)
    text = page.read_text()
    assert "data:image/jpeg" in text and "http" not in text
    out = capsys.readouterr().out
    assert "same-slice test images in Training" in out
    assert "1 files are not used:\n  Training/glioma/torn.jpg: cannot be decoded" in out


def test_flips_cost_no_accuracy():
    rng = np.random.default_rng(0)
    images, others = rng.integers(0, 256, (2, 7, 64, 64), np.uint8)
    others[2] = images[3][::-1]
    rows, flips, values = best_matches(images, others)
    flat = standardise(images).reshape(7, -1)
    turned = [others, others[:, :, ::-1], others[:, ::-1], others[:, ::-1, ::-1]]
    tables = np.stack([flat @ standardise(o).reshape(7, -1).T for o in turned])
    assert np.allclose(values, tables.max(axis=(0, 2)), atol=1e-5)
    assert rows[3] == 2 and FLIPS[flips[3]] == "up-down" and values[3] > 0.999


def test_a_flat_image_is_like_nothing():
    black = np.zeros((2, 64, 64), np.uint8)
    _, _, values = best_matches(black, black)
    assert values.tolist() == [0, 0]


def test_a_fingerprint_survives_another_size_and_tells_others_apart():
    rng = np.random.default_rng(1)
    smooth = [Image.fromarray(rng.integers(0, 256, (9, 9), np.uint8)) for _ in range(8)]
    images = [np.asarray(one.resize((224, 224), Image.Resampling.BICUBIC)) for one in smooth]
    known = [image_fingerprint(image) for image in images]
    for image, fingerprint in zip(images, known):
        small = np.asarray(Image.fromarray(image).resize((180, 180)))
        assert is_close(image_fingerprint(small), fingerprint)
    assert not any(is_close(a, b) for k, a in enumerate(known) for b in known[k + 1 :])


def test_folds_keep_groups_whole_and_classes_alike():
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(300), rng.integers(1, 12, 300))
    labels = (groups % 4).astype(np.int64)
    folds, tests = make_folds(labels, groups, 0, split_first_fold=True)
    assert all(len(set(folds[groups == group])) == 1 for group in range(300))
    assert all(len(set(tests[groups == group])) == 1 for group in range(300))
    whole = np.bincount(labels) / len(labels)
    for part in [folds == k for k in range(5)] + [tests, (folds == 0) & ~tests]:
        assert np.abs(np.bincount(labels[part]) / part.sum() - whole).max() < 0.01
    alone, half = make_folds(labels, groups, 0)
    assert half is None and np.unique(alone).tolist() == [0, 1, 2, 3, 4]


def test_neighbours_join_only_where_a_patient_is_unknown(injected):
    root, _ = injected
    catalog, thumbnails = catalog_thumbnails(read_catalog(root))
    pairs = find_pairs(thumbnails)
    lone = pairs.where(~pairs.same)
    names = [f"patient {row}" for row in range(len(catalog))]
    apart, _ = join_images(names, lone, catalog.sha256)
    assert len(set(apart)) == len(catalog)
    joined, _ = join_images([""] * len(catalog), lone, catalog.sha256)
    assert (len(set(joined)) < len(catalog)) == bool(len(lone))


def test_a_leaked_image_is_refused_with_its_number(tmp_path):
    catalog = read_catalog(write_phantom(tmp_path / "set", 80, 48))
    split = split_catalog(catalog, preset("smoke", split="clean"))
    refuse_leak(catalog, split)
    parts = dict(split.parts)
    parts["test"] = np.sort(np.r_[parts["test"], parts["train"][:1]])
    with pytest.raises(InputError, match=r"1 of 17 images of test show a slice or a patient"):
        refuse_leak(catalog, Split(parts, split.groups))


def test_testing_that_repeats_training_is_not_used(injected):
    root, truth = injected
    split = split_catalog(read_catalog(root), preset("smoke", split="clean"))
    assert (
        split.made_at_runtime
        and f"{len(truth)} of {16 + len(truth)} images of Testing" in split.note
    )


def test_a_frozen_split_is_read_as_written_and_a_group_in_two_parts_is_refused(tmp_path):
    assignments = {
        "a.jpg": Assignment("00" * 8, "g1", 0, "test"),
        "b.jpg": Assignment("ff" * 8, "g1", 0, "test"),
        "c.jpg": Assignment("0f" * 8, "g2", -1, "dropped"),
    }
    write_frozen(tmp_path / "split.csv", FrozenSplit("about", assignments))
    assert read_frozen(tmp_path / "split.csv") == FrozenSplit("about", assignments)
    edited = assignments | {"b.jpg": Assignment("ff" * 8, "g1", 1, "train")}
    write_frozen(tmp_path / "edited.csv", FrozenSplit("about", edited))
    with pytest.raises(InputError, match=r"puts 1 groups \(2 images\) into several folds"):
        read_frozen(tmp_path / "edited.csv")
    (tmp_path / "no.csv").write_text("# x\npath,part\na.jpg,test\n")
    with pytest.raises(InputError, match="is not a frozen split"):
        read_frozen(tmp_path / "no.csv")


@pytest.mark.parametrize("name", ["clean_split", "patient_split", "clean_split_v1"])
def test_the_shipped_splits_keep_every_recovered_patient_whole(name):
    frozen = read_frozen(FOLDER / f"{name}.csv")
    origins = shipped_table()
    assert len(origins) == 4750 and len({o.patient for o in origins.values()}) == 209
    where = {}
    for path, assigned in frozen.assignments.items():
        if path in origins and assigned.part != "dropped":
            where.setdefault(origins[path].patient, set()).add((assigned.fold, assigned.part))
            # Version 2 was cut on the published files; the table was made on a 224 px copy.
            assert is_close(assigned.fingerprint, origins[path].fingerprint)
    assert {len(parts) for parts in where.values()} == {1} and len(where) == 209
    dropped = [path for path, assigned in frozen.assignments.items() if assigned.part == "dropped"]
    assert len(dropped) == (0 if name == "patient_split" else 4)
    assert all(origins[path].label != CLASS_NAMES.index(path.split("/")[1]) for path in dropped)


def test_another_dataset_under_the_same_paths_is_not_taken_for_the_merge(tmp_path):
    with SHIPPED.open(newline="") as file:
        rows = list(csv.DictReader(file))[:: 4750 // 40]
    rng = np.random.default_rng(3)
    for row in rows:
        (tmp_path / "set" / row["path"]).parent.mkdir(parents=True, exist_ok=True)
        noise = rng.integers(0, 256, (9, 9), np.uint8)
        Image.fromarray(noise).resize((64, 64)).save(tmp_path / "set" / row["path"])
    for part in ("Training", "Testing"):
        for name in CLASS_NAMES:
            (tmp_path / "set" / part / name).mkdir(parents=True, exist_ok=True)
            noise = rng.integers(0, 256, (9, 9), np.uint8)
            Image.fromarray(noise).resize((64, 64)).save(tmp_path / "set" / part / name / "x.jpg")
    assert group_catalog(read_catalog(tmp_path / "set")).origins == {}
