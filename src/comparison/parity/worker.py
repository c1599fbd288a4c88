"""One twin's half of the parity measurement, for a process of its own: train, report every step."""

import dataclasses
import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from src.common.files import cache_dir
from src.comparison.parity.trace import LOGITS, StepSnapshot, step_arrays, write_snapshot
from src.config import ExperimentConfig
from src.data.dataset import Dataset, open_dataset
from src.experiment import load_twin, perturb_weights, starting_weights
from src.xception.weight_files import write_safetensors

CALIBRATION_IMAGES = 64


def write_step_trace(
    framework: str,
    config: ExperimentConfig,
    data_dir: Path | None,
    output: BinaryIO,
    *,
    perturbed: bool,
) -> None:
    """Write the snapshots of `step_trace` to `output`, each as soon as its step is done."""
    emit = functools.partial(write_snapshot, output)
    step_trace(framework, config, data_dir, emit, perturbed=perturbed)


def step_trace(
    framework: str,
    config: ExperimentConfig,
    data_dir: Path | None,
    emit: Callable[[StepSnapshot], None],
    *,
    perturbed: bool = False,
) -> None:
    """Train one twin with `fit`, as a user would, and emit a snapshot after every step.

    The last snapshot holds the trained model's logits for a few test images.

    Args:
        framework: "tf" or "pt".
        config: the experiment.
        data_dir: where the images are; see `open_dataset`.
        emit: called with every snapshot.
        perturbed: start with every weight changed by one machine epsilon.
    Raises:
        InputError: something given is wrong.
    """
    twin = load_twin(framework)
    twin.runtime.configure(config)
    dataset = _few_images(open_dataset(config, data_dir, twin.data.make_decoder(config)))
    weights = starting_weights(twin, config)
    model = twin.model.build_model(
        config, perturb_weights(weights, config) if perturbed else weights
    )

    def on_step(step: int, loss: float, weights: Callable[[], dict]) -> None:
        emit(StepSnapshot(step, loss, step_arrays(weights(), config)))

    with tempfile.TemporaryDirectory() as folder:
        twin.train.fit(model, dataset, config, Path(folder), on_step=on_step)
    logits = twin.predict.predict_logits(model, twin.data.make_loader(dataset.batches("test")))
    emit(StepSnapshot(0, 0.0, {LOGITS: logits}))


def make_calibrated_weights(
    framework: str, config: ExperimentConfig, data_dir: Path | None, output: BinaryIO
) -> None:
    """Write the path of `calibrated_random_weights` to `output`."""
    output.write(str(calibrated_random_weights(framework, config, data_dir)).encode())


def calibrated_random_weights(
    framework: str, config: ExperimentConfig, data_dir: Path | None
) -> Path:
    """Return a file of backbone weights that behave like trained ones, made once and cached.

    They are random, but their BatchNorm statistics were measured on images. With the initial
    statistics a random Xception maps every image to nearly the same logits, which proves nothing.
    """
    config = dataclasses.replace(config, init="scratch", reinit=(), precision="float32")
    dataset = open_dataset(config, data_dir)
    name = f"{dataset.catalog.fingerprint[:12]}-{config.image_size}-{config.seed}"
    path = cache_dir() / "parity" / f"calibrated-{name}.safetensors"
    if not path.is_file():
        twin = load_twin(framework)
        twin.runtime.configure(config)
        model = twin.model.build_model(config, starting_weights(twin, config))
        batches = _few_images(dataset).batches("train")
        twin.train.recalibrate(model, config, twin.data.make_loader(batches))
        weights = twin.model.get_weights(model)
        backbone = {name: a for name, a in weights.items() if not name.startswith("head")}
        write_safetensors(path, backbone)
    return path


def _few_images(dataset: Dataset) -> Dataset:
    """Keep validation and calibration short, and give an epoch all the images that it asks for."""
    config = dataset.config
    # Odd, because with four classes of equal size all class weights would be 1.
    train = max(config.max_images_per_epoch, CALIBRATION_IMAGES) | 1
    return dataset.with_counts(
        {"train": train, "val": 2 * config.batch_size, "test": 2 * config.batch_size}
    )
