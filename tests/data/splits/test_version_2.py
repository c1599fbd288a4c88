"""Version 2 of the merge: files renamed and moved, and synthetic ones, which are never tested on.

The sets are made: "version 1" is frozen in a table, as the merge is; "version 2" has its images
under other names, re-encoded in part, with `-aug-` files of the published form and of another.
"""

from pathlib import Path

import numpy as np
import pytest
from image_folders import data_command, picture, write_flat
from PIL import Image, ImageEnhance

from src.common.files import read_json
from src.config import CLASS_NAMES, preset
from src.data.catalog import read_catalog
from src.data.patients import recover
from src.data.patients.recover import catalog_fingerprints, merge_names
from src.data.sources.origin import is_augmented, original_stem
from src.data.splits import folds, frozen, judged
from src.data.splits.frozen import Assignment, FrozenSplit, read_frozen, write_frozen
from src.data.splits.split import split_catalog
from src.data.splits.synthetic import scans_of

PLACES = ((0, "val"), (0, "test"), *((fold, "train") for fold in (1, 2, 3, 4)))
PLACES += ((5, "selection"), (-1, "ct"), (-1, "dropped"))
# Synthetic file, how it was made, and the place of what it was made of ("": nothing that is there).
# The first form, of version 2, has numbers of its own; the other, with {}, names the original.
SYNTHETIC = (
    ("Training/meningioma/Tr-aug-me_1.jpg", "copied", "train"),
    ("Training/meningioma/Tr-aug-me_2.jpg", "brightened", "train"),
    ("Training/meningioma/Tr-aug-me_3.jpg", "copied", "test"),
    ("Training/meningioma/Tr-aug-me_4.jpg", "brightened", "val"),
    ("Training/meningioma/Tr-aug-me_5.jpg", "mirrored", "selection"),
    ("Training/meningioma/Tr-aug-me_6.jpg", "copied", "ct"),
    ("Training/meningioma/Tr-aug-me_7.jpg", "copied", "dropped"),
    ("Training/meningioma/Tr-aug-me_8.jpg", "rotated", "train"),
    ("Training/notumor/Tr-aug-no_1.jpg", "copied", "train"),
    ("Testing/meningioma/Te-aug-me_1.jpg", "brightened", "train"),
    ("Testing/meningioma/Te-aug-me_2.jpg", "rotated", "test"),
    ("Training/glioma/{}-aug-1.jpg", "rotated", "train"),
    ("Training/glioma/{}-aug-2.jpg", "rotated", "test"),
    ("Testing/glioma/{}-aug-3.jpg", "rotated", "selection"),
    ("Training/glioma/Tr-gl_999-aug-1.jpg", "rotated", ""),
)
FOLDS = (-1, 0, 5)


def assign(number: int) -> tuple[str, int, str]:
    """Return group, fold and part of the image of this number: every two are of one group."""
    fold, part = PLACES[number // 2 % len(PLACES)]
    return f"{number // 2}", fold, part


def scan(*words: int) -> Image.Image:
    """Return a gray picture that no other words give, with detail at all the frequencies used."""
    coarse = np.random.default_rng(words).integers(0, 256, (10, 10), np.uint8)
    return Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC)


