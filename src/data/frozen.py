"""A split frozen to a file: path -> group, fold, part, confirmed by a tolerant fingerprint.

The first line says the rule and the seed. Content hashes would not survive a copy of the merge at
another resolution or JPEG quality; paths and fingerprints do.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

from src.data.catalog import Catalog
from src.data.folds import FOLDS
from src.data.provenance import is_close
from src.errors import InputError
from src.files import atomic_write

FOLDER = Path(__file__).resolve().parents[2] / "dataset"
DROPPED = "dropped"
COLUMNS = ("path", "fingerprint", "group", "fold", "part")
_PARTS = ("train", "val", "test", DROPPED)


@dataclass(frozen=True)
class Place:
    """Where a frozen split puts one image; `fold` is -1 when it is dropped."""

    fingerprint: str
    group: str
    fold: int
    part: str


@dataclass(frozen=True)
class Frozen:
    """A frozen split: what made it, and the place of every image it knows, by path."""

    about: str
    places: dict[str, Place]

    def known(self, catalog: Catalog, prints: list[str] | None) -> dict[str, Place]:
        """Return the places of the images whose path is known and whose fingerprint agrees.

        Without `prints` (N), paths alone are believed.
        """
        rows = zip(catalog.paths, prints or [""] * len(catalog))
        return {
            path: self.places[path]
            for path, print_ in rows
            if path in self.places
            and (prints is None or is_close(print_, self.places[path].fingerprint))
        }


def shipped_file(kind: str) -> Path:
    """Return where the frozen split of a kind ships."""
    return FOLDER / f"{kind}_split.csv"


def write_frozen(path: Path, frozen: Frozen) -> None:
    """Write a split as CSV, sorted by path."""
    with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
        file.write(f"# {frozen.about}\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for name, place in sorted(frozen.places.items()):
            fold = place.fold if place.part != DROPPED else ""
            writer.writerow((name, place.fingerprint, place.group, fold, place.part))


def read_frozen(path: Path) -> Frozen:
    """Read what `write_frozen` wrote, and check that it keeps its promise.

    Raises:
        InputError: the file is missing or damaged, or a group of it lies in two folds or parts.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            about = file.readline().removeprefix("#").strip()
            places = {row["path"]: _place(row) for row in csv.DictReader(file)}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{path} is not a frozen split ({type(error).__name__}: {error}). Take the "
            "repository's own, or make one with `python -m src data split`."
        ) from error
    used = [place for place in places.values() if place.part != DROPPED]
    where: dict[str, set] = {}
    for place in used:
        where.setdefault(place.group, set()).add((place.fold, place.part))
    torn = sorted(group for group, seats in where.items() if len(seats) > 1)
    if torn:
        count = sum(place.group in torn for place in used)
        raise InputError(
            f"{path} tears {len(torn)} groups ({count} images) apart, the first {torn[0]}: "
            "training and testing would share patients or images. Take the repository's own file."
        )
    return Frozen(about, places)


def _place(row: dict[str, str]) -> Place:
    if row["part"] not in _PARTS:
        raise ValueError(f"part {row['part']!r}")
    int(row["fingerprint"], 16)
    fold = -1 if row["part"] == DROPPED else int(row["fold"])
    if not -1 <= fold < FOLDS:
        raise ValueError(f"fold {fold}")
    return Place(row["fingerprint"], row["group"], fold, row["part"])
