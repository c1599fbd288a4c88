"""Keras's published ImageNet weights for Xception: fetched once, verified, converted, cached."""

import hashlib
import os
from pathlib import Path

from tqdm import tqdm

from src.common.errors import InputError
from src.common.files import cache_dir, make_folder
from src.common.progress import channel
from src.xception.readers import read_weights, write_safetensors

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
    bar = tqdm(total=1, desc=FILE, unit="B", unit_scale=True, delay=0.5, file=channel())
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