def make(image: Image.Image, how: str) -> Image.Image:
    if how == "brightened":
        return ImageEnhance.Brightness(image).enhance(0.8)
    if how == "mirrored":
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image.rotate(25) if how == "rotated" else image


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Return the folder of version 2, and the file that froze version 1.

    Between them: the fold and part of each scan, by path; and what each synthetic file was made of,
    or None where nobody can tell.
    """
    root = tmp_path_factory.mktemp("version_2")
    table, where, new_name = {}, {}, {}
    for label, name in enumerate(CLASS_NAMES):
        code = name[:2]
        for number in range(2 * 2 * len(PLACES)):
            image = scan(label, number)
            old = f"Training/{name}/Tr-{code}_{number:04}.jpg"
            print_ = recover.image_fingerprint(np.asarray(image))
            group, fold, part = assign(number)
            table[old] = Assignment(print_, f"{label} {group}", fold, part)
            # Version 2 goes backwards; the first names are names of version 1, of other images.
            split = "Testing" if number % 5 == 0 else "Training"
            turned = 2 * 2 * len(PLACES) - number
            file = f"{turned:04}" if number % 3 == 0 else f"{turned}"
            path = f"{split}/{name}/{split[:1]}{'re'[split == 'Testing']}-{code}_{file}.jpg"
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            if number % 7 == 0:
                image.resize((50, 50)).save(root / path, quality=85)
            else:
                image.save(root / path, quality=95)
            where[path] = (fold, part)
            new_name[label, number] = path
        for number in range(2):
            path = f"Training/{name}/Tr-{code}_{900 + number}.jpg"
            scan(label, number, 99).save(root / path)
            where[path] = (None, "new")
    made_of = {}
    for count, (path, how, place) in enumerate(SYNTHETIC):
        label = CLASS_NAMES.index("glioma" if "glioma" in path else "meningioma")
        numbers = [n for n in range(18, 36) if assign(n)[2] == place]
        source = new_name[label, numbers[count % len(numbers)]] if place else None
        path = path.format(Path(source or "").stem)
        if how == "copied":
            (root / path).write_bytes((root / source).read_bytes())
        else:
            image = Image.open(root / source) if source else scan(7, count)
            make(image, how).save(root / path, quality=90)
        findable = how != "rotated" or "glioma" in path
        made_of[path] = source if findable else None
    file = tmp_path_factory.mktemp("version_1") / "clean_split.csv"
    write_frozen(file, FrozenSplit("version 1 of a made merge", table))
    return root, where, made_of, file


@pytest.fixture
def merge(sets, monkeypatch):
    """Return `sets` but for the file, which is the clean split that ships."""
    *sets, file = sets
    monkeypatch.setattr(frozen, "FOLDER", file.parent)
    monkeypatch.setattr(recover, "MERGE", file)
    return sets


def cut(catalog, **fields):
    """Return path -> part ("selection" and "ct" where in no other), and the split's note."""
    split = split_catalog(catalog, preset("smoke", **fields))
    named = {**split.aside, **split.parts}
    return {catalog.paths[row]: part for part, rows in named.items() for row in rows}, split


@pytest.fixture
def catalog(merge):
    return read_catalog(merge[0])


@pytest.mark.parametrize("fold", FOLDS)
def test_the_clean_split_is_carried_over_by_fingerprint(catalog, merge, fold):
    parts, split = cut(catalog, fold=fold)
    for path, (of_fold, part) in merge[1].items():
        if part in ("ct", "dropped"):
            assert parts.get(path, "dropped") == part
        elif fold >= 0:
            assert (parts[path] == "test") == (of_fold == fold)
        else:
            assert parts[path] == ("train" if part in ("selection", "new") else part)
    assert "140 images are known by fingerprint alone" in split.note  # four kept their names
    assert "8 images are not those of clean_split.csv" in split.note


def test_the_same_files_under_their_own_names_need_no_search(merge, monkeypatch):
    table = read_frozen(frozen.shipped_file("clean")).assignments
    paths, prints = list(table), [each.fingerprint for each in table.values()]
    monkeypatch.setattr(np, "bitwise_count", None)
    assert merge_names(paths, prints) == paths


@pytest.mark.parametrize("fold", FOLDS)
def test_a_synthetic_file_trains_where_its_original_does_and_nowhere_else(catalog, merge, fold):
    parts, split = cut(catalog, fold=fold)
    groups = dict(zip(catalog.paths, split.groups))
    for path, source in merge[2].items():
        trains = parts.get(source) == "train" and "notumor" not in path
        assert parts.get(path) == ("train" if trains else None)
        assert not trains or groups[path] == groups[source]
    if fold == -1:  # in which the selection part trains
        assert (
            "15 files are synthetic by name (*-aug-*), 3 of them in Testing; none validates or "
            "tests: 6 train, as their originals do; 6 are left out, as theirs do not; 3 are left "
            "out, as no original was found."
        ) in split.note


def test_the_official_test_has_no_synthetic_file(catalog):
    parts, split = cut(catalog, split="official")
    synthetic = {path for path in catalog.paths if is_augmented(path)}
    testing = {path for path in catalog.paths if path.startswith("Testing")}
    assert {path for path, part in parts.items() if part == "test"} == testing - synthetic
    added = synthetic & set(parts)
    assert {parts[path] for path in added} == {"train"} and not added & testing
    assert "3 of them in Testing" in split.note and "or they lie in Testing" in split.note


