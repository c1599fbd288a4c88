"""Weight files: fetched, read as NumPy arrays under Keras's names, written. Nothing is unpickled.

Read: this project's safetensors, timm's safetensors, Keras's published h5, and timm's pth.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from src.common.cache import cache_folder
from src.common.errors import InputError, reason_of
from src.common.files import atomic_write, with_home
from src.common.lock import one_writer
from src.xception.blocks import BACKBONE_TENSORS

SUFFIXES = (".safetensors", ".h5", ".pth", ".pt")
LONGEST = 300  # s, for a file that is read in a process of its own
# Source: keras/src/applications/xception.py, TF_WEIGHTS_PATH_NO_TOP and its file hash.
FILE = "xception_weights_tf_dim_ordering_tf_kernels_notop.h5"
URL = f"https://storage.googleapis.com/tensorflow/keras-applications/xception/{FILE}"
MD5 = "b0042744bf5b25fce3cb969f33bebb97"

# The shipped classifier, in the files of any saved model; see its README.
PRETRAINED = Path(__file__).resolve().parents[1] / "pretrained"
TRAIN_ONE = (  # what to do instead, to predict or to export
    "train one with `python -m src train --framework pt --out RUN` and give it with --model RUN"
)

Weights = dict[str, np.ndarray]


def pretrained_folder(instead: str) -> Path:
    """Return the folder of the shipped classifier.

    Raises:
        InputError: its weights are not there; the message says to do what `instead` says.
    """
    if not (PRETRAINED / "model.safetensors").is_file():
        raise InputError(
            f"The shipped model is missing in {PRETRAINED}: bring it back with `git checkout "
            f"src/pretrained`, or {instead}."
        )
    return PRETRAINED


def is_pretrained(folder: Path) -> bool:
    """Tell whether `folder` is the shipped classifier's."""
    return Path(folder).resolve() == PRETRAINED.resolve()


def read_weights(path: Path) -> Weights:
    """Read Xception's weights from a file of any supported kind.

    Returns:
        Arrays in Keras's axis order by Keras's names; whatever the file holds, possibly not all.
    Raises:
        InputError: the file is missing, truncated, or of a kind that is not read.
    """
    path = check_file(path)
    suffix = path.suffix.lower()
    if suffix == ".h5":
        return _read_elsewhere(path, "src.xception.keras_h5")
    pickled = suffix in (".pth", ".pt")
    arrays = _read_elsewhere(path, "src.xception.timm_pth") if pickled else load_arrays(path)
    if any(tensor.name in arrays for tensor in BACKBONE_TENSORS):
        return arrays
    return from_timm(arrays, str(path))


def check_file(path: Path) -> Path:
    """Return `path`, unread, if `read_weights` may read it.

    Raises:
        InputError: there is no such file, or it is of a kind that is not read.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"No weights file at {path}. Give --init the path of a {', '.join(SUFFIXES)} file, "
            "--init imagenet to fetch Keras's, or --init scratch to start randomly initialised."
        )
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            f"Cannot say what kind of weights {path} holds from its ending {suffix!r}. "
            f"Expected one of: {', '.join(SUFFIXES)}."
        )
    return path


def write_safetensors(
    path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write `arrays` to one file, whole or not at all."""
    # Not `ascontiguousarray`, which turns a number into an array of one.
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    with atomic_write(path) as temporary:
        try:
            save_file(contiguous, temporary, metadata=dict(metadata or {}))
        except SafetensorError as error:  # its way to say that the disk is full
            raise OSError(str(error)) from error
        temporary.chmod(0o644)  # as other files; safetensors' can be read by nobody else


def load_arrays(path: Path) -> Weights:
    """Read a safetensors file.

    Raises:
        InputError: it is missing, truncated or of another format.
    """
    try:
        return load_file(path)
    except FileNotFoundError:
        raise InputError(f"No such file: {path}.") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"{path} is not a whole safetensors file ({reason_of(error)}). It may be truncated: "
            "copy or fetch it again."
        ) from error


def from_timm(arrays: Mapping[str, np.ndarray], source: str) -> Weights:
    """Rename and transpose a state dict of timm's `legacy_xception`.

    Raises:
        InputError: none of its names is known.
    """
    known = {tensor.torch_name: tensor for tensor in BACKBONE_TENSORS}
    weights = {
        known[name].name: known[name].from_torch(array)
        for name, array in arrays.items()
        if name in known and array.ndim == len(known[name].shape)
    }
    if not weights:
        raise InputError(
            f"{source} holds no tensor of Xception. Expected names like "
            f"{BACKBONE_TENSORS[0].name} (Keras) or {BACKBONE_TENSORS[0].torch_name} (timm's "
            f"legacy_xception). Received: {', '.join(sorted(arrays)[:3]) or 'nothing'}."
        )
    return weights


