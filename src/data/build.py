"""Several sources made one folder of images, which everything else reads with `--data`.

    OUT/{glioma,meningioma,notumor,pituitary}/figshare_00001.jpg      the images
    OUT/masks/figshare_00001.png      lesions, where the source has them
    OUT/catalogue.csv   a row an image: class, source, slice, patient, box, mask
    OUT/left_out.csv    a row a file that was not taken: why, and the copy that was
    OUT/source.json     what was merged, and how

Files of images are copied as they are; a .mat file becomes an 8-bit gray PNG.
"""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from src.common.errors import InputError
from src.data.catalog import find_root
from src.data.provenance import SHIPPED, Origin, fingerprints, is_close, read_table
from src.data.similarity import FLIPS, Pairs, find_pairs
from src.data.sources import SourceImage, read_source
from src.data.sources.looks import look_at_source
from src.data.thumbnails import Thumbnails

# Of a slice that two sources have, the copy of the earlier one stays. figshare publishes patients,
# boxes and masks; SARTAJ and Br35H are what the merge was made of.
ORDER = ("figshare", "sartaj", "br35h", "merge")
FIGSHARE = ORDER[0]
CONTRADICTED = "figshare contradicts its class"
COPY = "a copy"
WRONG_COPY = "a copy, under a class that figshare contradicts"
UNDECIDED = "one slice under two classes, and figshare does not know it"


@dataclass(frozen=True)
class LeftOut:
    """Why an image is not taken; for a copy, the image that stands for it and how alike they are.

    Attributes:
        reason: one clause.
        copy_of: row of the image that stays; None where it was not left out as a copy.
        whole, detail: correlations, as `Pairs` has them.
        flip: what makes them largest, one of FLIPS.
    """

    reason: str
    copy_of: int | None = None
    whole: float = 0.0
    detail: float = 0.0
    flip: str = ""


@dataclass(frozen=True, eq=False)
class Merged:
    """All images of all sources, in ORDER, and what is known of them.

    Attributes:
        images: N.
        origins: row -> figshare slice, of images of the merge that the shipped table knows.
        left_out: row -> why it is not taken.
    """

    images: list[SourceImage]
    origins: dict[int, Origin]
    left_out: dict[int, LeftOut]

    @property
    def kept(self) -> list[int]:
        """Rows of the images that are taken."""
        return [row for row in range(len(self.images)) if row not in self.left_out]

    def slice(self, row: int) -> str:
        """Return the number of the figshare slice that an image shows, or ""."""
        if self.images[row].source == FIGSHARE:
            return self.images[row].name
        return self.origins[row].slice if row in self.origins else ""

    def patient(self, row: int) -> str:
        """Return an image's patient, or "" where nobody knows."""
        return self.origins[row].patient if row in self.origins else self.images[row].patient


def merge_sources(folders: dict[str, Path]) -> Merged:
    """Read sources and decide which images stay. Nothing is written.

    Left out are files that cannot be read, images of the merge whose label figshare contradicts,
    and copies: the same slice, by the audit's rule, as an image of an earlier source.

    Args:
        folders: source -> where it lies; sources of ORDER.
    Raises:
        InputError: a folder holds another source, or none, or the cache cannot be written.
    """
    images: list[SourceImage] = []
    looks: list[Thumbnails] = []
    left_out: dict[int, LeftOut] = {}
    for source in ORDER:
        if source in folders:
            found = _read(source, folders[source])
            thumbnails, bad = look_at_source(found)
            left_out |= {len(images) + row: LeftOut(why) for row, why in bad.items()}
            images += found
            looks.append(thumbnails)
    seen = np.array([row for row in range(len(images)) if row not in left_out])
    thumbnails = _joined(looks)
    origins = _known(images, seen, thumbnails)
    left_out |= _contradicted(images, origins)
    trusted = np.array([row not in left_out for row in seen])
    seen = seen[trusted]
    left_out |= _copies(images, origins, seen, find_pairs(thumbnails.of(trusted)))
    return Merged(images, origins, left_out)


