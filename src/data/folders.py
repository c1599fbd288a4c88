"""A folder -> which of its folders hold images of which class and official part, and their files.

Two layouts are read, folder names in any case. The folders name the classes:

    DIR/Training/{glioma,meningioma,notumor,pituitary}/*.jpg    the Kaggle merge
    DIR/Testing/{glioma,meningioma,notumor,pituitary}/*.jpg
    DIR/{yes,no}/*.jpg                                          one folder per class, no split

Where the merge's four classes are there, copies of it with other folder names are understood:
`no_tumor`, `Glioma Tumour`, `train`, `test`, `val`. Any other folder is then no class.
"""

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from src.common.errors import InputError
from src.common.files import with_home
from src.config import CLASS_NAMES, MOST_CLASSES, is_name

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
SPLITS = ("Training", "Testing")
DATASET_FOLDER = Path(__file__).resolve().parents[2] / "dataset"
# Where Kaggle mounts the set for a notebook that adds it; the older form first.
KAGGLE_FOLDERS = (
    Path("/kaggle/input/brain-tumor-mri-dataset"),
    Path("/kaggle/input/datasets/masoudnickparvar/brain-tumor-mri-dataset"),
)
_PARTS = {"training": "Training", "train": "Training", "testing": "Testing", "test": "Testing"}
_VALIDATION = ("val", "valid", "validation")
MASKS = "masks"  # beside the class folders, where `data build` puts masks; never a class
_NO_CLASS = "not one of the four classes: left out"
_LAYOUTS = (
    "a folder of images for each class, two or more (such as " + ", ".join(CLASS_NAMES) + "), "
    "or Training/ and Testing/ with the same such folders in both"
)


def standard_class(name: str) -> str | None:
    """Return which of the merge's classes a folder's name means: `No Tumour` -> "notumor"."""
    plain = _plain(name).replace("tumour", "tumor")
    return next((kind for kind in CLASS_NAMES if plain in (kind, f"{kind}tumor")), None)


def standard_path(path: str) -> str:
    """Return a POSIX path with its folders named as the merge names them."""
    *folders, file = path.split("/")
    names = [_PARTS.get(_plain(name)) or standard_class(name) or name for name in folders]
    return "/".join([*names, file])


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name.lower())


def class_map() -> dict[str, str]:
    """Return folder, in lower case -> class, from BRAIN_TUMOR_MAP, which `--map` sets.

    Raises:
        InputError: it is no list of FOLDER=CLASS, separated by commas.
    """
    wanted = {}
    for pair in filter(None, os.environ.get("BRAIN_TUMOR_MAP", "").split(",")):
        folder, _, name = (each.strip() for each in pair.partition("="))
        if not folder or not is_name(name):
            raise InputError(
                f"--map (or BRAIN_TUMOR_MAP) takes FOLDER=CLASS, such as healthy=notumor. "
                f"Received: {pair!r}."
            )
        wanted[folder.lower()] = standard_class(name) or name
    return wanted


@dataclass(frozen=True)
class _ClassFolder:
    """A folder of images: its official part, "" where there is none; its class, None if it is none.

    Classes are in lower case where they are the merge's, else as the folder or `--map` spells them.
    """

    part: str
    name: str | None
    folder: Path


def find_own_images(data_dir: Path | None = None) -> Path | None:
    """Return the folder of the user's images; None where there is none, and nothing is drawn.

    It is `data_dir`; else BRAIN_TUMOR_DATA; else `dataset/` if it holds images; else Kaggle's.
    """
    if named := data_dir or os.environ.get("BRAIN_TUMOR_DATA"):
        return Path(named)
    for depth in range(1, 6):  # not rglob, which follows no link to a folder
        for path in DATASET_FOLDER.glob("/".join("*" * depth)):
            hidden = "/." in f"/{path.relative_to(DATASET_FOLDER).as_posix()}"
            if path.suffix.lower() in SUFFIXES and not hidden:
                return DATASET_FOLDER
    return next((folder for folder in KAGGLE_FOLDERS if folder.is_dir()), None)


