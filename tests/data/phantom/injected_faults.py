"""Faults put into a phantom set on purpose, with the truth kept, so that an audit can be graded.

Copies may be copies of copies. They lie in the other part or in their source's, in turn.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from src.common.files import read_json, write_json
from src.config import CLASS_NAMES
from src.data.augment import generator
from src.data.phantom.write import MARKER, draw_file, write_phantom

COPIES = ("duplicate", "mirrored", "brightened", "conflict")  # kinds that show their source's slice
STEP = 0.6  # of depth, from slice to slice
CHAIN = 4  # every fourth copy is a copy of a copy
_WORD = 9  # no patient's words begin so: parts are 0 and 1


@dataclass(frozen=True)
class Injection:
    """How many images of each fault are added to a phantom set.

    `adjacent` adds one more slice of a patient, next to the first: no copy. `conflicts` are copies
    under another class, `corrupt` files cannot be read.
    """

    duplicates: int = 0
    mirrored: int = 0
    brightened: int = 0
    adjacent: int = 0
    conflicts: int = 0
    corrupt: int = 0


@dataclass(frozen=True)
class DrawnSet:
    """A set that was drawn: its folder, what is known of each image by path, its size and seed."""

    folder: Path
    facts: dict[str, dict]
    size: int
    seed: int


def write_faulty(root: Path, count: int, size: int, seed: int, faults: Injection) -> Path:
    """Write a phantom set with faults on top of `count` images.

    Its marker's `injected` says which file is what of which, and `same_slice` which pairs show one
    slice, copies of copies included.
    """
    marker = write_phantom(root, count, size, seed) / MARKER
    about = read_json(marker)
    injected = inject(DrawnSet(root, about["images"], size, seed), faults)
    write_json(marker, {**about, "injected": injected, "same_slice": same_slice_pairs(injected)})
    return root


def inject(drawn: DrawnSet, faults: Injection) -> list[dict[str, str]]:
    """Add faults to a set, files and facts; return one {"path", "of", "kind"} each."""
    originals = sorted(drawn.facts)
    firsts = [path for path in originals if path.endswith("_s0.jpg")]
    generator(drawn.seed, _WORD).shuffle(firsts)
    injected: list[dict[str, str]] = []
    for number, kind in enumerate(_kinds(faults)):
        random = generator(drawn.seed, _WORD, number)
        copies = [row["path"] for row in injected if row["kind"] in COPIES]
        chained = kind in COPIES and copies and number % CHAIN == CHAIN - 1
        sources = copies if chained else originals
        source = firsts.pop() if kind == "adjacent" else sources[random.integers(len(sources))]
        path = _name(source, kind, number, random)
        _WRITE[kind](drawn, source, path, random)
        injected.append({"path": path, "of": source, "kind": kind})
    return injected


def same_slice_pairs(injected: list[dict[str, str]]) -> list[list[str]]:
    """Return every pair of paths, sorted, that show one slice: copies of copies included."""
    family: dict[str, str] = {}
    for row in injected:
        if row["kind"] in COPIES:  # a copy's source is older, so its family is known
            family[row["path"]] = family.setdefault(row["of"], row["of"])
    members: dict[str, list[str]] = {}
    for path, first in sorted(family.items()):
        members.setdefault(first, []).append(path)
    return sorted(
        [one, other]
        for paths in members.values()
        for number, one in enumerate(paths)
        for other in paths[number + 1 :]
    )


def _kinds(faults: Injection) -> Iterator[str]:
    """Yield the kinds in turn, so that a chain of copies mixes them."""
    left = dict(zip(_WRITE, dataclasses.astuple(faults)))
    while any(left.values()):
        for kind in _WRITE:
            if left[kind]:
                left[kind] -= 1
                yield kind


def _name(source: str, kind: str, number: int, random: np.random.Generator) -> str:
    part, label, _ = source.split("/")
    if number % 2:
        part = "Testing" if part == "Training" else "Training"
    if kind == "conflict":
        label = str(random.choice([name for name in CLASS_NAMES if name != label]))
    return f"{part}/{label}/{part[:2]}-{label[:2]}_{kind}{number:05}.jpg"


def _duplicate(drawn: DrawnSet, source: str, path: str, random: np.random.Generator) -> None:
    (drawn.folder / path).write_bytes((drawn.folder / source).read_bytes())
    drawn.facts[path] = dict(drawn.facts[source])


def _mirrored(drawn: DrawnSet, source: str, path: str, random: np.random.Generator) -> None:
    image = np.asarray(Image.open(drawn.folder / source))
    sideways, upended = ((1, 0), (0, 1), (1, 1))[random.integers(3)]
    image = image[:, ::-1] if sideways else image
    image = image[::-1] if upended else image
    Image.fromarray(image).save(drawn.folder / path, quality=int(random.integers(70, 93)))
    fact = drawn.facts[path] = dict(drawn.facts[source])
    if fact["box"]:
        x, y, *sides = fact["box"]
        centre = (1 - x if sideways else x, 1 - y if upended else y)
        fact["box"] = [round(length, 4) for length in centre] + sides


def _brightened(drawn: DrawnSet, source: str, path: str, random: np.random.Generator) -> None:
    image = np.asarray(Image.open(drawn.folder / source), np.float32)
    brighter = np.clip(image * random.uniform(1.05, 1.2) + random.uniform(0, 8), 0, 255)
    quality = int(random.integers(60, 93))
    Image.fromarray(brighter.astype(np.uint8)).save(drawn.folder / path, quality=quality)
    drawn.facts[path] = dict(drawn.facts[source])


def _adjacent(drawn: DrawnSet, source: str, path: str, random: np.random.Generator) -> None:
    fact = drawn.facts[source]
    words = [int(word) for word in fact["patient"].split("-")]
    depth, noise = round(fact["depth"] - STEP, 4), int(random.integers(2**63))
    target = drawn.folder / path
    drawn.facts[path] = draw_file(target, (drawn.seed, *words), depth, drawn.size, noise)


def _corrupt(drawn: DrawnSet, source: str, path: str, random: np.random.Generator) -> None:
    content = (drawn.folder / source).read_bytes()
    cut = content[: int(len(content) * random.uniform(0.05, 0.6))]
    (drawn.folder / path).write_bytes((cut, b"", b"<html>404</html>")[random.integers(3)])


_WRITE = {
    "duplicate": _duplicate,
    "mirrored": _mirrored,
    "brightened": _brightened,
    "adjacent": _adjacent,
    "conflict": _duplicate,
    "corrupt": _corrupt,
}
