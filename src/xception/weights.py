"""The weights an experiment starts from: one set of NumPy arrays, given to both twins.

Names are `layer/tensor` in Keras's vocabulary, axes in Keras's order, values float32.
"""

import hashlib
import os
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from tqdm import tqdm

from src.common.errors import InputError
from src.common.files import cache_dir, make_folder
from src.common.progress import progress_stream
from src.config import ExperimentConfig
from src.xception.blocks import BACKBONE_TENSORS, Tensor, tensors
from src.xception.stages import all_layers, drawn_blocks
from src.xception.weight_files import read_weights, write_safetensors

Weights = dict[str, np.ndarray]


def initial_weights(config: ExperimentConfig) -> Weights:
    """Return every tensor the experiment starts from, backbone and head.

    The same config and seed give the same arrays, whichever framework asks.

    Raises:
        InputError: the weights cannot be fetched, read, or do not fit the network.
    """
    every = tensors(all_layers(config))
    drawn = {*drawn_blocks(config), "head"}
    weights = draw((tensor for tensor in every if tensor.layer.block in drawn), config.seed)
    if config.init != "scratch":
        weights |= _loaded(config)
    return {tensor.name: weights[tensor.name] for tensor in every}


def draw(wanted: Iterable[Tensor], seed: int) -> Weights:
    """Draw `wanted` by Keras's defaults: Glorot uniform kernels, zero biases, BatchNorm at rest.

    Each tensor has its own generator, seeded by `seed` and its name, so that drawing fewer
    tensors changes none of the others.

    Source: Glorot & Bengio 2010; fans as in `keras.initializers.compute_fans`.
    """
    return {tensor.name: _draw_one(tensor, seed) for tensor in wanted}


def check_weights(
    weights: Mapping[str, np.ndarray], wanted: Iterable[Tensor], source: str
) -> Weights:
    """Return the `wanted` tensors as float32, in order.

    Raises:
        InputError: one is missing, has another shape, or holds NaN or infinity.
    """
    return {tensor.name: _check_one(weights, tensor, source) for tensor in wanted}


def perturb(weights: Mapping[str, np.ndarray], dtype: str, seed: int = 0) -> Weights:
    """Return `weights` as `dtype`, each number moved up or down by one machine epsilon of it.

    This is the smallest change a run can start from; how far it carries is the rounding floor.
    """
    rng = np.random.default_rng([seed, 0xE95])
    step = np.finfo(dtype).eps
    moved = {}
    for name, array in weights.items():
        signs = rng.choice(np.array([-1, 1], dtype), size=array.shape)
        moved[name] = (array.astype(dtype) * (1 + signs * step)).astype(dtype)
    return moved


def digest(weights: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 over names and values, independent of order."""
    total = hashlib.sha256()
    for name in sorted(weights):
        total.update(name.encode())
        total.update(np.ascontiguousarray(weights[name]).tobytes())
    return total.hexdigest()


def _loaded(config: ExperimentConfig) -> Weights:
    path = fetch_imagenet() if config.init == "imagenet" else Path(config.init).expanduser()
    wanted = [tensor for tensor in BACKBONE_TENSORS if tensor.layer.block not in config.reinit]
    return check_weights(read_weights(path), wanted, str(path))


def _draw_one(tensor: Tensor, seed: int) -> np.ndarray:
    kind = tensor.name.rpartition("/")[2]
    if kind in ("gamma", "moving_variance"):
        return np.ones(tensor.shape, np.float32)
    if kind in ("beta", "moving_mean", "bias"):
        return np.zeros(tensor.shape, np.float32)
    receptive_field = int(np.prod(tensor.shape[:-2]))
    fans = receptive_field * (tensor.shape[-2] + tensor.shape[-1])
    limit = np.sqrt(6 / fans)
    rng = np.random.default_rng([seed, zlib.crc32(tensor.name.encode())])
    return rng.uniform(-limit, limit, tensor.shape).astype(np.float32)


def _check_one(weights: Mapping[str, np.ndarray], tensor: Tensor, source: str) -> np.ndarray:
    block = tensor.layer.block
    if tensor.name not in weights:
        raise InputError(
            f"The weights file {source} lacks {tensor.name}. Give the complete file, or name the "
            f"block in `reinit` to start it from a random draw: --reinit {block}."
        )
    array = weights[tensor.name]
    if array.shape != tensor.shape:
        raise InputError(
            f"In the weights file {source}, {tensor.name} has the shape {array.shape}; Xception "
            f"needs {tensor.shape}. Give a file of Xception's weights, or --reinit {block}."
        )
    array = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(array).all():
        raise InputError(
            f"In the weights file {source}, {tensor.name} holds NaN or infinity. "
            f"Fetch the file again, or --reinit {block}."
        )
    return array


# Source: keras/src/applications/xception.py, TF_WEIGHTS_PATH_NO_TOP and its file hash.
FILE = "xception_weights_tf_dim_ordering_tf_kernels_notop.h5"
URL = f"https://storage.googleapis.com/tensorflow/keras-applications/xception/{FILE}"
MD5 = "b0042744bf5b25fce3cb969f33bebb97"


def fetch_imagenet(url: str = URL, md5: str = MD5) -> Path:
    """Return the ImageNet weights without classifier as a safetensors file in the cache.

    A copy that Keras has already downloaded is used before the network is.

    Raises:
        InputError: no network, or what came is not the published file.
    """
    converted = cache_dir() / "weights" / f"xception-imagenet-{md5[:8]}.safetensors"
    if not converted.is_file():
        published = _keras_copy(md5) or _download(url, md5)
        write_safetensors(converted, read_weights(published), {"source": url, "md5": md5})
        if published.parent == converted.parent:
            published.unlink()  # the converted file takes its place
    return converted


def _keras_copy(md5: str) -> Path | None:
    home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    path = home / "models" / FILE
    if path.is_file() and hashlib.md5(path.read_bytes()).hexdigest() == md5:
        return path
    return None


def _download(url: str, md5: str) -> Path:
    import pooch  # slow to import, needed once

    folder = make_folder(cache_dir() / "weights")
    # pooch's own bar and remarks go to stderr, which a notebook shows as trouble.
    # The bar given instead learns its total from pooch.
    pooch.get_logger().setLevel("WARNING")
    bar = tqdm(total=1, desc=FILE, unit="B", unit_scale=True, delay=0.5, file=progress_stream())
    try:
        return Path(pooch.retrieve(url, f"md5:{md5}", fname=FILE, path=folder, progressbar=bar))
    except (OSError, ValueError) as error:  # requests' errors are OSErrors
        raise InputError(
            f"Could not fetch the ImageNet weights from {url}: {_short(error)}. Fetch the file on "
            f"another machine and pass it with --init {FILE}, or start from a random draw with "
            "--init scratch."
        ) from error


def _short(error: Exception) -> str:
    if isinstance(error, ValueError):
        return "what came does not have the published MD5"
    return f"no network ({type(error).__name__})"
