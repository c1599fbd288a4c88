"""Keras's published h5 -> safetensors; `src.xception.weight_files` runs it as a program.

python -m src.xception.keras_h5 xception.h5 xception.safetensors
"""

import contextlib
from pathlib import Path

import h5py
import numpy as np

from src.common.errors import InputError
from src.xception.blocks import BACKBONE_TENSORS
from src.xception.weight_files import Weights, convert

LARGEST_ARRAY = 64_000_000  # bytes; the largest of Xception's takes 13 million
MEMORY = 8_000_000_000  # bytes of addresses, of which a good file takes a small part


def read_keras_h5(path: Path) -> Weights:
    """Read the published format: groups listed in `layer_names`, matched to layers by order.

    Keras itself matches by order too, because the residual convolutions have no fixed names.

    Raises:
        InputError: it is another format, or damaged.
    """
    try:
        with h5py.File(path, "r") as file:
            group = file.get("model_weights", file)  # a whole saved model nests them
            if "layer_names" not in group.attrs:
                raise InputError(
                    "it is not in the published h5 format: it has no `layer_names`. Save it as "
                    ".safetensors, or use Keras's own download."
                )
            stored = [
                group[layer][weight]
                for layer in group.attrs["layer_names"]
                for weight in group[layer].attrs["weight_names"]
            ]
            if too_large := [each.name for each in stored if each.nbytes > LARGEST_ARRAY]:
                raise InputError(f"{too_large[0]} is larger than any array of Xception's.")
            arrays = [np.asarray(each) for each in stored]
    except InputError:
        raise
    except Exception as error:  # h5py raises almost anything on damaged data
        raise InputError(
            f"it is not a whole HDF5 file ({error}). It may be truncated: fetch it again."
        ) from error
    names = (tensor.name for tensor in BACKBONE_TENSORS)
    return dict(zip(names, arrays))  # without the two arrays of a classifier, which come last


if __name__ == "__main__":
    with contextlib.suppress(ImportError, ValueError, OSError):  # not on every system
        import resource

        lower, hard = resource.getrlimit(resource.RLIMIT_AS)
        if lower == resource.RLIM_INFINITY:
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, hard))
    convert(read_keras_h5)
