"""Do both twins take the same training steps? Gap and floor after every step.

Three processes train on the same batches with `src.{tf,pt}.train.fit`: TensorFlow, PyTorch, and
PyTorch with every initial weight changed by one machine epsilon. See `src.comparison.agreement`
for what gap and floor mean.
"""

import contextlib
import dataclasses
import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from src.common.errors import InputError
from src.comparison.agreement import relative_distance
from src.comparison.parity.settings import CALIBRATED, judge
from src.comparison.parity.trace import LOGITS, MOVING, TRAINABLE, StepSnapshot, read_snapshots
from src.comparison.parity.worker import make_calibrated_weights, write_step_trace
from src.comparison.process import run_twin, running_twin
from src.config import ExperimentConfig
from src.data.dataset import open_dataset


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
    root = dataset.root
    if config.init == CALIBRATED:
        weights = run_twin(make_calibrated_weights, "pt", config, root).decode()
        config = dataclasses.replace(config, init=weights)
    runs = [("tf", False), ("pt", False), ("pt", True)]
    with contextlib.ExitStack() as stack:
        traces = [
            read_snapshots(
                stack.enter_context(
                    running_twin(write_step_trace, framework, config, root, perturbed=perturbed)
                )
            )
            for framework, perturbed in runs
        ]
        measured = compare_traces(*traces)
    return {
        **measured,
        **judge(measured["steps"], config),
        "config": config.to_json() | {"init": Path(config.init).name},  # no path of this machine
        "dataset": dataset.describe(),
    }


def compare_traces(
    tf_run: Iterator[StepSnapshot],
    pt_run: Iterator[StepSnapshot],
    floor_run: Iterator[StepSnapshot],
) -> dict:
    """Return `steps`, `eval_logits_gap` and `eval_logits_floor` of three runs, read in parallel.

    Raises:
        InputError: a run holds numbers that are not finite, or ends before the others.
    """
    steps, logits = [], None
    try:
        for snapshots in zip_longest(tf_run, pt_run, floor_run):
            if None in snapshots:
                break
            if LOGITS in snapshots[1].arrays:
                logits = [snapshot.arrays[LOGITS] for snapshot in snapshots]
                continue
            steps.append(_one_step(*snapshots))
            print(step_line(steps[-1]), file=sys.stderr)
    except ValueError as error:
        raise InputError(
            f"The runs cannot be compared after step {len(steps)} ({error}). Training may have "
            "diverged: try a lower --finetune-learning-rate or --clip-norm 1."
        ) from error
    if logits is None:
        raise InputError(
            f"A run stopped before its end, after step {len(steps)}; its message stands above."
        )
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


def _one_step(tf_step: StepSnapshot, pt_step: StepSnapshot, floor_step: StepSnapshot) -> dict:
    row = {"step": pt_step.step}
    for name, gap, floor in ((TRAINABLE, "gap", "floor"), (MOVING, "bn_gap", "bn_floor")):
        reference = pt_step.arrays[name]
        row[gap] = relative_distance(tf_step.arrays[name], reference)
        row[floor] = relative_distance(floor_step.arrays[name], reference)
    return row | {"loss_tf": tf_step.loss, "loss_pt": pt_step.loss}
