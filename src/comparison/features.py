"""Do both networks compute the same function? The same images and weights through each."""

import dataclasses
import io
from pathlib import Path
from typing import BinaryIO

import numpy as np

from src.comparison.agreement import relative_distance
from src.comparison.process import run_twin
from src.config import ExperimentConfig
from src.data.augment import as_input
from src.data.dataset import open_dataset
from src.experiment import load_twin
from src.xception.weights import initial_weights

BLOCKS = ("block13", "block14")  # the last one in a partial ImageNet file, and the last of all
AS_SHIPPED = ("bn_epsilon", "pool_padding")  # what `src.pt.align` changes in inference


def compare_features(
    config: ExperimentConfig, data_dir: Path | None, sizes: list[int], count: int
) -> list[dict]:
    """Measure ||PT - TF|| / ||TF|| after each of `BLOCKS`, PyTorch aligned and as timm ships it.

    Args:
        config: its weights and precision decide; `image_size` is each of `sizes` in turn.
        data_dir: where the images are; see `open_dataset`.
        sizes: px.
        count: test images to compare on.
    Returns:
        {"image_size", "aligned": {block: distance}, "shipped": {block: distance}} per size.
    Raises:
        InputError: something given is wrong, or a twin stopped.
    """

    def features(framework: str, size: int, defaults: tuple[str, ...] = ()) -> dict:
        variant = dataclasses.replace(config, image_size=size, restore_defaults=defaults)
        saved = run_twin(write_features, framework, variant, data_dir, count=count)
        with np.load(io.BytesIO(saved), allow_pickle=False) as arrays:
            return dict(arrays)

    rows = []
    for size in sizes:
        keras = features("tf", size)
        torch = {"aligned": features("pt", size), "shipped": features("pt", size, AS_SHIPPED)}
        rows.append({"image_size": size})
        for name, maps in torch.items():
            rows[-1][name] = {b: relative_distance(maps[b], keras[b]) for b in BLOCKS}
    return rows


def write_features(
    framework: str,
    config: ExperimentConfig,
    data_dir: Path | None,
    output: BinaryIO,
    *,
    count: int,
) -> None:
    """Write one twin's block outputs for the first test images of each class, as .npz."""
    dataset = open_dataset(config, data_dir)
    rows = dataset.parts["test"]
    labels = dataset.catalog.labels[rows]
    earlier = [(labels[:index] == label).sum() for index, label in enumerate(labels)]
    chosen = np.sort(np.argsort(earlier, kind="stable")[:count])
    images = as_input(dataset.pixels[rows[chosen]])
    twin = load_twin(framework)
    twin.runtime.configure(config)
    model = twin.model.build_model(config, initial_weights(config))
    np.savez(output, **{block: twin.model.block_output(model, images, block) for block in BLOCKS})


def features_table(rows: list[dict]) -> str:
    """Return `compare_features`' rows as a Markdown table of block13, which ImageNet reaches."""
    lines = ["| px | as timm ships it | aligned |", "|---:|---:|---:|"]
    for row in rows:
        shipped, aligned = (row[name][BLOCKS[0]] for name in ("shipped", "aligned"))
        lines.append(f"| {row['image_size']} | {shipped:.1%} | {aligned:.1e} |")
    return "\n".join(lines)
