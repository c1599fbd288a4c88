"""A folder of images -> a table of them: path, class, official split, SHA-256, size, mode."""

import contextlib
import dataclasses
import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from src.common.cache import cache_folder, in_threads, progress
from src.common.errors import InputError
from src.common.files import only_file, read_json, write_json
from src.data.folders import SPLITS, SUFFIXES, find_root, list_images, standard_path

# What a file may hold, whatever its name says. EPS and PDF, which run other programs, may not.
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF")
LARGEST_IMAGE = 100_000_000  # pixels; a slice has under 1 million, so more is a mistake or a trap
Image.MAX_IMAGE_PIXELS = LARGEST_IMAGE // 2  # Pillow refuses more than twice this
warnings.filterwarnings("ignore", module="PIL")  # large images below that, and odd metadata


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
    classes, images, skipped = list_images(root)
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


def _inspect_all(root: Path, paths: list[str]) -> list[dict]:
    """Return `inspect_image` of each path; kept in the cache until a file changes."""
    stats = [(root / path).stat() for path in paths]
    stamps = [(at.st_size, at.st_mtime_ns, at.st_ctime_ns) for at in stats]
    key = hashlib.sha256(repr((root, paths, stamps)).encode()).hexdigest()[:24]
    store = cache_folder("catalog") / f"{key}.json"
    with contextlib.suppress(InputError, TypeError, LookupError):  # none yet, or damaged
        kept = read_json(store)
        if kept["sha256"] == _checksum(kept["facts"]):
            return kept["facts"]
    inspected = in_threads(lambda path: inspect_image(root / path), paths)
    facts = list(progress(inspected, len(paths), "Cataloguing"))
    if not any([fact.pop("disk", False) for fact in facts]):
        write_json(store, {"facts": facts, "sha256": _checksum(facts)})
    return facts


def _checksum(facts: list[dict]) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def inspect_image(path: Path) -> dict:
    """Return a file's sha256, size, mode and `bad`: why it cannot be used, or "".

    `disk` is true where the disk failed, not the image: another time it may be read.
    """
    fact = {"sha256": "", "size": [0, 0], "mode": "", "bad": ""}
    try:
        with only_file(path).open("rb") as file:
            fact["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
            if file.tell() == 0:
                return fact | {"bad": "empty file (0 bytes)"}
            file.seek(0)
            with Image.open(file, formats=FORMATS) as image:
                return fact | {"size": list(image.size), "mode": image.mode}
    except Exception as error:  # Pillow's plugins raise almost anything on a broken header
        failed = isinstance(error, OSError) and bool(error.errno)
        return fact | {"bad": why_unreadable(error)} | ({"disk": True} if failed else {})


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


def named_files(rows: Sequence[tuple[str, str]], what: str = "are not used") -> str:
    """Return how many files there are, and the first ten (path, reason) in lines; "" for none."""
    lines = [f"{len(rows)} files {what}:", *(f"  {path}: {why}" for path, why in rows[:10])]
    if len(rows) > 10:
        lines.append(f"  and {len(rows) - 10} more")
    return "\n".join(lines) if rows else ""


def why_unreadable(error: Exception) -> str:
    """Return one short sentence for an error met while opening or decoding an image."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, Image.DecompressionBombError):
        return f"too large: over the limit of {LARGEST_IMAGE // 10**6} megapixels"
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image in a format that can be read"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    return f"cannot be decoded: {error or type(error).__name__}"
