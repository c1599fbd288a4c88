"""One twin's half of the parity measurement: train it, and tell every step.

Run as a program it writes the frames to its output, or makes the weights that all runs start from:

    python -m src.comparison.parity.worker pt --config config.json --data DIR > trace
    python -m src.comparison.parity.worker made --config config.json --data DIR
"""

import argparse
import dataclasses
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from src.common.errors import InputError
from src.common.files import cache_dir, read_json
from src.comparison.parity.trace import LOGITS, StepSnapshot, step_arrays, write_frame
from src.config import ExperimentConfig
from src.data.dataset import Dataset, open_dataset
from src.experiment import load_twin, perturb_weights, starting_weights
from src.records import FRAMEWORKS
from src.xception.weight_files import write_safetensors

CALIBRATION_IMAGES = 64


def trace_run(
    framework: str,
    config: ExperimentConfig,
    data_dir: Path | None,
    emit: Callable[[StepSnapshot], None],
    *,
    perturbed: bool = False,
) -> None:
    """Train one twin with `fit`, as a user would, and emit a frame after every step.

    The last frame holds the trained model's logits for a few test images.

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

    def watch(step: int, loss: float, weights: Callable[[], dict]) -> None:
        emit(StepSnapshot(step, loss, step_arrays(weights(), config)))

    with tempfile.TemporaryDirectory() as folder:
        twin.train.fit(model, dataset, config, Path(folder), watch=watch)
    logits = twin.predict.predict_logits(model, twin.data.make_loader(dataset.batches("test")))
    emit(StepSnapshot(0, 0.0, {LOGITS: logits}))


def made_weights(config: ExperimentConfig, data_dir: Path | None) -> Path:
    """Return a file of backbone weights that behave like trained ones, made once and cached.

    A random draw whose BatchNorm statistics were measured on images. With statistics at rest a
    random Xception maps every image to nearly the same logits, which would prove nothing.
    """
    config = dataclasses.replace(config, init="scratch", reinit=(), precision="float32")
    dataset = open_dataset(config, data_dir)
    name = f"{dataset.catalog.fingerprint[:12]}-{config.image_size}-{config.seed}"
    path = cache_dir() / "parity" / f"made-{name}.safetensors"
    if not path.is_file():
        twin = load_twin("pt")
        twin.runtime.configure(config)
        model = twin.model.build_model(config, starting_weights(twin, config))
        batches = _few_images(dataset).batches("train")
        twin.train.recalibrate(model, config, twin.data.make_loader(batches))
        weights = twin.model.get_weights(model)
        backbone = {name: a for name, a in weights.items() if not name.startswith("head")}
        write_safetensors(path, backbone)
    return path


def _few_images(dataset: Dataset) -> Dataset:
    """Keep validation and calibration short, and let an epoch draw all that it asks for."""
    config = dataset.config
    counts = {
        # Odd, or four classes of one size would all weigh one, and class weights could not show.
        "train": max(config.max_images_per_epoch, CALIBRATION_IMAGES) | 1,
        "val": 2 * config.batch_size,
        "test": 2 * config.batch_size,
    }
    return dataset.with_parts(
        {part: _spread(dataset.parts[part], count) for part, count in counts.items()}
    )


def _spread(rows: np.ndarray, count: int) -> np.ndarray:
    """Return `count` of `rows`, evenly spread over them, again from the start if they run out."""
    if count > len(rows):
        return np.resize(rows, count)
    return rows[np.linspace(0, len(rows) - 1, count).round().astype(np.int64)]


def main() -> int:
    """Do what the command line asks for; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m src.comparison.parity.worker")
    parser.add_argument("run", choices=(*FRAMEWORKS, "made"))
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--perturbed", action="store_true")
    options = parser.parse_args()
    # Frames alone may go to the output: whatever else a library prints goes to stderr.
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        config = ExperimentConfig.from_json(read_json(options.config))
        if options.run == "made":
            output.write(str(made_weights(config, options.data)).encode())
        else:
            trace_run(
                options.run,
                config,
                options.data,
                lambda frame: write_frame(output, frame),
                perturbed=options.perturbed,
            )
        output.close()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