def _read(source: str, folder: Path) -> list[SourceImage]:
    if source == "merge" and folder.is_dir():
        folder = find_root(folder)  # from there the shipped table's paths start
    images = read_source(folder)
    if images[0].source != source:
        raise InputError(
            f"--{source} {folder} holds {images[0].source}. Give it as --{images[0].source}."
        )
    return images


def _joined(looks: list[Thumbnails]) -> Thumbnails:
    names = [field.name for field in fields(Thumbnails)]
    return Thumbnails(*(np.concatenate([getattr(one, name) for one in looks]) for name in names))


def _known(
    images: list[SourceImage], seen: np.ndarray, thumbnails: Thumbnails
) -> dict[int, Origin]:
    """Return row -> origin of the images of the merge that the shipped table knows."""
    if not SHIPPED.exists():
        return {}
    origins, prints = read_table()
    rows = [
        (place, row)
        for place, row in enumerate(seen)
        if images[row].source == "merge" and images[row].name in origins
    ]
    if not rows:
        return {}
    here = fingerprints(thumbnails.whole[[place for place, _ in rows]])
    return {
        int(row): origins[images[row].name]
        for (_, row), print_ in zip(rows, here)
        if is_close(print_, prints[images[row].name])
    }


def _contradicted(images: list[SourceImage], origins: dict[int, Origin]) -> dict[int, LeftOut]:
    return {
        row: LeftOut(CONTRADICTED)
        for row, origin in origins.items()
        if origin.label != images[row].label
    }


def _copies(
    images: list[SourceImage], origins: dict[int, Origin], seen: np.ndarray, pairs: Pairs
) -> dict[int, LeftOut]:
    """Return the copies of what an earlier source has, and what two sources class differently."""
    same = pairs.where(pairs.same)
    sources = np.array([ORDER.index(images[row].source) for row in seen])
    labels = np.array([images[row].label for row in seen])
    stands = stand_ins(sources, same)
    found: dict[int, LeftOut] = {}
    for place, pair in stands.items():
        other = int(same.first[pair])
        row, kept = int(seen[place]), int(seen[other])
        whole, detail = float(same.whole[pair]), float(same.detail[pair])
        alike = (kept, whole, detail, FLIPS[same.flip[pair]])
        if labels[place] == labels[other]:
            found[row] = LeftOut(COPY, *alike)
        elif images[kept].source == FIGSHARE or kept in origins:
            found[row] = LeftOut(WRONG_COPY, *alike)
        else:
            found[row] = found[kept] = LeftOut(UNDECIDED)
    return found


def stand_ins(sources: np.ndarray, same: Pairs) -> dict[int, int]:
    """Return image -> pair with the image that stays in its place, of the images that are copies.

    A slice that one source alone has stays as often as it is there (a split keeps its copies
    together). One that two sources have stays once; but figshare's slices are never taken for one
    another, as their numbers say that each is another slice.

    Args:
        sources: (N,) int, places in ORDER, ascending.
        same: pairs of these images that show one slice.
    """
    across = sources[same.first] != sources[same.second]
    shared = np.zeros(len(sources), bool)
    shared[same.first[across]] = shared[same.second[across]] = True
    alike = np.maximum(same.whole, same.detail)
    may_stand = across | (
        (sources[same.first] != ORDER.index(FIGSHARE)) & (shared[same.first] | shared[same.second])
    )
    pairs_of: dict[int, list[int]] = {}
    for pair in np.flatnonzero(may_stand):
        pairs_of.setdefault(int(same.second[pair]), []).append(int(pair))
    found: dict[int, int] = {}
    for image in sorted(pairs_of):  # earlier images are settled first
        kept = [pair for pair in pairs_of[image] if int(same.first[pair]) not in found]
        if kept:
            found[image] = max(kept, key=lambda pair: alike[pair])
    return found
