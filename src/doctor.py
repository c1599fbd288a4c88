"""Has this machine what the experiment needs? One finding at a time, the quick ones first."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src.common import hardware
from src.common.cache import ADVICE
from src.common.errors import InputError
from src.common.files import cache_dir, file_sha256, make_folder
from src.data.catalog import read_catalog
from src.data.folders import find_own_images
from src.data.sources.origin import describe_source
from src.serving.classifier import load_classifier
from src.xception.weight_files import imagenet_file

ROOT = Path(__file__).resolve().parents[1]
GOOD, NOTE, BAD = "ok", "note", "FAILED"
_FRAMEWORKS = ("tensorflow", "keras", "torch", "torchvision", "timm")
_ALL = "python -m pip install -r requirements.txt"
_ROOM = 10e9  # bytes: the cache's outputs at 224 px, and a few runs
# torchvision loaded after TensorFlow ends the process; the notebooks load both in this order.
_BOTH = "from src.notebook.setup import both_twins; both_twins()"


class Finding(NamedTuple):
    """What was looked at, and whether it is there: `GOOD`, `NOTE` (something less) or `BAD`."""

    state: str
    what: str
    says: str


def examine(data_dir: Path | None = None) -> Iterator[Finding]:
    """Yield what this machine has: libraries, processor, room, images, weights, working twins.

    Takes about two minutes on two CPU cores, most of it for two training steps of each twin.
    """
    for what, look in (
        ("python", _python),
        ("processor", _processor),
        ("room", _room),
        ("images", lambda: _images(data_dir)),
        ("weights", _weights),
        ("predict", _predict),
        ("frameworks", _frameworks),
    ):
        yield _finding(what, look)
    if not _missing(_FRAMEWORKS):
        yield _finding("together", _together)
        yield _finding("training", _training)


def _finding(what: str, look: Callable[[], tuple[str, str]]) -> Finding:
    try:
        state, says = look()
        return Finding(state, what, says)
    except ModuleNotFoundError as error:
        return Finding(NOTE, what, f"needs {error.name}, which is not installed. {_ALL}")
    except (InputError, OSError, ImportError) as error:
        return Finding(BAD, what, str(error))


def _missing(names: tuple[str, ...]) -> list[str]:
    return [name for name in names if not importlib.util.find_spec(name)]


def _python() -> tuple[str, str]:
    version = f"{platform.python_version()}, {platform.platform(terse=True)}"
    if (3, 11) <= sys.version_info < (3, 14):
        return GOOD, version
    return NOTE, f"{version}. Use Python 3.11 to 3.13 if something fails."


def _processor() -> tuple[str, str]:
    machine = hardware.name(hardware.describe(None))
    if hardware.missing_arithmetic("bfloat16", None):
        return NOTE, f"{machine}. It lacks bfloat16 arithmetic: train in float32, the default."
    has = hardware.cpu_flags()  # which not every system lists
    return GOOD, f"{machine}. It has bfloat16 arithmetic: --precision bfloat16" if has else machine


def _room() -> tuple[str, str]:
    folders = {"cache": make_folder(cache_dir(), ADVICE), "here": Path.cwd()}
    free = {name: shutil.disk_usage(folder).free for name, folder in folders.items()}
    says = f"{free['cache'] / 1e9:.0f} GB free for {cache_dir()}, {free['here'] / 1e9:.0f} GB here"
    if min(free.values()) > _ROOM:
        return GOOD, says
    return NOTE, f"{says}. Free {_ROOM / 1e9:.0f} GB, or set BRAIN_TUMOR_CACHE to another disk."


def _images(data_dir: Path | None) -> tuple[str, str]:
    folder = find_own_images(data_dir)
    if folder is None:
        return NOTE, (
            "none, so the synthetic phantom set is used. Get the Kaggle dataset: "
            "python -m src data download"
        )
    catalog = read_catalog(folder)
    about = f"{describe_source(catalog)['variant']}; fingerprint {catalog.fingerprint[:12]}"
    return GOOD, f"{len(catalog)} in {catalog.root}: {about}"


def _weights() -> tuple[str, str]:
    path = imagenet_file()
    if path.is_file():
        return GOOD, f"ImageNet's in {path}, SHA-256 {file_sha256(path)[:12]}"
    return NOTE, "ImageNet's are not here; --init imagenet fetches them once (84 MB)"


def _predict() -> tuple[str, str]:
    if missing := _missing(("onnx", "onnxruntime")):
        command = "python -m pip install -r src/serving/requirements/predict.txt"
        return BAD, f"{' and '.join(missing)} not installed: {command}"
    started = time.perf_counter()
    y, x = np.ogrid[:192, :192]
    disc = np.where((y - 96) ** 2 + (x - 96) ** 2 < 70**2, np.uint8(110), np.uint8(0))
    label = load_classifier().predict(disc).label or "no answer"
    seconds = time.perf_counter() - started
    return GOOD, f"the shipped model answers ({label} to a gray disc) in {seconds:.1f} s"


def _frameworks() -> tuple[str, str]:
    if missing := _missing(_FRAMEWORKS):
        return NOTE, f"{', '.join(missing)} not installed: no training here. {_ALL}"
    modules = importlib.metadata.packages_distributions()  # tensorflow-cpu is TensorFlow, too
    versions = [importlib.metadata.version(modules[name][0]) for name in _FRAMEWORKS]
    return GOOD, ", ".join(map(" ".join, zip(_FRAMEWORKS, versions)))


def _together() -> tuple[str, str]:
    command = [sys.executable, "-c", _BOTH]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode == 0:
        return GOOD, "both load in one process (torchvision first, as the notebooks do)"
    why = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
    return BAD, f"they do not load in one process: {why[0]}. Notebooks 04 to 06 need it. {_ALL}"


def _training() -> tuple[str, str]:
    # Here: they load matplotlib, which whoever only predicts does not have.
    from src.comparison.parity.measure import measure_parity
    from src.comparison.parity.settings import GREEN, parity_config
    from src.data.phantom.write import default_phantom

    os.environ.pop("BRAIN_TUMOR_MAP", None)  # of --map: it is for the user's images
    fields = {"image_size": 71, "batch_size": 4, "init": "pretrained", "reinit": ("block14",)}
    measured = measure_parity(parity_config(steps=2, **fields), default_phantom())
    tf, pt = (measured["steps"][-1][f"loss_{name}"] for name in ("tf", "pt"))
    says = (
        f"two steps of each twin, loss {tf:.5f} (TensorFlow) and {pt:.5f} (PyTorch); the gap is "
        f"{measured['largest_ratio']:.2g} times the floor"
    )
    if measured["verdict"] == GREEN:
        return GOOD, says
    return BAD, f"{says}, more than rounding explains. Install the tested versions: {_ALL}"
