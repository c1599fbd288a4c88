"""The weights an experiment starts from: one set of NumPy arrays, given to both twins.

Names are `layer/tensor` in Keras's vocabulary, axes in Keras's order, values float32.
"""

import math
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from src.common.errors import InputError
from src.common.files import read_json, with_home
from src.config import ExperimentConfig
from src.xception.blocks import Tensor, tensors
from src.xception.stages import all_layers, random_blocks
from src.xception.weight_files import (
    Weights,
    check_file,
    fetch_imagenet,
    is_pretrained,
    pretrained_folder,
    read_weights,
)


def initial_weights(config: ExperimentConfig) -> Weights:
    """Return every tensor the experiment starts from, backbone and head.

    The same config and seed give the same arrays, whichever framework asks. The head is random,
    except as `pretrained_head` says.

    Raises:
        InputError: the weights cannot be fetched, read, or do not fit the network.
    """
    every = tensors(all_layers(config))
    random = {*random_blocks(config), "head"}
    weights = initialise((tensor for tensor in every if tensor.layer.block in random), config.seed)
    if config.init != "scratch":
        path = _weights_file(config)
        random -= {"head"} if pretrained_head(config) else set()
        wanted = [tensor for tensor in every if tensor.layer.block not in random]
        weights |= check_weights(read_weights(path), wanted, str(path))
    return {tensor.name: weights[tensor.name] for tensor in every}


def check_start(config: ExperimentConfig) -> None:
    """Check that `initial_weights` has a file to read, before a run's folder is made.

    ImageNet's is fetched into the cache. What the file holds is not checked.

    Raises:
        InputError: it is missing and cannot be fetched, is of a kind that is not read, or is the
            shipped model's.
    """
    if config.init != "scratch":
        check_file(_weights_file(config))


def pretrained_head(config: ExperimentConfig) -> bool:
    """Tell whether the head starts from a trained one, too: a saved model's for the same classes.

    Raises:
        InputError: `config.init` is "pretrained", and no model ships.
    """
    if config.init in ("imagenet", "scratch"):
        return False
    path = _weights_file(config)
    if path.name != "model.safetensors" or not path.with_name("model.json").is_file():
        return False
    card = read_json(path.with_name("model.json"))
    if not isinstance(card, dict) or not isinstance(card.get("config", {}), dict):
        return False
    same_width = card.get("config", {}).get("hidden_units", 0) == config.hidden_units
    return same_width and card.get("class_names") == list(config.classes)


def _weights_file(config: ExperimentConfig) -> Path:
    if config.init == "imagenet":
        return fetch_imagenet()
    if config.init == "pretrained":
        instead = "start from --init imagenet, or from the weights file of a model of yours"
        return pretrained_folder(instead) / "model.safetensors"
    path = with_home(config.init)
    if is_pretrained(path.parent):
        raise InputError(
            f"{path} is the shipped model, which has seen most images of the Kaggle merge. Give "
            "--init pretrained: then the test images are checked."
        )
    return path


def initialise(wanted: Iterable[Tensor], seed: int) -> Weights:
    """Return `wanted` by Keras's defaults: Glorot uniform kernels, zero biases, BatchNorm at rest.

    Each tensor has its own generator, seeded by `seed` and its name, so that asking for fewer
    tensors changes none of the others.

    Source: Glorot & Bengio 2010; fans as in `keras.initializers.compute_fans`.
    """
    weights = {}
    for tensor in wanted:
        kind = tensor.name.rpartition("/")[2]
        if "kernel" not in kind:
            value = 1 if kind in ("gamma", "moving_variance") else 0
            weights[tensor.name] = np.full(tensor.shape, value, np.float32)
            continue
        *receptive_field, inputs, outputs = tensor.shape
        limit = np.sqrt(6 / (math.prod(receptive_field) * (inputs + outputs)))
        rng = np.random.default_rng([seed, zlib.crc32(tensor.name.encode())])
        weights[tensor.name] = rng.uniform(-limit, limit, tensor.shape).astype(np.float32)
    return weights


def check_weights(
    weights: Mapping[str, np.ndarray], wanted: Iterable[Tensor], source: str
) -> Weights:
    """Return the `wanted` tensors as float32, in order.

    Raises:
        InputError: one is missing, has another shape, or holds NaN or infinity.
    """
    checked = {}
    for tensor in wanted:
        name, block = tensor.name, tensor.layer.block
        if name not in weights:
            raise InputError(
                f"The weights file {source} lacks {name}. Give the complete file, or name the "
                f"block in `reinit` to initialise it randomly: --reinit {block}."
            )
        array = np.ascontiguousarray(weights[name], dtype=np.float32)
        if array.shape != tensor.shape:
            raise InputError(
                f"In the weights file {source}, {name} has the shape {array.shape}; Xception "
                f"needs {tensor.shape}. Give a file of Xception's weights, or --reinit {block}."
            )
        if not np.isfinite(array).all():
            raise InputError(
                f"In the weights file {source}, {name} holds NaN or infinity. "
                f"Fetch the file again, or --reinit {block}."
            )
        checked[name] = array
    return checked


def perturb(weights: Mapping[str, np.ndarray], dtype: str) -> Weights:
    """Return `weights` as `dtype`, each number moved up or down by one machine epsilon of it.

    This is the smallest change a run can start from; how far it carries is the rounding floor.
    """
    rng = np.random.default_rng([0, 0xE95])
    epsilon = np.finfo(dtype).eps
    moved = {}
    for name, array in weights.items():
        signs = rng.choice(np.array([-1, 1], dtype), size=array.shape)
        moved[name] = (array.astype(dtype) * (1 + signs * epsilon)).astype(dtype)
    return moved
