"""Do both networks compute the same function? The same images and weights through each."""

import dataclasses
import importlib.metadata
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from src.common import hardware
from src.common.errors import InputError
from src.common.files import write_json
from src.config import ExperimentConfig
from src.data.augment import scale
from src.data.dataset import open_dataset
from src.experiment import load_twin
from src.xception.weights import initial_weights

BLOCKS = ("block13", "block14")  # the last one ImageNet weights may reach here, and the last
AS_SHIPPED = ("bn_epsilon", "pool_padding")  # what `src.pt.align` changes in inference


def save_features(
    framework: str, config: ExperimentConfig, data_dir: Path | None, count: int, path: Path
) -> None:
    """Write one twin's block outputs for the first test images of each class, as .npz."""
    dataset = open_dataset(config, data_dir)
    rows = dataset.parts["test"]
    gray = scale(dataset.pixels[rows[_spread(dataset.catalog.labels[rows], count)]])
    images = np.repeat(gray[..., None], 3, axis=3)
    twin = load_twin(framework)
    twin.runtime.configure(config)
    model = twin.model.build_model(config, initial_weights(config))
    outputs = {block: twin.model.block_output(model, images, block) for block in BLOCKS}
    np.savez(path, **outputs)


def compare_features(
    config: ExperimentConfig, data_dir: Path | None, sizes: list[int], count: int
) -> list[dict]:
    """Measure ||PT - TF|| / ||TF|| after each of `BLOCKS`, PyTorch aligned and as timm ships it.

    Returns:
        one {"image_size", "aligned": {block: distance}, "shipped": {block: distance}} a size.
    Raises:
        InputError: something given is wrong, or a twin stopped.
    """
    variants = {
        "aligned": dataclasses.replace(config, restore_defaults=()),
        "shipped": dataclasses.replace(config, restore_defaults=AS_SHIPPED),
    }
    rows = []
    for size in sizes:
        of_keras = _features("tf", _sized(variants["aligned"], size), data_dir, count)
        row = {"image_size": size}
        for name, variant in variants.items():
            of_torch = _features("pt", _sized(variant, size), data_dir, count)
            row[name] = {b: relative_distance(of_torch[b], of_keras[b]) for b in BLOCKS}
        rows.append(row)
    return rows


def features_table(rows: list[dict]) -> str:
    """Return `compare_features`' rows as a Markdown table of block13, which ImageNet reaches."""
    lines = ["| px | as timm ships it | aligned |", "|---:|---:|---:|"]
    for row in rows:
        shipped, aligned = (row[name][BLOCKS[0]] for name in ("shipped", "aligned"))
        lines.append(f"| {row['image_size']} | {shipped:.1%} | {aligned:.1e} |")
    return "\n".join(lines)


def record(rows: list[dict], config: ExperimentConfig, data_dir: Path | None) -> dict:
    """Return `rows` with what they were measured on, as a record to be kept."""
    versions = {name: importlib.metadata.version(name) for name in ("keras", "torch", "timm")}
    return {
        "rows": rows,
        "init": Path(config.init).name,
        "reinit": list(config.reinit),
        "precision": config.precision,
        "dataset": open_dataset(config, data_dir).describe(),
        "versions": versions,
        "hardware": hardware.describe(None),
        "commit": hardware.commit(),
    }


def _sized(config: ExperimentConfig, size: int) -> ExperimentConfig:
    return dataclasses.replace(config, image_size=size)


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