def test_name_and_pixels_must_both_be_of_images_that_train(tmp_path):
    """Of one's own images: `p1-aug-1` is made from `p1`, though it may look like another."""
    root = write_flat(tmp_path / "own")
    names = [path.stem for path in sorted((root / "glioma").iterdir())]
    looks_like = dict(zip(names, names[1:] + names[:1]))
    for name, other in looks_like.items():
        picture(5, 5).rotate(10).save(root / f"glioma/{name}-aug-1.png")  # like none
        copy = (root / f"glioma/{other}.png").read_bytes()
        (root / f"glioma/{name}-aug-2.png").write_bytes(copy)
    (root / "glioma/12-Aug-2019.png").write_bytes((root / "glioma/gl_0000.png").read_bytes())
    catalog = read_catalog(root)
    for kind in ("clean", "official"):
        parts, split = cut(catalog, split=kind)
        train = {name for name in names if parts[f"glioma/{name}.png"] == "train"}
        assert any(looks_like[name] not in train for name in train)
        for name, other in looks_like.items():
            one, two = (parts.get(f"glioma/{name}-aug-{k}.png") for k in (1, 2))
            assert one == ("train" if name in train else None)
            assert two == ("train" if {name, other} <= train else None)
        assert "40 files are synthetic by name (*-aug-*), 0 of them in Testing" in split.note
        assert parts["glioma/12-Aug-2019.png"] == parts["glioma/gl_0000.png"]


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("Training/meningioma/Tr-aug-me_89.jpg", "tr"),
        ("Training/glioma/Tr-gl_0010-aug-3.jpg", "tr-gl_0010"),
        ("glioma/P1-AUG-2.png", "p1"),
        ("glioma/p1-12-Aug-2019.png", None),
        ("my-aug-set/glioma/p1.png", None),
        ("glioma/Tr-gl_0010.jpg", None),
    ],
)
def test_a_name_says_what_is_synthetic_and_perhaps_of_what(name, stem):
    assert is_augmented(name) == (stem is not None)
    if stem is not None:
        assert original_stem(name) == stem


def code(*bits: int) -> str:
    return f"{sum(1 << bit for bit in bits):016x}"


# Names of version 1, their fingerprints and groups; c and d, 4 bits apart, are of one.
ROWS = {
    "a": (code(), "1"),
    "b": (code(0, 1, 2, 3), "2"),
    "c": (code(*range(20, 30)), "3"),
    "d": (code(*range(22, 32)), "3"),
}


@pytest.mark.parametrize(
    ("path", "bits", "name"),
    [
        ("x", (0,), "a"),  # the closest
        ("x", (0, 1), "x"),  # as close to two groups: unknown
        ("a", (0, 1), "a"),  # unless its path is one of them
        ("a", (0, 1, 2, 3), "b"),  # its path is four bits away, but another image is meant
        ("b", (0, 1, 2), "b"),
        ("x", range(21, 31), "c"),  # as close to two of one group: either
        ("x", (40, 41, 42), "a"),
        ("x", (40, 41, 42, 43), "x"),  # too far
        ("a", range(40, 48), "a"),  # a path may be as far as that
        ("a", range(40, 49), "a"),  # keeps its path; who asks compares the fingerprints
    ],
)
def test_an_image_goes_by_the_name_of_the_closest_fingerprint(monkeypatch, path, bits, name):
    monkeypatch.setattr(recover, "_read_merge", lambda _: ROWS)
    others = [other for other in ROWS if other != path]
    names = merge_names([*others, path], [*(ROWS[other][0] for other in others), code(*bits)])
    assert names == [*others, name]


def test_a_few_images_that_look_like_the_merge_keep_their_names(monkeypatch):
    monkeypatch.setattr(recover, "_read_merge", lambda _: ROWS)
    far = [code(*range(start, start + 20)) for start in (36, 40, 44)]
    assert merge_names(["x", "y", "z"], [code(), *far[:2]]) == ["x", "y", "z"]
    assert merge_names(["x", "y"], [code(), far[0]]) == ["a", "y"]  # half of them is enough