def digest(weights: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 over names and values, independent of order."""
    total = hashlib.sha256()
    for name in sorted(weights):
        total.update(name.encode())
        total.update(np.ascontiguousarray(weights[name]).tobytes())
    return total.hexdigest()


def imagenet_file(md5: str = MD5) -> Path:
    """Return where the cache keeps the ImageNet weights, fetched or not."""
    return cache_folder("weights") / f"xception-imagenet-{md5[:8]}.safetensors"


def fetch_imagenet(url: str = URL, md5: str = MD5) -> Path:
    """Return the ImageNet weights without classifier as a safetensors file in the cache.

    A copy that Keras has already downloaded is used before the network is.

    Raises:
        InputError: no network, or the file received is not the published one.
    """
    converted = imagenet_file(md5)
    folder = converted.parent
    if _is_whole(converted):
        return converted
    with one_writer(converted):
        if _is_whole(converted):  # another process made it meanwhile
            return converted
        kept = with_home(os.environ.get("KERAS_HOME", "~/.keras")) / "models" / FILE
        whole = kept.is_file() and hashlib.md5(kept.read_bytes()).hexdigest() == md5
        published = kept if whole else _download(url, md5, folder)
        weights = read_weights(published)
        about = {"source": url, "md5": md5, "sha256": digest(weights)}
        write_safetensors(converted, weights, about)
        if published.parent == folder:
            published.unlink()  # the converted file replaces it
    return converted


def _is_whole(converted: Path) -> bool:
    """Tell whether the cache holds what was fetched: its SHA-256 lies in the file itself."""
    try:
        with safe_open(converted, "np") as file:
            metadata = file.metadata() or {}
        found = digest(load_arrays(converted))
        return metadata.get("sha256", found) == found  # older ones do not name it
    except (InputError, SafetensorError, OSError):
        return False


def _read_elsewhere(path: Path, module: str) -> Weights:
    """Let `module`, run as a program, turn a file into safetensors, and read that.

    In a process of its own: TensorFlow's must not load PyTorch, and HDF5 can take for ever, and all
    memory, over a damaged file.
    """
    with tempfile.TemporaryDirectory() as folder:
        converted = Path(folder) / "converted.safetensors"
        command = [sys.executable, "-m", module, str(path.resolve()), str(converted)]
        root = Path(__file__).parents[2]
        try:
            result = subprocess.run(
                command, capture_output=True, text=True, cwd=root, timeout=LONGEST
            )
        except subprocess.TimeoutExpired:
            raise InputError(
                f"{path} took more than {LONGEST} s to read. It may be damaged."
            ) from None
        if result.returncode:
            reason = result.stderr.strip().rpartition("\n")[2]
            reason = reason or f"exit code {result.returncode}"
            raise InputError(f"Cannot read the weights file {path}: {reason}")
        return load_arrays(converted)


def convert(read: Callable[[Path], Weights]) -> None:
    """Be the program that `read_weights` runs: convert a file, or exit with why not."""
    try:
        write_safetensors(Path(sys.argv[2]), read(Path(sys.argv[1])))
    except InputError as error:
        sys.exit(str(error).replace("\n", " "))


def _download(url: str, md5: str, folder: Path) -> Path:
    import pooch  # slow to import, needed once
    from tqdm import tqdm

    from src.common.progress import progress_stream

    # pooch's own bar and remarks go to stderr, which a notebook shows as trouble.
    # The bar given instead learns its total from pooch.
    pooch.get_logger().setLevel("WARNING")
    bar = tqdm(total=1, desc=FILE, unit="B", unit_scale=True, delay=0.5, file=progress_stream())
    try:
        return Path(pooch.retrieve(url, f"md5:{md5}", fname=FILE, path=folder, progressbar=bar))
    except (ValueError, OSError) as error:  # requests' errors are OSErrors
        reason = "the file received does not have the published MD5"
        if isinstance(error, OSError):
            kinds = {kind.__name__ for kind in type(error).__mro__}  # by name: requests loads late
            broken = kinds & {"ConnectionError", "Timeout", "ChunkedEncodingError"}
            reason = error.strerror or (f"no network ({type(error).__name__})" if broken else error)
        raise InputError(
            f"Could not fetch the ImageNet weights from {url}: {reason}. Fetch the file on another "
            f"machine and pass it with --init {FILE}, or start randomly initialised with "
            "--init scratch."
        ) from error
