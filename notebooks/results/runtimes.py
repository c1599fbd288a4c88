"""Does every runtime answer as the twins do, how fast, and what do float16 and int8 cost?

    python -m notebooks.results.runtimes DATA OUT

Asked of the shipped classifier, on images of its own test and validation parts: some through every
runtime, in turns batch by batch, so that other work on the machine slows all alike; more through
those of `RACED`; the rest of the test part through float16 and int8. Their accuracy is compared
with the answers that the model's record holds. The exported files lie in OUT. It writes
`runtimes.json` beside this file.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

import torchvision  # noqa: F401  # isort: skip  # before TensorFlow, else it ends the process
import tensorflow as tf
import torch

from notebooks.results.script import record
from src.common.cache import progress
from src.common.clock import WARM_UP, spread
from src.data.dataset import open_dataset
from src.evaluation.intervals import mean_interval, paired_difference
from src.experiment import check_same_images
from src.records import measurement, read_run
from src.serving.backends import BATCH, Backend, OnnxBackend, TwinBackend, cpu_session
from src.serving.calibration import read_calibration
from src.serving.export import export_graph
from src.training.checkpoint import read_model_card
from src.xception.weight_files import PRETRAINED

IMAGES, MORE, SEED = 200, 800, 0  # that every runtime is asked about; that RACED are, too
TWINS = {"tf": "TensorFlow twin", "pt": "PyTorch twin"}
BUILT, EXPORTED = "ONNX from the block table", "exported ONNX, calibrated"
SAVED_MODEL, TORCH_EXPORT = "SavedModel", "torch.export"
MADE_BY = {"tf": "ONNX by tf2onnx", "pt": "ONNX by PyTorch"}
SMALL = ("float16", "int8")  # of the exported ONNX
RACED = (*TWINS.values(), BUILT, "int8")
Run = Callable[[np.ndarray], np.ndarray]  # (N, S, S) uint8 -> probabilities (N, K)


def take_turns(runs: Mapping[str, Run], images: np.ndarray) -> tuple[dict, dict]:
    """Ask each of `runs` about the images, batch by batch in turns.

    Returns:
        name -> probabilities (N, K); name -> seconds of each batch.
    """
    found, seconds = ({name: [] for name in runs} for _ in range(2))
    batches = np.split(images, range(BATCH, len(images), BATCH))
    for batch in progress(batches, len(batches), "In turns", "batch"):
        for name, run in runs.items():
            start = time.perf_counter()
            found[name].append(run(batch))
            seconds[name].append(time.perf_counter() - start)
    return {name: np.concatenate(each) for name, each in found.items()}, seconds


def times_faster(seconds: Mapping[str, Sequence[float]], than: str) -> dict:
    """Return how many times faster each is than another, over the turns that count.

    Args:
        seconds: name -> seconds of each batch; the first ones and the last, smaller one are left
            out.
        than: one of the names.
    Returns:
        name -> value (the median of the turns), low and high (their range), and turns.
    """
    counted = {name: np.array(each[WARM_UP:-1]) for name, each in seconds.items()}
    rates = {name: counted[than] / each for name, each in counted.items() if name != than}
    return {name: spread(each) | {"turns": len(each)} for name, each in rates.items()}


def differences(found: Mapping, tempered: Callable) -> dict:
    """Return the largest difference of a probability between each runtime and each twin.

    Args:
        found: name of a runtime -> (N, K); one of them, EXPORTED, gives calibrated probabilities.
        tempered: calibrates probabilities.
    """
    largest = {}
    for name, probs in found.items():
        twins = {twin: found[TWINS[twin]] for twin in TWINS if TWINS[twin] != name}
        if name == EXPORTED:
            twins = {twin: tempered(expected) for twin, expected in twins.items()}
        each = {twin: float(np.abs(probs - expected).max()) for twin, expected in twins.items()}
        largest[name] = each
    return largest


def costs(labels: np.ndarray, groups: np.ndarray, probs: Mapping) -> dict:
    """Return accuracy by precision, and how it and the probabilities differ from float32's.

    Args:
        labels, groups: (N,) of the test part.
        probs: "float32" and each of SMALL -> (N, K).
    """
    classes = {precision: each.argmax(axis=1) for precision, each in probs.items()}
    return {
        precision: {
            "accuracy": mean_interval((classes[precision] == labels).astype(float), groups),
            "change": paired_difference(labels, classes[precision], classes["float32"], groups),
            "largest_difference": float(np.abs(probs[precision] - probs["float32"]).max()),
        }
        for precision in probs
    }


def open_runtimes(out: Path, data: Path) -> dict[str, Run]:
    """Return every runtime by its name; export what is not in `out` yet."""

    def export(name: str, to: str, **options) -> Path:
        if not (out / name).exists():
            export_graph(PRETRAINED, out / name, to, **options)
        return out / name

    def onnx(name: str, **options) -> Run:
        session = cpu_session(str(export(f"{name}.onnx", "onnx", **options)))
        return lambda images: session.run(["probabilities"], {"images": images})[0]

    def backend(opened: Backend) -> Run:
        return lambda images: opened.run(images).probabilities

    out.mkdir(parents=True, exist_ok=True)
    graph = tf.saved_model.load(export("saved_model", "saved_model"))
    program = torch.export.load(export("program.pt2", "torch_export")).module()
    return {name: backend(TwinBackend(PRETRAINED, twin)) for twin, name in TWINS.items()} | {
        BUILT: backend(OnnxBackend(PRETRAINED)),
        EXPORTED: onnx("float32"),
        **{name: onnx(f"by_{twin}", made_by=twin) for twin, name in MADE_BY.items()},
        SAVED_MODEL: lambda images: graph.serve(images)["probabilities"].numpy(),
        TORCH_EXPORT: lambda images: program(torch.from_numpy(images)).detach().numpy(),
        **{each: onnx(each, precision=each, data_dir=data) for each in SMALL},
    }


def measure(data: Path, out: Path) -> dict:
    """Ask every runtime, and return what is recorded."""
    card, config = read_model_card(PRETRAINED)
    dataset, recorded = open_dataset(config, data), read_run(PRETRAINED)
    check_same_images(recorded.record["dataset"], dataset)
    runs, test = open_runtimes(out.resolve(), data), dataset.parts["test"]
    mixed = np.random.default_rng(SEED).permutation(len(test))
    pixels = dataset.test_pixels[test[mixed]]
    found, seconds = take_turns(runs, pixels[:IMAGES])
    others = np.concatenate([test[mixed][IMAGES:], dataset.parts["val"]])[:MORE]
    more = take_turns({name: runs[name] for name in RACED}, dataset.test_pixels[others])[1]
    raced = {name: seconds[name][:-1] + more[name] for name in RACED}
    rest, _ = take_turns({name: runs[name] for name in SMALL}, pixels[IMAGES:])
    small = {name: np.concatenate([found.pop(name), rest[name]]) for name in SMALL}
    tempered, answers = read_calibration(PRETRAINED, card).tempered, recorded.predictions
    probs = {"float32": tempered(answers.probs[mixed])} | small
    sizes = {name: (out / f"{name}.onnx").stat().st_size for name in probs}
    return measurement(
        config,
        dataset.describe(),
        model=card["sha256"],
        images=IMAGES,
        tested=len(test),
        differences=differences(found, tempered),
        precisions=costs(answers.labels[mixed], answers.groups[mixed], probs),
        times_faster={name: times_faster(seconds, name) for name in (*TWINS.values(), EXPORTED)},
        raced={name: times_faster(raced, name) for name in TWINS.values()},
        more=len(others),
        bytes=sizes,
        seconds=seconds,
    )


if __name__ == "__main__":
    record("runtimes", measure, "data", "out")
