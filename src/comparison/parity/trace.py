"""A training run step by step: a stream of snapshots that one process writes and another reads.

A snapshot is a line of JSON and then the bytes of the arrays that the line announces. A pipe
carries the stream between processes, so nothing fills the disk: one step of Xception in float64 is
167 MB. A file keeps a stream for later.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from src.common.errors import InputError
from src.config import ExperimentConfig
from src.xception.blocks import tensors
from src.xception.stages import FINETUNE, all_layers, trainable_layers

TRAINABLE, MOVING, LOGITS = "trainable", "moving", "logits"


@dataclass(frozen=True)
class StepSnapshot:
    """The weights after one step; the last snapshot of a run has no step, but logits (N, 4)."""

    step: int
    loss: float
    arrays: dict[str, np.ndarray]


def step_arrays(weights: dict[str, np.ndarray], config: ExperimentConfig) -> dict[str, np.ndarray]:
    """Return `weights` as two vectors: what the experiment trains, and all moving statistics."""
    trained = trainable_layers(config, FINETUNE)
    gathered = {TRAINABLE: [], MOVING: []}
    for tensor in tensors(all_layers(config)):
        if "/moving_" in tensor.name:
            gathered[MOVING].append(weights[tensor.name].ravel())
        elif tensor.layer.name in trained:
            gathered[TRAINABLE].append(weights[tensor.name].ravel())
    return {name: np.concatenate(parts) for name, parts in gathered.items()}


def write_snapshot(stream: BinaryIO, snapshot: StepSnapshot) -> None:
    """Append `snapshot` to `stream` and flush it."""
    arrays = {name: np.ascontiguousarray(array) for name, array in snapshot.arrays.items()}
    layout = [[name, array.dtype.str, array.shape] for name, array in arrays.items()]
    header = {"step": snapshot.step, "loss": snapshot.loss, "arrays": layout}
    stream.write(json.dumps(header).encode() + b"\n")
    for array in arrays.values():
        stream.write(array.data)
    stream.flush()


def read_snapshots(stream: BinaryIO) -> Iterator[StepSnapshot]:
    """Yield the snapshots of `stream` as they arrive.

    Raises:
        InputError: the stream ends within a snapshot.
    """
    while line := stream.readline():
        header = json.loads(line)
        arrays = {}
        for name, dtype, shape in header["arrays"]:
            arrays[name] = np.empty(shape, dtype)
            _fill(stream, memoryview(arrays[name]).cast("B"))
        yield StepSnapshot(header["step"], header["loss"], arrays)


def _fill(stream: BinaryIO, target: memoryview) -> None:
    while target:
        count = stream.readinto(target)
        if not count:
            raise InputError("A run ended in the middle of a step; its message stands above.")
        target = target[count:]
