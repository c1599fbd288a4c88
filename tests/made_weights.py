"""Weights that tests make: random, but with BatchNorm statistics that let the signal through.

With moving statistics at rest (mean 0, variance 1) a random Xception maps every image to nearly the
same features, and a comparison on them would prove nothing.
"""

from functools import cache
from pathlib import Path

import numpy as np

from src.config import preset
from src.data.augment import scale
from src.data.dataset import open_dataset
from src.data.pixels import decode_gray
from src.xception.blocks import BACKBONE_LAYERS
from src.xception.weights import initial_weights

PHANTOM_SIZE = 96  # px at which the statistics are measured


@cache
def made_weights() -> dict[str, np.ndarray]:
    """Return a whole set of weights, head included, that behaves as a trained one would."""
    from src import pt
    from src.pt import data, model, train  # noqa: F401  # read below as attributes of `pt`

    config = preset("smoke", image_size=PHANTOM_SIZE, batch_size=20)
    rng = np.random.default_rng(7)
    weights = initial_weights(config)
    for name, array in weights.items():
        if name.endswith("/gamma"):
            weights[name] = rng.uniform(0.7, 1.3, array.shape).astype(np.float32)
        elif name.endswith("/beta"):
            weights[name] = rng.normal(0, 0.2, array.shape).astype(np.float32)
    network = pt.model.build_model(config, weights)
    batches = open_dataset(config).batches("test")
    pt.train.measure_statistics(network, pt.data.make_loader(batches))
    return pt.model.get_weights(network)


def backbone_file(folder: Path) -> Path:
    """Write `made_weights` without the head as a complete .safetensors file."""
    from src.xception.weight_files import write_safetensors

    path = folder / "made.safetensors"
    backbone = {name: a for name, a in made_weights().items() if not name.startswith("head")}
    write_safetensors(path, backbone)
    return path


def colour_images(size: int, data: Path | None = None) -> np.ndarray:
    """Return (2, S, S, 3) float32 images in [-1, 1] whose channels are different slices.

    Gray images would hide a swapped channel order. Only the files needed are decoded.
    """
    root = data or open_dataset(preset("smoke")).root
    files = sorted(path for path in (root / "Training").rglob("*.*") if path.is_file())
    chosen = files[:: len(files) // 6][:6]
    slices = scale(np.stack([decode_gray(path, size) for path in chosen]))
    return np.ascontiguousarray(slices.reshape(2, 3, size, size).transpose(0, 2, 3, 1))


@cache
def quick_weights(config=None) -> dict[str, np.ndarray]:
    """Return weights for `config` (default: `smoke`) that let the signal through, made at once.

    Instead of being measured, the variance that each BatchNorm expects is what its convolution's
    Glorot kernels make of inputs of variance 1.
    """
    config = config or preset("smoke")
    weights = initial_weights(config)
    for layer in BACKBONE_LAYERS:
        if layer.kind == "sepconv":
            variance = 2 / (layer.inputs + 1)
            weights[f"{layer.name}_bn/moving_variance"][:] = variance
    for name in ("head_hidden/kernel", "head_logits/kernel"):
        if name in weights:
            weights[name] = weights[name] * 40
    return weights