def test_the_commands_cope(merge, tmp_path, capsys):
    data_command("summary", "--data", merge[0])
    out, err = capsys.readouterr()
    assert "neither published variant of the Kaggle merge" in out and "are synthetic by name" in err
    file = tmp_path / "about.json"
    data_command("audit", "--data", merge[0], "--json", file)
    assert set(read_json(file)["files"]["augmented"]) == set(merge[2])


def test_a_new_split_of_it_has_no_synthetic_file_no_ct_and_what_was_joined(
    merge, catalog, tmp_path, monkeypatch
):
    """`modality.csv` and `joined_images.csv` name the images as version 1 does."""
    table = read_frozen(frozen.shipped_file("clean")).assignments
    ct = {old: each.fingerprint for old, each in table.items() if each.part == "ct"}
    one, other = "Training/glioma/Tr-gl_0004.jpg", "Training/glioma/Tr-gl_0012.jpg"
    rows = [f"{old},{print_},CT" for old, print_ in ct.items()]
    (tmp_path / "modality.csv").write_text("\n".join(["path,fingerprint,modality", *rows]))
    pair = f"{one},{other},{table[one].fingerprint},{table[other].fingerprint}"
    head = "first,second,first_fingerprint,second_fingerprint"
    (tmp_path / "joined_images.csv").write_text(f"{head}\n{pair}")
    monkeypatch.setattr(judged, "FOLDER", tmp_path)
    # The search for good cuts takes a while, and any cut will do.
    monkeypatch.setattr(folds, "_SEEDS", 1)
    monkeypatch.setattr(frozen, "take_selection", lambda labels, groups, seed: groups == groups[0])
    written = tmp_path / "split.csv"
    data_command("split", "--data", merge[0], "--write", written)
    made = read_frozen(written).assignments
    assert set(made) == set(scans_of(catalog).paths)
    expected = {path for path, (_, part) in merge[1].items() if part == "ct"}
    assert {path for path, each in made.items() if each.part == "ct"} == expected
    names = dict(zip(merge_names(catalog.paths, catalog_fingerprints(catalog)), catalog.paths))
    assert made[names[one]].group == made[names[other]].group


def test_renamed_and_moved_files_of_the_merge_itself(real_data, tmp_path):
    """Thirty-two real images under names of version 2, some re-encoded, and five synthetic."""
    table, chosen = read_frozen(frozen.shipped_file("clean")).assignments, {}
    for label in CLASS_NAMES:
        for place, count in (("train", 3), ("val", 2), ("test", 2), ("selection", 1)):
            of = [p for p, a in table.items() if a.part == place and p.split("/")[1] == label]
            for number, old in enumerate(of[:: len(of) // count][:count]):
                split = "Testing" if number == 0 else "Training"
                new = f"{split}/{label}/{split[:2]}-{label[:2]}_{len(chosen) + 1}.jpg"
                (tmp_path / new).parent.mkdir(parents=True, exist_ok=True)
                if number == 1:
                    Image.open(real_data / old).convert("L").save(tmp_path / new, quality=75)
                else:
                    (tmp_path / new).symlink_to(real_data / old)
                chosen[new] = old
    synthetic = {}
    for number, how in enumerate(("brightened", "mirrored", "rotated")):
        for place in ("train", "test"):
            new = next(n for n, o in chosen.items() if table[o].part == place and "/men" in n)
            path = f"Training/meningioma/Tr-aug-me_{2 * number + (place == 'test')}.jpg"
            make(Image.open(tmp_path / new).convert("L"), how).save(tmp_path / path)
            synthetic[path] = place == "train" and how != "rotated"
    catalog = read_catalog(tmp_path)
    parts, split = cut(catalog)
    for new, old in chosen.items():
        assert parts[new] == ("train" if table[old].part == "selection" else table[old].part)
    assert {path for path in parts if is_augmented(path)} == {p for p, t in synthetic.items() if t}
    origins = recover.shipped_origins(catalog.paths, catalog_fingerprints(catalog))
    known = recover.shipped_table()
    assert {p: o.slice for p, o in origins.items() if p in chosen} == {
        new: known[old].slice for new, old in chosen.items() if old in known
    }
