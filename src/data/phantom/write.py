"""The built-in dataset: synthetic head MRI in the Kaggle layout, for when there is no other.

Four classes, several slices per patient, lesions where each class has them. Patients of Testing are
never in Training. Files are named `Tr-gl_p0012_s3.jpg`: class, patient, slice. `phantom.json`
beside them marks the folder as a phantom and holds each image's patient and lesion.
"""

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from src.common.cache import cache_folder, in_threads, progress
from src.common.errors import InputError
from src.common.files import atomic_folder, with_home, write_json
from src.common.lock import one_writer
from src.config import CLASS_NAMES
from src.data.augment import generator
from src.data.folders import SPLITS
from src.data.phantom.anatomy import draw_slice
from src.data.phantom.patient import draw_patient

MARKER = "phantom.json"
VERSION = 7  # of the drawing: raised whenever the pixels change, so that no cache is stale
COUNT, SIZE, SEED = 400, 192, 0  # the built-in set: 320 to train, 80 to test
DEPTHS = (-0.9, -0.3, 0.3, 0.9)  # of a patient's slices; the lesion is widest at 0
SLICES = len(DEPTHS)
TEST_SHARE = 0.2
SMALLEST_COUNT = 40  # so that every class has a few images to train, validate and test


def default_phantom() -> Path:
    """Return the folder of the built-in set, drawn into the cache folder if it is not there."""
    root = cache_folder("phantom") / f"phantom-{VERSION}-{COUNT}-{SIZE}-{SEED}"
    if not is_phantom(root):
        with one_writer(root):
            if not is_phantom(root):  # nobody drew it while this process waited
                write_phantom(root, COUNT, SIZE, SEED)
    return root


def is_phantom(folder: Path) -> bool:
    """Tell whether `folder` holds a set that this program drew."""
    return (folder / MARKER).exists()


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
    root = with_home(root).absolute()
    if count < SMALLEST_COUNT:
        raise InputError(f"A phantom set needs {SMALLEST_COUNT} images or more. Received: {count}.")
    if not 32 <= size <= 2048:
        raise InputError(f"Phantom slices must be 32 to 2048 px wide. Received: {size}.")
    if seed < 0:
        raise InputError(f"The phantom's seed must be 0 or more. Received: {seed}.")
    with atomic_folder(root) as folder:

        def draw(planned: tuple[str, tuple[int, int, int], int]) -> tuple[str, dict]:
            path, patient, number = planned
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            noise = int(generator(seed, *patient, number).integers(2**63))
            return path, draw_file(folder / path, (seed, *patient), DEPTHS[number], size, noise)

        drawn = in_threads(draw, list(_plan(count)))
        images = dict(progress(drawn, count, "Drawing phantom heads"))
        about = {"version": VERSION, "count": count, "size": size, "seed": seed, "images": images}
        write_json(folder / MARKER, about)
    return root


def draw_file(file: Path, seeds: tuple[int, ...], depth: float, size: int, noise: int) -> dict:
    """Write one slice of a patient, as in `draw_patient`; return what `phantom.json` says of it."""
    patient = draw_patient(CLASS_NAMES[seeds[2]], *seeds)
    pixels, box = draw_slice(patient, depth, size, noise)
    Image.fromarray(pixels).save(file, quality=92)
    return {
        "patient": "-".join(map(str, seeds[1:])),
        "depth": depth,
        "view": patient.view,
        "contrast": patient.contrast,
        "box": [round(float(side), 4) for side in box] or None,
    }


def _plan(count: int) -> Iterator[tuple[str, tuple[int, int, int], int]]:
    """Yield (path, (part, class, number) of the patient, slice) of each image."""
    tests = round(count * TEST_SHARE)
    for part, (split, images) in enumerate(zip(SPLITS, (count - tests, tests))):
        for image in range(images):
            turn, label = divmod(image, len(CLASS_NAMES))
            patient, number = divmod(turn, SLICES)
            kind = CLASS_NAMES[label]
            file = f"{split[:2]}-{kind[:2]}_p{patient:04}_s{number}.jpg"
            yield f"{split}/{kind}/{file}", (part, label, patient), number
