"""Faults put into a phantom set on purpose, with the truth kept, so that an audit can be marked.

Copies may be copies of copies. They lie in the other part or in their source's, in turn.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from src.common.errors import InputError
from src.config import CLASS_NAMES
from src.data.phantom.anatomy import draw_slice
from src.data.phantom.painting import generator
from src.data.phantom.patient import draw_patient

COPIES = ("duplicate", "mirrored", "brightened", "conflict")  # kinds that show their source's slice
STEP = 0.6  # of depth, from slice to slice
CHAIN = 4  # every fourth copy is a copy of a copy
SLICES = 4  # of a patient
_WORD = 9  # no patient's words begin so: parts are 0 and 1


def _fault(what: str) -> int:
    return field(default=0, metadata={"help": what})


@dataclass(frozen=True)
class Injection:
    """How many images of each fault are added to a phantom set."""

    duplicates: int = _fault("copies, byte for byte")
    mirrored: int = _fault("copies flipped or turned by 180 degrees, and encoded again")
    brightened: int = _fault("copies made brighter and encoded again")
    adjacent: int = _fault("one more slice of N patients, next to their first: no copies")
    conflicts: int = _fault("copies under another class")
    corrupt: int = _fault("files that cannot be read")

    @property
    def total(self) -> int:
        return sum(dataclasses.astuple(self))

    def check(self, count: int) -> None:
        """Refuse numbers that make no sense for a set of `count` images.

        Raises:
            InputError: one is negative, or more than the images there are to copy.
        """
        for name, number in dataclasses.asdict(self).items():
            most = count // SLICES if name == "adjacent" else count
            if not 0 <= number <= most:
                raise InputError(
                    f"A phantom set of {count} images can be given 0 to {most} {name}. "
                    f"Received: {number}."
                )


@dataclass(frozen=True)
class DrawnSet:
    """A set that was drawn: its folder, what is known of each image by path, its size and seed."""

    folder: Path
    facts: dict[str, dict]
    size: int
    seed: int


def inject(drawn: DrawnSet, faults: Injection) -> list[dict[str, str]]:
    """Add faults to a set, files and facts; return one {"path", "of", "kind"} each."""
    originals = sorted(drawn.facts)
    firsts = [path for path in originals if path.endswith("_s0.jpg")]
    generator(drawn.seed, _WORD).shuffle(firsts)
    injected: list[dict[str, str]] = []
    for number, kind in enumerate(_kinds(faults)):
        draw = generator(drawn.seed, _WORD, number)
        copies = [row["path"] for row in injected if row["kind"] in COPIES]
        chained = kind in COPIES and copies and number % CHAIN == CHAIN - 1
        sources = copies if chained else originals
        source = firsts.pop() if kind == "adjacent" else sources[draw.integers(len(sources))]
        path = _name(source, kind, number, draw)
        _WRITE[kind](drawn, source, path, draw)
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
        for place, one in enumerate(paths)
        for other in paths[place + 1 :]
    )


def _kinds(faults: Injection) -> Iterator[str]:
    """Yield the kinds in turn, so that a chain of copies mixes them."""
    left = dict(zip(_WRITE, dataclasses.astuple(faults)))
    while any(left.values()):
        for kind in _WRITE:
            if left[kind]:
                left[kind] -= 1
                yield kind


def _name(source: str, kind: str, number: int, draw: np.random.Generator) -> str:
    part, label, _ = source.split("/")
    if number % 2:
        part = "Testing" if part == "Training" else "Training"
    if kind == "conflict":
        label = str(draw.choice([name for name in CLASS_NAMES if name != label]))
    return f"{part}/{label}/{part[:2]}-{label[:2]}_{kind}{number:05}.jpg"


def _duplicate(drawn: DrawnSet, source: str, path: str, draw: np.random.Generator) -> None:
    (drawn.folder / path).write_bytes((drawn.folder / source).read_bytes())
    drawn.facts[path] = dict(drawn.facts[source])


def _mirrored(drawn: DrawnSet, source: str, path: str, draw: np.random.Generator) -> None:
    image = np.asarray(Image.open(drawn.folder / source))
    sideways, upended = ((1, 0), (0, 1), (1, 1))[draw.integers(3)]
    image = image[:, ::-1] if sideways else image
    image = image[::-1] if upended else image
    Image.fromarray(image).save(drawn.folder / path, quality=int(draw.integers(70, 93)))
    fact = drawn.facts[path] = dict(drawn.facts[source])
    if fact["box"]:
        x, y, *sides = fact["box"]
        centre = (1 - x if sideways else x, 1 - y if upended else y)
        fact["box"] = [round(place, 4) for place in centre] + sides


def _brightened(drawn: DrawnSet, source: str, path: str, draw: np.random.Generator) -> None:
    image = np.asarray(Image.open(drawn.folder / source), np.float32)
    brighter = np.clip(image * draw.uniform(1.05, 1.2) + draw.uniform(0, 8), 0, 255)
    quality = int(draw.integers(60, 93))
    Image.fromarray(brighter.astype(np.uint8)).save(drawn.folder / path, quality=quality)
    drawn.facts[path] = dict(drawn.facts[source])


def _adjacent(drawn: DrawnSet, source: str, path: str, draw: np.random.Generator) -> None:
    fact = drawn.facts[source]
    words = [int(word) for word in fact["patient"].split("-")]
    patient = draw_patient(CLASS_NAMES[words[1]], drawn.seed, *words)
    depth = round(fact["depth"] - STEP, 4)
    pixels, box = draw_slice(patient, depth, drawn.size, int(draw.integers(2**63)))
    Image.fromarray(pixels).save(drawn.folder / path, quality=92)
    box = box and [round(float(side), 4) for side in box]
    drawn.facts[path] = fact | {"depth": depth, "box": box}


def _corrupt(drawn: DrawnSet, source: str, path: str, draw: np.random.Generator) -> None:
    content = (drawn.folder / source).read_bytes()
    torn = content[: int(len(content) * draw.uniform(0.05, 0.6))]
    (drawn.folder / path).write_bytes((torn, b"", b"<html>404</html>")[draw.integers(3)])


_WRITE = {
    "duplicate": _duplicate,
    "mirrored": _mirrored,
    "brightened": _brightened,
    "adjacent": _adjacent,
    "conflict": _duplicate,
    "corrupt": _corrupt,
}
