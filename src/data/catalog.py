"""A folder -> a table of images: path, class, official split, SHA-256, size, mode.

Two layouts are read, folder names in any case. The folders name the classes:

    DIR/Training/{glioma,meningioma,notumor,pituitary}/*.jpg    the Kaggle merge
    DIR/Testing/{glioma,meningioma,notumor,pituitary}/*.jpg
    DIR/{yes,no}/*.jpg                                          one folder per class, no split

Where the merge's four classes are there, copies of it with other folder names are understood:
`no_tumor`, `Glioma Tumour`, `train`, `test`, `val`. Any other folder is then no class.
"""

import contextlib
import dataclasses
import hashlib
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from src.common.cache import cache_folder, in_threads, progress
from src.common.errors import InputError
from src.common.files import read_json, write_json
from src.common.progress import progress_stream
from src.config import CLASS_NAMES, MOST_CLASSES, is_name

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
# What a file may hold, whatever its name says. EPS and PDF, which run other programs, may not.
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF")
LARGEST_IMAGE = 100_000_000  # pixels; a slice has under 1 million, so more is a mistake or a trap
SPLITS = ("Training", "Testing")
_PARTS = {"training": "Training", "train": "Training", "testing": "Testing", "test": "Testing"}
_VALIDATION = ("val", "valid", "validation")
Image.MAX_IMAGE_PIXELS = LARGEST_IMAGE // 2  # Pillow refuses more than twice this
warnings.filterwarnings("ignore", module="PIL")  # large images below that, and odd metadata
MASKS = "masks"  # beside the class folders, where `data build` puts masks; never a class
_NO_CLASS = "not one of the four classes: left out"
_LAYOUTS = (
    "a folder of images for each class, two or more (such as " + ", ".join(CLASS_NAMES) + "), "
    "or Training/ and Testing/ with the same such folders in both"
)


