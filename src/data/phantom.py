"""The built-in dataset: synthetic head MRI in the Kaggle layout, for when there is no other.

Four classes, several slices a patient, lesions where each class has them. Patients of Testing are
never in Training. Files are named `Tr-gl_p0012_s3.jpg`: class, patient, slice. `phantom.json`
beside them marks the folder as a phantom and says where each lesion is.
"""

import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from src.config import CLASS_NAMES
from src.data.cache import cache_folder, progress
from src.data.catalog import SPLITS
from src.data.phantom_head import CONTRASTS, SELLA, VIEWS, Lesion, Patient, brain_radius, draw_slice
from src.errors import InputError
from src.files import make_folder, write_json

MARKER = "phantom.json"
VERSION = 1  # of the drawing; a change of what is drawn changes it, so that caches are not stale
COUNT, SIZE, SEED = 400, 192, 0  # the built-in set
SLICES = 4  # of a patient
TEST_SHARE = 0.2
SMALLEST_COUNT = 40  # every class needs a few patients in training, validation and testing


def draw_patient(kind: str, *words: int) -> Patient:
    """Return the patient of class `kind` that `words` (seed, split, number) name."""
    draw = np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))
    between = draw.uniform
    views = VIEWS[1:] if kind == "pituitary" else VIEWS
    view = views[draw.integers(len(views))]
    contrast = CONTRASTS[draw.choice(3, p=(0.6, 0.2, 0.2))]
    return Patient(
        view=view,
        contrast=contrast,
        tilt=np.deg2rad(draw.normal(0, 5)),
        shift=(between(-0.05, 0.05), between(-0.05, 0.05)),
        scale=(between(0.90, 1.08), between(0.90, 1.08)),
        ventricles=between(0.7, 1.9),
        atrophy=between(0, 1),
        sigma=between(0.012, 0.045),
        bias=between(0.04, 0.16),
        blur=between(0.3, 0.9),
        noise=int(draw.integers(2**63)),
        lesion=_draw_lesion(kind, view, draw),
    )


def _draw_lesion(kind: str, view: str, draw: np.random.Generator) -> Lesion | None:
    between = draw.uniform
    wobble = tuple(between(0, 0.35, 4))
    side = draw.choice((-1, 1))
    if kind == "notumor":
        return None
    if kind == "pituitary":
        x, y = SELLA[view]
        radius = between(0.10, 0.20)
        return Lesion(kind, x, y - 0.4 * radius, radius, between(0.75, 1.0), wobble)
    if kind == "glioma":
        radius = between(0.13, 0.27)
        angle = np.deg2rad(between(15, 75)) * draw.choice((-1, 1)) * side
        angle = np.deg2rad(between(0, 360)) if view == "axial" else np.deg2rad(between(190, 350))
        place = between(0.40, 0.65)
    else:
        radius = between(0.12, 0.23)
        if view != "sagittal" and draw.random() < 0.25:  # on the falx
            y = between(-0.60, -0.42)
            return Lesion(kind, side * 0.25 * radius, y, radius, between(0.75, 1.0), wobble)
        angle = np.deg2rad(between(0, 360)) if view == "axial" else np.deg2rad(between(185, 355))
        place = None
    (x0, y0), rim = brain_radius(view, angle)
    reach = rim * place if place else rim - 0.45 * radius
    x, y = x0 + reach * np.cos(angle), y0 + reach * np.sin(angle)
    return Lesion(kind, float(x), float(y), radius, between(0.7, 1.0), wobble)


def default_phantom() -> Path:
    """Return the folder of the built-in set; drawn into the cache folder when it is not there."""
    root = cache_folder("phantom") / f"phantom-{VERSION}-{COUNT}-{SIZE}-{SEED}"
    if not (root / MARKER).exists():
        write_phantom(root, COUNT, SIZE, SEED)
    return root


def write_phantom(root: Path, count: int = COUNT, size: int = SIZE, seed: int = SEED) -> Path:
    """Draw a phantom set; `root` appears only when it is complete.

    Args:
        root: a folder that is missing or empty.
        count: images, four fifths of them in Training, the classes in turn.
        size: S, pixels.
        seed: the same seed, size and count give the same pixels; a larger count adds patients.

    Raises:
        InputError: `root` holds something or cannot be written, or a number makes no sense.
    """
    root = Path(root).expanduser()
    if count < SMALLEST_COUNT:
        raise InputError(f"A phantom set needs at least {SMALLEST_COUNT} images. Received: {count}.")
    if not 32 <= size <= 2048:
        raise InputError(f"Phantom slices must be 32 to 2048 px wide. Received: {size}.")
    if seed < 0:
        raise InputError(f"The seed must be 0 or more. Received: {seed}.")
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InputError(f"{root} is not an empty folder: choose another with --out.")
    parent = make_folder(root.parent)
    temporary = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=parent))
    try:
        temporary.chmod(0o755)
        slices = list(_plan(count))
        for split in SPLITS:
            for name in CLASS_NAMES:
                (temporary / split / name).mkdir(parents=True)

        def write(one: tuple) -> tuple[str, dict]:
            path, words, kind, number = one
            patient = draw_patient(kind, seed, *words)
            depth = 2.0 * number / (SLICES - 1) - 1.0
            pixels = draw_slice(patient, 0.9 * depth, size, _noise_seed(seed, words, number))
            Image.fromarray(pixels).save(temporary / path, quality=92)
            return path, _truth(patient, words, number)

        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            done = dict(progress(pool.map(write, slices), count, "Drawing phantom heads"))
        write_json(
            temporary / MARKER,
            {"version": VERSION, "count": count, "size": size, "seed": seed, "images": done},
        )
        _settle(temporary, root)
    except OSError as error:
        raise InputError(f"Cannot write the phantom set to {root}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return root


def _settle(temporary: Path, root: Path) -> None:
    """Rename the finished folder; if another process was first, its copy is the same."""
    try:
        temporary.replace(root)
    except OSError:
        if not (root / MARKER).exists():
            raise


def _plan(count: int):
    """Yield (path, seed words, class, slice number) of each image."""
    tests = max(len(CLASS_NAMES), round(count * TEST_SHARE))
    for part, (split, images) in enumerate(zip(SPLITS, (count - tests, tests))):
        for image in range(images):
            label, turn = image % len(CLASS_NAMES), image // len(CLASS_NAMES)
            patient, number = divmod(turn, SLICES)
            name = CLASS_NAMES[label]
            file = f"{split[:2]}-{name[:2]}_p{patient:04}_s{number}.jpg"
            yield f"{split}/{name}/{file}", (part, label, patient), name, number


def _noise_seed(seed: int, words: tuple, number: int) -> int:
    return int(np.random.SeedSequence((seed, *words, number, 1)).generate_state(1, np.uint64)[0])


def _truth(patient: Patient, words: tuple, number: int) -> dict:
    """Return what is known of a slice, as JSON; the lesion in shares of the image's side."""
    return {"patient": "{}-{}-{}".format(*words), "slice": number, "view": patient.view,
            "contrast": patient.contrast}  # fmt: skip