def find_root(path: Path) -> Path:
    """Return `path`, or its only sub-folder, as archives make one, that has one of the layouts.

    Raises:
        InputError: no such folder, or no layout there.
    """
    path = Path(os.path.realpath(with_home(path)))
    if not path.is_dir():
        what = "is a file, not a folder" if path.exists() else "does not exist"
        what = "is a link in a circle" if path.is_symlink() else what
        raise InputError(
            f"The dataset folder {path} {what}. Give --data (or BRAIN_TUMOR_DATA) a folder "
            f"that holds {_LAYOUTS}."
        )
    if _class_folders(path):
        return path
    inside = [folder for folder in _folders(path).values() if _class_folders(folder)]
    if len(inside) == 1:
        return inside[0]
    if inside:
        raise InputError(
            f"{path} holds several datasets: {', '.join(folder.name for folder in inside)}. "
            "Give one of them with --data."
        )
    names = ", ".join(sorted(entry.name for entry in path.iterdir())[:8]) or "nothing"
    raise InputError(f"No class folders in {path}: expected {_LAYOUTS}. Found: {names}.")


def list_images(
    root: Path,
) -> tuple[tuple[str, ...], list[tuple[str, int, str]], list[tuple[str, str]]]:
    """Return classes, rows (path, label, split), sorted, and (path, reason) of what is left out."""
    folders = _class_folders(root)
    classes = _class_names(root, folders)
    images, skipped = [], []
    parts = [part for part in ("", *SPLITS) if any(each.part == part for each in folders)]
    for part in parts if parts == [""] else SPLITS:
        for label, name in enumerate(classes):
            here = [
                each.folder
                for each in folders
                if each.part == part and (each.name or "").lower() == name.lower()
            ]
            if not here:
                missing = Path(part, name).as_posix()
                raise InputError(f"{root} has no folder {missing}/: expected {_LAYOUTS}.")
            for entry in (entry for folder in here for entry in _entries(folder)):
                path = entry.relative_to(root).as_posix()
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    skipped.append((path, "a folder inside a class folder: not read"))
                elif entry.suffix.lower() in SUFFIXES and not entry.exists():
                    skipped.append((path, "a link to no file"))
                elif entry.suffix.lower() in SUFFIXES and not entry.is_file():
                    skipped.append((path, "a pipe or a device, not a file"))  # could be endless
                elif entry.suffix.lower() in SUFFIXES:
                    images.append((path, label, part))
    reasons = {each.folder: "" if each.name else _NO_CLASS for each in folders}
    for parent in {folder.parent for folder in reasons}:
        for name, folder in _folders(parent).items():
            path = folder.relative_to(root).as_posix()
            reason = reasons.get(folder, "a folder without images: no class, and not read")
            if reason and name != MASKS:
                skipped.append((path, reason))
    elsewhere = class_map().keys() - {each.folder.name.lower() for each in folders}
    if elsewhere:
        raise InputError(
            f"--map names {min(elsewhere)}, but no folder of images in {root} is called that."
        )
    _say_what_is_meant(root, folders)
    return classes, sorted(images), skipped


def _say_what_is_meant(root: Path, folders: list[_ClassFolder]) -> None:
    """Tell on stderr, once, which folders are read under another name."""
    meanings = {}
    for each in folders:
        if each.name:
            meanings[each.folder.name] = each.name
        if each.part:
            meanings[each.folder.relative_to(root).parts[0]] = each.part
    names = [f"{k} as {v}" for k, v in sorted(meanings.items()) if k.lower() != v.lower()]
    left = sorted({each.folder.name for each in folders if not each.name})
    out = [f"{name} not at all (--map {name}=CLASS reads it)" for name in left]
    if names or out:
        _say_once(f"Folders are read so: {', '.join([*names, *out])}.")