@dataclass(frozen=True, eq=False)
class Catalog:
    """A table with one row per image, sorted by path.

    Attributes:
        root: the folder that `paths` are relative to.
        paths: POSIX paths.
        classes: the names of the classes, as their folders spell them, sorted in lower case.
        labels: (N,) int64, indices into `classes`.
        official: "Training", "Testing", or "" where the folder has no split.
        sha256: of each file's bytes.
        sizes: (width, height) in pixels.
        modes: Pillow's, such as "L" or "RGB".
        skipped: (path, reason) of each file that looked like an image and is not used.
    """

    root: Path
    classes: tuple[str, ...]
    paths: tuple[str, ...]
    labels: np.ndarray
    official: tuple[str, ...]
    sha256: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    modes: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def has_split(self) -> bool:
        return any(self.official)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over every path and content: equal only for the same images, named alike."""
        lines = "".join(f"{path}\t{sha}\n" for path, sha in zip(self.paths, self.sha256))
        return hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest()

    def counts(self) -> dict[str, dict[str, int]]:
        """Return `{"Training": {class: n}, "Testing": {class: n}}`; `{"unsplit": ...}` without."""
        official = np.array(self.official)
        splits = SPLITS if self.has_split else ("",)
        return {split or "unsplit": self.class_counts(official == split) for split in splits}

    def class_counts(self, rows: np.ndarray) -> dict[str, int]:
        """Return the number of images of each class among some rows, or a mask of them."""
        counts = np.bincount(self.labels[rows], minlength=len(self.classes))
        return dict(zip(self.classes, counts.tolist()))

    def without(self, reasons: dict[str, str]) -> "Catalog":
        """Return the catalogue without the images named in `reasons` (path -> why it is skipped).

        Raises:
            InputError: that leaves a class folder empty.
        """
        smaller = self
        if reasons:
            keep = [row for row, path in enumerate(self.paths) if path not in reasons]
            columns = ("paths", "official", "sha256", "sizes", "modes")
            smaller = dataclasses.replace(
                self,
                labels=self.labels[keep],
                skipped=tuple(sorted([*self.skipped, *reasons.items()])),
                **{name: tuple(getattr(self, name)[row] for row in keep) for name in columns},
            )
        for split, counts in smaller.counts().items():
            for name in (name for name, count in counts.items() if not count):
                inside = f"{split}/{name}" if smaller.has_split else name
                start = f"{inside}/".lower()
                bad = [
                    row
                    for row in smaller.skipped
                    if row[0].lower().startswith(start)
                    or standard_path(row[0]).lower().startswith(start)
                ]
                inside = Path(bad[0][0]).parent.as_posix() if bad else inside
                why = f"none of its {len(bad)} can be used ({': '.join(bad[0])})" if bad else ""
                raise InputError(
                    f"The class folder {self.root.name}/{inside} has no usable image: "
                    f"{why or 'it is empty'}. Put {'/'.join(s[1:] for s in SUFFIXES)} files into "
                    f"{self.root / inside}."
                )
        return smaller


def read_catalog(root: Path) -> Catalog:
    """List and hash every image under `root`, and read its header; decode none.

    Raises:
        InputError: no such folder, no classes in it, or a class folder without a usable image.
    """
    root = find_root(root)
    classes, images, skipped = _list_images(root)
    facts = _inspect_all(root, [path for path, _, _ in images])
    catalog = Catalog(
        root=root,
        classes=classes,
        paths=tuple(path for path, _, _ in images),
        labels=np.array([label for _, label, _ in images], np.int64),
        official=tuple(split for _, _, split in images),
        sha256=tuple(fact["sha256"] for fact in facts),
        sizes=tuple(tuple(fact["size"]) for fact in facts),
        modes=tuple(fact["mode"] for fact in facts),
        skipped=tuple(sorted(skipped)),
    )
    bad = {path: fact["bad"] for path, fact in zip(catalog.paths, facts) if fact["bad"]}
    return catalog.without(bad)


def find_root(path: Path) -> Path:
    """Return `path`, or its only sub-folder, as archives make one, that has one of the layouts.

    Raises:
        InputError: no such folder, or no layout there.
    """
    path = Path(path).expanduser().resolve()
    if not path.is_dir():
        what = "is a file, not a folder" if path.exists() else "does not exist"
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


@dataclass(frozen=True)
class _ClassFolder:
    """A folder of images: its official part, "" where there is none; its class, None if it is none.

    Classes are in lower case where they are the merge's, else as the folder or `--map` spells them.
    """

    part: str
    name: str | None
    folder: Path


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


def _list_images(
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


def _inspect_all(root: Path, paths: list[str]) -> list[dict]:
    """Return `inspect_image` of each path; kept in the cache until a file changes."""
    stats = [(root / path).stat() for path in paths]
    stamps = [(at.st_size, at.st_mtime_ns, at.st_ctime_ns) for at in stats]
    key = hashlib.sha256(repr((root, paths, stamps)).encode()).hexdigest()[:24]
    store = cache_folder("catalog") / f"{key}.json"
    with contextlib.suppress(InputError):  # none yet, or damaged
        return read_json(store)
    inspected = in_threads(lambda path: inspect_image(root / path), paths)
    facts = list(progress(inspected, len(paths), "Cataloguing"))
    write_json(store, facts)
    return facts


def inspect_image(path: Path) -> dict:
    """Return a file's sha256, size, mode and `bad`: why it cannot be used, or ""."""
    fact = {"sha256": "", "size": [0, 0], "mode": "", "bad": ""}
    try:
        with path.open("rb") as file:
            fact["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
            if file.tell() == 0:
                return fact | {"bad": "empty file (0 bytes)"}
            file.seek(0)
            with Image.open(file, formats=FORMATS) as image:
                return fact | {"size": list(image.size), "mode": image.mode}
    except Exception as error:  # Pillow's plugins raise almost anything on a broken header
        return fact | {"bad": why_unreadable(error)}


def try_each(read: Callable, items: Sequence, what: str) -> Iterator[object]:
    """Yield `read` of each item, in order, or why it failed: one bad file never ends the run.

    Raises:
        InputError: the disk failed, not the image.
    """

    def attempt(item: object) -> object:
        try:
            return read(item)
        except MemoryError:
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno:
                raise InputError(
                    f"{error.filename or item} was listed but could not be read: "
                    f"{error.strerror}. Run it again when the folder is whole."
                ) from error
            return why_unreadable(error)

    return progress(in_threads(attempt, items), len(items), what)


def why_unreadable(error: Exception) -> str:
    """Return one short sentence for an error met while opening or decoding an image."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, Image.DecompressionBombError):
        return f"too large: over the limit of {LARGEST_IMAGE // 10**6} megapixels"
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image, whatever its name says"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    return f"cannot be decoded: {error or type(error).__name__}"
