"""Do both twins take the same training steps? Step by step, measured by the rounding floor.

Three processes train on the same batches: TensorFlow, PyTorch, and PyTorch with every initial
weight moved by one machine epsilon. The *gap* is TensorFlow's distance from PyTorch, the *floor*
the moved PyTorch's distance from PyTorch. What runs is what always runs, `src.{tf,pt}.train.fit`.
"""

import contextlib
import dataclasses
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from src.common.errors import InputError
from src.common.files import write_json
from src.comparison.features import relative_distance
from src.comparison.parity.settings import MADE, judge
from src.comparison.parity.trace import LOGITS, MOVING, TRAINABLE, StepSnapshot, read_frames
from src.config import ExperimentConfig
from src.data.dataset import open_dataset
from src.records import FRAMEWORKS

_TWIN = [sys.executable, "-m", "src.comparison.parity.worker"]


def measure_parity(config: ExperimentConfig, data_dir: Path | None = None) -> dict:
    """Train both twins as `config` says, and measure gap and floor after every step.

    Distances are ||a - b|| / ||b|| with b PyTorch's, over all weights that the experiment trains
    (gap, floor) and over all BatchNorm moving statistics (bn_gap, bn_floor).

    Returns:
        steps [{step, gap, floor, bn_gap, bn_floor, loss_tf, loss_pt}], eval_logits_gap (of the
        trained models' logits on test images, ||a - b|| / ||b||) and eval_logits_floor, verdict
        ("green", "red" or "not judged") and reason, config and dataset.
    Raises:
        InputError: something given is wrong, or a twin stopped or diverged.
    """
    dataset = open_dataset(config, data_dir)
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "config.json"
        options = ["--config", str(written), "--data", str(dataset.root)]
        write_json(written, config.to_json())
        if config.init == MADE:
            config = dataclasses.replace(config, init=_made_weights(options))
            write_json(written, config.to_json())
        runs = [("tf", options), ("pt", options), ("pt", [*options, "--perturbed"])]
        with contextlib.ExitStack() as stack:
            traces = [stack.enter_context(_running(*run)) for run in runs]
            measured = compare_traces(*traces)
    return {
        **measured,
        **judge(measured["steps"], config),
        "config": config.to_json(),
        "dataset": dataset.describe(),
    }


def compare_traces(
    tf_run: Iterator[StepSnapshot],
    pt_run: Iterator[StepSnapshot],
    floor_run: Iterator[StepSnapshot],
) -> dict:
    """Return `steps`, `eval_logits_gap` and `eval_logits_floor` of three runs, read in step.

    Raises:
        InputError: a run holds numbers that are not finite, or the runs are of unlike length.
    """
    steps, logits = [], None
    try:
        for tf_frame, pt_frame, floor_frame in zip(tf_run, pt_run, floor_run, strict=True):
            if LOGITS in pt_frame.arrays:
                logits = [frame.arrays[LOGITS] for frame in (tf_frame, pt_frame, floor_frame)]
                continue
            steps.append(_one_step(tf_frame, pt_frame, floor_frame))
            print(step_line(steps[-1]), file=sys.stderr)
    except ValueError as error:
        raise InputError(
            f"The runs cannot be compared after step {len(steps)} ({error}). Training may have "
            "diverged: try a lower --finetune-learning-rate or --clip-norm 1."
        ) from error
    if logits is None:
        raise InputError("A run stopped before its end; its message stands above.")
    return {
        "steps": steps,
        "eval_logits_gap": relative_distance(logits[0], logits[1]),
        "eval_logits_floor": relative_distance(logits[2], logits[1]),
    }


def step_line(step: dict) -> str:
    """Return one step as a line of text."""
    return (
        f"step {step['step']:3}  gap {step['gap']:.1e}  floor {step['floor']:.1e}  "
        f"BatchNorm gap {step['bn_gap']:.1e}  floor {step['bn_floor']:.1e}  "
        f"loss {step['loss_pt']:.6f}"
    )


def _one_step(tf_frame: StepSnapshot, pt_frame: StepSnapshot, floor_frame: StepSnapshot) -> dict:
    row = {"step": pt_frame.step}
    for name, gap, floor in ((TRAINABLE, "gap", "floor"), (MOVING, "bn_gap", "bn_floor")):
        reference = pt_frame.arrays[name]
        row[gap] = relative_distance(tf_frame.arrays[name], reference)
        row[floor] = relative_distance(floor_frame.arrays[name], reference)
    return row | {"loss_tf": tf_frame.loss, "loss_pt": pt_frame.loss}


def _made_weights(options: list[str]) -> str:
    result = subprocess.run([*_TWIN, "made", *options], stdout=subprocess.PIPE, text=True)
    if result.returncode:
        raise InputError("No weights could be made; the message stands above. Or give --init.")
    return result.stdout


@contextlib.contextmanager
def _running(framework: str, options: list[str]) -> Iterator[Iterator[StepSnapshot]]:
    """Start one twin in a process of its own; give the frames that it writes to its output."""
    process = subprocess.Popen([*_TWIN, framework, *options], stdout=subprocess.PIPE)
    try:
        yield _frames(process, FRAMEWORKS[framework])
    finally:
        process.kill()  # does nothing to one that has ended
        process.stdout.close()
        process.wait()


def _frames(process: subprocess.Popen, name: str) -> Iterator[StepSnapshot]:
    yield from read_frames(process.stdout)
    code = process.wait()
    if code:
        raise InputError(f"The {name} run stopped with exit code {code}; its message stands above.")
