"""Weight files -> NumPy arrays under Keras's names. Nothing here unpickles.

Read: this project's safetensors, timm's safetensors, Keras's published h5, and timm's pth.
"""

import hashlib
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from src.common.errors import InputError
from src.common.files import atomic_write, cache_dir
from src.xception.blocks import BACKBONE_TENSORS

SUFFIXES = (".safetensors", ".h5", ".pth", ".pt")


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Read Xception's weights from a file of any supported kind.

    Returns:
        Arrays in Keras's axis order by Keras's names; whatever the file holds, possibly not all.
    Raises:
        InputError: the file is missing, truncated, or of a kind that is not read.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"No weights file at {path}. Give --init the path of a {', '.join(SUFFIXES)} file, "
            "--init imagenet to fetch Keras's, or --init scratch to start from a random draw."
        )
    match path.suffix.lower():
        case ".safetensors":
            return _read_safetensors(path)
        case ".h5":
            return _read_keras_h5(path)
        case ".pth" | ".pt":
            return _read_safetensors(_converted_pth(path))
        case other:
            raise InputError(
                f"Cannot tell what kind of weights {path} holds from its ending {other!r}. "
                f"Expected one of: {', '.join(SUFFIXES)}."
            )


def write_safetensors(
    path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write `arrays` whole or not at all."""
    # Not `ascontiguousarray`, which turns a number into an array of one.
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    with atomic_write(path) as temporary:
        save_file(contiguous, temporary, metadata=dict(metadata or {}))


def load_arrays(path: Path) -> dict[str, np.ndarray]:
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
            f"{path} is not a whole safetensors file ({error}). It may be truncated: copy or "
            "fetch it again."
        ) from error


def from_timm(arrays: Mapping[str, np.ndarray], source: str) -> dict[str, np.ndarray]:
    """Rename and transpose a state dict of timm's `legacy_xception`.

    Raises:
        InputError: none of its names is known.
    """
    known = {tensor.torch_name: tensor for tensor in BACKBONE_TENSORS}
    found = {
        known[name].name: known[name].from_torch(array)
        for name, array in arrays.items()
        if name in known and array.ndim == len(known[name].shape)
    }
    if not found:
        raise InputError(
            f"{source} holds no tensor of Xception. Expected names like "
            f"{BACKBONE_TENSORS[0].name} (Keras) or {BACKBONE_TENSORS[0].torch_name} (timm's "
            f"legacy_xception). Received: {', '.join(sorted(arrays)[:3]) or 'nothing'}."
        )
    return found


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    arrays = load_arrays(path)
    if any(tensor.name in arrays for tensor in BACKBONE_TENSORS):
        return arrays
    return from_timm(arrays, str(path))


def _read_keras_h5(path: Path) -> dict[str, np.ndarray]:
    """Read the published format: groups listed in `layer_names`, matched to layers by order.

    Keras itself matches by order too, because the residual convolutions have no fixed names.
    """
    try:
        with h5py.File(path, "r") as file:
            group = file.get("model_weights", file)  # a whole saved model nests them
            if "layer_names" not in group.attrs:
                raise InputError(
                    f"{path} is not a Keras weights file in the published h5 format: it has no "
                    "`layer_names`. Save it as .safetensors, or use Keras's own download."
                )
            arrays = [
                np.asarray(group[layer][weight])
                for layer in _names(group.attrs["layer_names"])
                for weight in _names(group[layer].attrs["weight_names"])
            ]
    except (OSError, KeyError) as error:
        raise InputError(
            f"{path} is not a whole HDF5 file ({error}). It may be truncated: fetch it again."
        ) from error
    # A file with the classifier ends with two more arrays; zip leaves them out.
    return {tensor.name: array for tensor, array in zip(BACKBONE_TENSORS, arrays, strict=False)}


def _names(attribute: np.ndarray) -> list[str]:
    return [name.decode() if isinstance(name, bytes) else str(name) for name in attribute]


def _converted_pth(path: Path) -> Path:
    """Return `path` as safetensors, converted once, in a process of its own.

    Only PyTorch reads .pth files, and TensorFlow's process must not load PyTorch.
    """
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    converted = cache_dir() / "weights" / f"{content[:16]}.safetensors"
    if not converted.is_file():
        command = [sys.executable, "-m", "src.pt.checkpoint", str(path), str(converted)]
        result = subprocess.run(
            command, capture_output=True, text=True, cwd=Path(__file__).parents[2]
        )
        if result.returncode:
            reason = result.stderr.strip().rpartition("\n")[2]
            raise InputError(f"Cannot read the weights file {path}: {reason}")
    return converted
