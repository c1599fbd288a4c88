"""The built-in dataset: synthetic head MRI in the Kaggle layout, for when there is no other.

Four classes, several slices a patient, lesions where each class has them. Patients of Testing are
never in Training. Files are named `Tr-gl_p0012_s3.jpg`: class, patient, slice. `phantom.json`
beside them marks the folder as a phantom and says, for each image, its patient and lesion.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from threadpoolctl import threadpool_limits

from src.config import CLASS_NAMES
from src.data.cache import cache_folder, in_threads, progress
from src.data.catalog import SPLITS
from src.data.phantom_head import CONTRASTS, SELLA, VIEWS, Patient, brain_radius, draw_slice
from src.data.phantom_lesion import Lesion
from src.data.phantom_paint import generator
from src.errors import InputError
from src.files import make_folder, write_json

MARKER = "phantom.json"
VERSION = 4  # of the drawing: raised whenever the pixels change, so that no cache is stale
COUNT, SIZE, SEED = 400, 192, 0  # the built-in set: 320 to train, 80 to test
SLICES = 4  # of a patient
TEST_SHARE = 0.2
SMALLEST_COUNT = 40  # so that every class has a few images to train, validate and test


def default_phantom() -> Path:
    """Return the folder of the built-in set, drawn into the cache folder if it is not there."""
    root = cache_folder("phantom") / f"phantom-{VERSION}-{COUNT}-{SIZE}-{SEED}"
    if not (root / MARKER).exists():
        write_phantom(root, COUNT, SIZE, SEED)
    return root


def write_phantom(root: Path, count: int = COUNT, size: int = SIZE, seed: int = SEED) -> Path:
    """Draw a phantom set; `root` appears only when it is complete.

    Args:
        root: a folder that is missing or empty.
        count: images, a fifth of them in Testing, the classes in turn.
        size: S, pixels.
        seed: the same seed and size give the same patients; a larger count adds more.

    Raises:
        InputError: `root` holds something or cannot be written, or a number makes no sense.
    """
    root = Path(root).expanduser()
    _check(root, count, size, seed)
    parent = make_folder(root.absolute().parent)
    temporary = Path(tempfile.mkdtemp(prefix=f".{root.name}.", suffix=".tmp", dir=parent))
    try:
        temporary.chmod(0o755)  # mkdtemp's own is for its maker alone
        for split in SPLITS:
            for name in CLASS_NAMES:
                (temporary / split / name).mkdir(parents=True)
        facts = _draw_all(temporary, count, size, seed)
        about = {"version": VERSION, "count": count, "size": size, "seed": seed}
        write_json(temporary / MARKER, {**about, "images": facts})
        _settle(temporary, root)
    except OSError as error:
        raise InputError(
            f"Cannot write the phantom set to {root}: {error.strerror or error}. "
            "Choose another folder with --out, or free some space."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return root


def draw_patient(kind: str, *words: int) -> Patient:
    """Return the patient of class `kind` that `words` (seed, part, class, number) name."""
    draw = generator(*words)
    between = draw.uniform
    # View and contrast tell nothing of the class, but that no axial slice here shows the sella.
    views = VIEWS[1:] if kind == "pituitary" else VIEWS
    view = views[draw.integers(len(views))]
    size = between(0.98, 1.16) if view == "axial" else between(0.94, 1.08)
    return Patient(
        view=view,
        contrast=CONTRASTS[draw.choice(3, p=(0.8, 0.1, 0.1))],
        tilt=float(np.deg2rad(draw.normal(0, 5))),
        shift=(between(-0.05, 0.05), between(-0.05, 0.05)),
        scale=(size * between(0.96, 1.04), size),
        ventricles=between(0.7, 1.9),
        atrophy=between(0, 1),
        sigma=between(0.012, 0.045),
        bias=between(0.04, 0.16),
        blur=between(0.3, 0.9),
        noise=int(draw.integers(2**63)),
        lesion=None if kind == "notumor" else _draw_lesion(kind, view, draw),
    )


def _draw_lesion(kind: str, view: str, draw: np.random.Generator) -> Lesion:
    between = draw.uniform
    wobble = tuple(between(0, 0.35) for _ in range(4))
    strength = between(0.8, 1.0)
    if kind == "pituitary":
        x, y = SELLA[view]
        radius = between(0.09, 0.17)
        return Lesion(kind, x, y - 0.4 * radius, radius, strength, wobble)
    if kind == "meningioma" and view != "sagittal" and draw.random() < 0.25:
        radius, side = between(0.12, 0.21), draw.choice((-1, 1))
        x, y = side * 0.25 * radius, between(-0.60, -0.42)
        return Lesion(kind, float(x), y, radius, strength, wobble, on_falx=True)
    radius = between(0.14, 0.28) if kind == "glioma" else between(0.12, 0.23)
    # Below the brain of the other views lies the skull base.
    angle = np.deg2rad(between(0, 360) if view == "axial" else between(187, 353))
    (x, y), rim = brain_radius(view, angle)
    reach = rim * between(0.40, 0.65) if kind == "glioma" else rim - 0.45 * radius
    x, y = x + reach * np.cos(angle), y + reach * np.sin(angle)
    return Lesion(kind, float(x), float(y), radius, strength, wobble)


def _check(root: Path, count: int, size: int, seed: int) -> None:
    if count < SMALLEST_COUNT:
        raise InputError(f"A phantom set needs {SMALLEST_COUNT} images or more. Received: {count}.")
    if not 32 <= size <= 2048:
        raise InputError(f"Phantom slices must be 32 to 2048 px wide. Received: {size}.")
    if seed < 0:
        raise InputError(f"The phantom's seed must be 0 or more. Received: {seed}.")
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InputError(f"{root} is not an empty folder. Choose another with --out.")


def _draw_all(folder: Path, count: int, size: int, seed: int) -> dict[str, dict]:
    """Write every image below `folder`; return what is known of each, by path."""

    def draw_one(one: tuple) -> tuple[str, dict]:
        path, kind, words, number = one
        patient = draw_patient(kind, seed, *words)
        depth = 0.9 * (2.0 * number / (SLICES - 1) - 1.0)
        noise = generator(seed, *words, number).integers(2**63)
        pixels, box = draw_slice(patient, depth, size, int(noise))
        Image.fromarray(pixels).save(folder / path, quality=92)
        return path, {
            "patient": "-".join(map(str, words)),
            "view": patient.view,
            "contrast": patient.contrast,
            "box": box and [round(float(side), 4) for side in box],
        }

    # The matrix products are small: each is faster, and surely the same, on one thread.
    with threadpool_limits(1, "blas"):
        done = in_threads(draw_one, list(_plan(count)))
        return dict(progress(done, count, "Drawing phantom heads"))


def _plan(count: int) -> Iterator[tuple[str, str, tuple[int, int, int], int]]:
    """Yield (path, class, words that name the patient, slice) of each image."""
    tests = round(count * TEST_SHARE)
    for part, (split, images) in enumerate(zip(SPLITS, (count - tests, tests))):
        for image in range(images):
            turn, label = divmod(image, len(CLASS_NAMES))
            patient, number = divmod(turn, SLICES)
            kind = CLASS_NAMES[label]
            file = f"{split[:2]}-{kind[:2]}_p{patient:04}_s{number}.jpg"
            yield f"{split}/{kind}/{file}", kind, (part, label, patient), number


def _settle(temporary: Path, root: Path) -> None:
    """Give the finished folder its name; another process's copy, if first, is the same."""
    try:
        temporary.replace(root)
    except OSError:
        if not (root / MARKER).exists():
            raise
