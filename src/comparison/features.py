"""Do both networks compute the same function? The same images and weights through each."""

import dataclasses
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from src.config import ExperimentConfig
from src.data.dataset import open_dataset
from src.errors import InputError
from src.experiment import load_twin
from src.files import write_json
from src.xception.weights import initial_weights

BLOCKS = ("block13", "block14")  # the last one ImageNet weights may reach here, and the last
AS_SHIPPED = ("bn_epsilon", "pool_padding")  # what `src.pt.align` changes in inference


def save_features(
    framework: str, config: ExperimentConfig, data_dir: Path | None, count: int, path: Path
) -> None:
    """Write one twin's block outputs for the first test images of each class, as .npz."""
    dataset = open_dataset(config, data_dir)
    batches = dataset.batches("test")
    chosen = _spread(batches.labels, count)
    images = np.concatenate([batches.batch(0, index)[0] for index in range(len(batches))])[chosen]
    twin = load_twin(framework)
    twin.runtime.configure(config)
    model = twin.model.build_model(config, initial_weights(config))
    outputs = {block: twin.model.block_output(model, config, images, block) for block in BLOCKS}
    np.savez(path, **outputs)


def compare_features(
    config: ExperimentConfig, data_dir: Path | None, sizes: list[int], count: int
) -> str:
    """Return a table of ||TF - PT|| / ||TF||, PyTorch aligned and as timm ships it.

    Raises:
        InputError: something given is wrong, or a twin stopped.
    """
    shipped = dataclasses.replace(config, framework_defaults=AS_SHIPPED)
    lines = [
        "relative difference to Keras's features, same images, same weights "
        f"({config.init}, {config.precision})",
        f"{'px':>5}  {'':>8}" + "".join(f"{block:>12}" for block in BLOCKS),
    ]
    for size in sizes:
        keras_features = _features(
            "tf", dataclasses.replace(config, image_size=size), data_dir, count
        )
        for name, variant in (("aligned", config), ("shipped", shipped)):
            variant = dataclasses.replace(variant, image_size=size)
            torch_features = _features("pt", variant, data_dir, count)
            differences = (
                relative_distance(torch_features[block], keras_features[block]) for block in BLOCKS
            )
            lines.append(f"{size:5}  {name:>8}" + "".join(f"{d:12.2e}" for d in differences))
    return "\n".join(lines)


def relative_distance(ours: np.ndarray, reference: np.ndarray) -> float:
    """Return ||ours - reference|| / ||reference||, in float64.

    Raises:
        ValueError: a value is not finite, or the reference is all zero.
    """
    ours, reference = ours.astype(np.float64), reference.astype(np.float64)
    norm = np.linalg.norm(reference)
    if not np.isfinite(ours).all() or not np.isfinite(norm) or norm == 0:
        raise ValueError("Expected finite numbers, not all zero.")
    return float(np.linalg.norm(ours - reference) / norm)


def _features(
    framework: str, config: ExperimentConfig, data_dir: Path | None, count: int
) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        saved, written = Path(folder) / "features.npz", Path(folder) / "config.json"
        write_json(written, config.to_json())
        command = [sys.executable, "-m", "src", "features", "--framework", framework]
        command += ["--config", str(written), "--count", str(count), "--save", str(saved)]
        command += ["--data", str(data_dir)] if data_dir else []
        if subprocess.run(command).returncode:
            raise InputError(f"The {framework} half stopped; its message stands above.")
        with np.load(saved, allow_pickle=False) as arrays:
            return dict(arrays)


def _spread(labels: np.ndarray, count: int) -> np.ndarray:
    """Return the rows of `count` images, taking turns between the classes."""
    order = np.argsort(
        [(labels[:row] == labels[row]).sum() for row in range(len(labels))], kind="stable"
    )
    return np.sort(order[:count])