@lru_cache
def _say_once(text: str) -> None:
    from src.common.progress import progress_stream  # tqdm, which an answer does not wait for

    print(text, file=progress_stream())


def _class_names(root: Path, folders: list[_ClassFolder]) -> tuple[str, ...]:
    """Return the names of the classes: the merge's in lower case, others as their folders spell."""
    spelled = {each.name.lower(): each.name for each in reversed(folders) if each.name}
    names = tuple(name if name in CLASS_NAMES else spelled[name] for name in sorted(spelled))
    if len(names) > MOST_CLASSES:
        raise InputError(
            f"{root} holds {len(names)} folders of images, and each would be a class; at most "
            f"{MOST_CLASSES} are possible. Expected {_LAYOUTS}."
        )
    for name in names:
        if not is_name(name):
            raise InputError(f"A folder in {root} cannot name a class: {name!r}. Rename it.")
    return names


def _class_folders(root: Path) -> list[_ClassFolder]:
    """Return the folders of images under `root`; none where they are of fewer than two classes.

    Those named like one of the merge's classes count though they are empty. If all four of these
    are there, under whatever of their names, other folders are no classes. If not, folders are
    called what they are called.

    Raises:
        InputError: two folders mean the same.
    """
    wanted = class_map()
    found = [
        (part, name, folder)
        for part, parents in _part_folders(root).items()
        for parent in parents
        for name, folder in _folders(parent).items()
        if name != MASKS
    ]
    meant = {wanted.get(name) or standard_class(name) for _, name, _ in found}
    merge = meant >= set(CLASS_NAMES)
    folders: list[_ClassFolder] = []
    taken: dict[tuple[Path, str], Path] = {}
    for part, name, folder in found:
        kind = wanted.get(name)
        if not kind and (merge or name in CLASS_NAMES):
            kind = standard_class(name)
            other = taken.setdefault((folder.parent, kind), folder) if kind else folder
            if other != folder:
                raise InputError(_which(folder.parent, other, folder))
        if kind or _holds_images(folder):
            folders.append(_ClassFolder(part, kind or (None if merge else folder.name), folder))
    return folders if len({each.name.lower() for each in folders if each.name}) > 1 else []


def _part_folders(root: Path) -> dict[str, list[Path]]:
    """Return the folders that hold class folders, by official part; {"": [root]} without parts.

    A folder for validation counts as Training, from which validation images are drawn anyway; as
    Testing where there is no other.
    """
    folders = _folders(root)
    parts: dict[str, list[Path]] = {}
    validation = []
    for name, folder in folders.items():
        part = "" if _plain(name) in _VALIDATION else _PARTS.get(_plain(name))
        # A folder without folders is an ordinary class, whatever its name.
        if part is None or (name not in ("training", "testing") and not _folders(folder)):
            continue
        if not part:
            validation.append(folder)
        elif part in parts:
            raise InputError(_which(root, parts[part][0], folder))
        else:
            parts[part] = [folder]
    if not parts or any(standard_class(name) for name in folders):
        return {"": [root]}
    if validation:
        parts.setdefault("Training" if "Testing" in parts else "Testing", []).extend(validation)
    return parts


def _which(parent: Path, one: Path, other: Path) -> str:
    return (
        f"{parent} holds both {one.name}/ and {other.name}/: which is meant is not clear. Merge or "
        "rename one."
    )


def _holds_images(folder: Path) -> bool:
    return any(
        entry.suffix.lower() in SUFFIXES and not entry.name.startswith(".") and not entry.is_dir()
        for entry in _entries(folder)
    )


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"Cannot read the folder {folder}: {error.strerror}.") from error


def _folders(folder: Path) -> dict[str, Path]:
    """Return the visible sub-folders by lower-case name."""
    folders: dict[str, Path] = {}
    for entry in _entries(folder):
        name = entry.name.lower()
        if entry.name.startswith(".") or not entry.is_dir():
            continue
        if name in folders:
            raise InputError(_which(folder, folders[name], entry))
        folders[name] = entry
    return folders
