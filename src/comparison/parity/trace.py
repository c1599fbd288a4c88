"""A run, told step by step: a stream of frames that one process writes and another reads.

A frame is a line of JSON and then the bytes of the arrays that the line announces. A pipe carries
a stream between processes, which keeps twins in step and nothing on disk: one step of Xception in
float64 is 167 MB. A file keeps one for later.
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
    """What one step left behind; the last frame of a run has no step, but logits (N, 4)."""

    step: int
    loss: float
    arrays: dict[str, np.ndarray]


def step_arrays(weights: dict[str, np.ndarray], config: ExperimentConfig) -> dict[str, np.ndarray]:
    """Gather `weights` in two vectors: what the experiment trains, and all moving statistics."""
    trained = trainable_layers(config, FINETUNE)
    gathered = {TRAINABLE: [], MOVING: []}
    for tensor in tensors(all_layers(config)):
        if "/moving_" in tensor.name:
            gathered[MOVING].append(weights[tensor.name].ravel())
        elif tensor.layer.name in trained:
            gathered[TRAINABLE].append(weights[tensor.name].ravel())
    return {name: np.concatenate(parts) for name, parts in gathered.items()}


def write_frame(stream: BinaryIO, frame: StepSnapshot) -> None:
    """Append `frame` to `stream`, and hand it on at once."""
    arrays = {name: np.ascontiguousarray(array) for name, array in frame.arrays.items()}
    layout = [[name, array.dtype.str, array.shape] for name, array in arrays.items()]
    header = {"step": frame.step, "loss": frame.loss, "arrays": layout}
    stream.write(json.dumps(header).encode() + b"\n")
    for array in arrays.values():
        stream.write(array.data)
    stream.flush()


def read_frames(stream: BinaryIO) -> Iterator[StepSnapshot]:
    """Yield the frames of `stream` as they come.

    Raises:
        InputError: the stream ends within a frame.
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
