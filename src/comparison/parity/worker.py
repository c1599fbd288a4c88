"""One twin's half of the parity measurement, for a process of its own: train, report every step.

A pipe carries the snapshots to the process that compares them, so nothing fills the disk: one step
of Xception in float64 is 167 MB.
"""

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import safetensors.numpy

from src.common.files import cache_dir
from src.config import ExperimentConfig
from src.data.dataset import Dataset, open_dataset
from src.experiment import load_twin, perturb_weights, starting_weights
from src.xception.blocks import tensors
from src.xception.stages import FINETUNE, HEAD, all_layers, trainable_layers
from src.xception.weight_files import write_safetensors

CALIBRATION_IMAGES = 64
TRAINABLE, MOVING, LOGITS = "trainable", "moving", "logits"


@dataclass(frozen=True)
class StepSnapshot:
    """The weights after one step; the last snapshot of a run has no step, but logits (N, K)."""

    step: int
    loss: float
    arrays: dict[str, np.ndarray]


def step_arrays(weights: dict[str, np.ndarray], config: ExperimentConfig) -> dict[str, np.ndarray]:
    """Return `weights` as two vectors: what the experiment trains, and all moving statistics."""
    trained = trainable_layers(config, FINETUNE)
    gathered = {TRAINABLE: [], MOVING: []}
    for tensor in tensors(all_layers(config)):
        moving = "/moving_" in tensor.name
        if moving or tensor.layer.name in trained:
            gathered[MOVING if moving else TRAINABLE].append(weights[tensor.name].ravel())
    return {name: np.concatenate(parts) for name, parts in gathered.items()}


def write_snapshot(stream: BinaryIO, snapshot: StepSnapshot) -> None:
    """Append `snapshot` to `stream` and flush it: its length in eight bytes, then safetensors."""
    numbers = {"step": np.array(snapshot.step), "loss": np.array(snapshot.loss)}
    content = safetensors.numpy.save(snapshot.arrays | numbers)
    stream.write(len(content).to_bytes(8, "little") + content)
    stream.flush()


def read_snapshots(stream: BinaryIO) -> Iterator[StepSnapshot]:
    """Yield the whole snapshots of `stream`, as they arrive; a truncated last one is left out."""
    while length := int.from_bytes(stream.read(8), "little"):
        content = stream.read(length)
        if len(content) < length:
            return
        arrays = safetensors.numpy.load(content)
        yield StepSnapshot(int(arrays.pop("step")), float(arrays.pop("loss")), arrays)


def write_step_trace(
    framework: str,
    config: ExperimentConfig,
    data_dir: Path | None,
    output: BinaryIO,
    *,
    perturbed: bool,
) -> None:
    """Train one twin with `fit`, as a user would, and write a snapshot after every step.

    The last snapshot holds the trained model's logits for a few test images. `perturbed`: start
    with every weight changed by one machine epsilon.
    """
    twin = load_twin(framework)
    twin.runtime.configure(config)
    dataset = _few_images(open_dataset(config, data_dir, twin.data.make_decoder(config)))
    weights = starting_weights(twin, config)
    if perturbed:
        weights = perturb_weights(weights, config)
    model = twin.model.build_model(config, weights)

    def on_step(step: int, loss: float, weights: Callable[[], dict]) -> None:
        write_snapshot(output, StepSnapshot(step, loss, step_arrays(weights(), config)))

    with tempfile.TemporaryDirectory() as folder:
        twin.train.fit(model, dataset, config, Path(folder), on_step=on_step)
    logits = twin.predict.predict_logits(model, twin.data.make_loader(dataset.batches("test")))
    write_snapshot(output, StepSnapshot(0, 0.0, {LOGITS: logits}))


def calibrated_random_weights(
    framework: str, config: ExperimentConfig, data_dir: Path | None, output: BinaryIO
) -> None:
    """Write to `output` the path of backbone weights that behave like trained ones, made once.

    They are random, but their BatchNorm statistics were measured on images. With the initial
    statistics a random Xception maps every image to nearly the same logits, which proves nothing.
    """
    start = dict(init="scratch", reinit=(), precision="float32", test_size=0)
    config = dataclasses.replace(config, **start)
    dataset = open_dataset(config, data_dir)
    decide = "image_size", "seed", "batch_size", "max_images_per_epoch", "bn_epsilon"
    name = "-".join([dataset.catalog.fingerprint[:12], *(f"{getattr(config, n)}" for n in decide)])
    path = cache_dir() / "parity" / f"calibrated-{name}.safetensors"
    if not path.is_file():
        twin = load_twin(framework)
        twin.runtime.configure(config)
        model = twin.model.build_model(config, starting_weights(twin, config))
        batches = _few_images(dataset).batches("train")
        twin.model.set_stage(model, HEAD)  # a random network trains as a whole
        twin.train.measure_statistics(model, twin.data.make_loader(batches))
        weights = twin.model.get_weights(model)
        backbone = {name: a for name, a in weights.items() if not name.startswith("head")}
        write_safetensors(path, backbone)
    output.write(str(path).encode())


def _few_images(dataset: Dataset) -> Dataset:
    """Keep validation and calibration short, and give an epoch all the images that it asks for."""
    # Odd, because with four classes of equal size all class weights would be 1.
    train = max(dataset.config.max_images_per_epoch, CALIBRATION_IMAGES) | 1
    few = 2 * dataset.config.batch_size
    return dataset.with_counts({"train": train, "val": few, "test": few})
