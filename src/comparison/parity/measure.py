"""Do both twins take the same training steps? Gap and floor after every step.

Three processes train on the same batches with `src.{tf,pt}.train.fit`: TensorFlow, PyTorch, and
PyTorch with every initial weight changed by one machine epsilon. See `src.comparison.agreement`
for what gap and floor mean.
"""

import contextlib
import dataclasses
import sys
from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path

from src.common.errors import InputError
from src.comparison.agreement import relative_distance
from src.comparison.parity import worker
from src.comparison.parity.settings import CALIBRATED, judge
from src.comparison.parity.worker import LOGITS, MOVING, TRAINABLE, StepSnapshot
from src.comparison.process import run_twin, running_twin
from src.config import ExperimentConfig
from src.data.dataset import open_dataset
from src.records import measurement


def measure_parity(config: ExperimentConfig, data_dir: Path | None = None) -> dict:
    """Train both twins as `config` says, and measure gap and floor after every step.

    Distances are ||a - b|| / ||b|| with b PyTorch's, over all weights that the experiment trains
    (gap, floor) and over all BatchNorm moving statistics (bn_gap, bn_floor).

    Returns:
        steps [{step, gap, floor, bn_gap, bn_floor, loss_tf, loss_pt}], eval_logits_gap (of the
        trained models' logits on test images, ||a - b|| / ||b||) and eval_logits_floor, verdict
        ("green", "red" or "not judged") and reason, and what `measurement` adds.
    Raises:
        InputError: something given is wrong, or a twin stopped or diverged.
    """
    dataset = open_dataset(config, data_dir)
    config = dataset.config  # with the classes of the folder
    if config.init == CALIBRATED:
        weights = run_twin(worker.calibrated_random_weights, "pt", config, dataset.root).decode()
        config = dataclasses.replace(config, init=weights)
    with contextlib.ExitStack() as stack:
        traces = []
        for framework, perturbed in (("tf", False), ("pt", False), ("pt", True)):
            given = (worker.write_step_trace, framework, config, dataset.root)
            stream = stack.enter_context(running_twin(*given, perturbed=perturbed))
            traces.append(worker.read_snapshots(stream))
        measured = compare_traces(*traces)
    verdict = judge(measured["steps"], config)
    return measurement(config, dataset.describe(), **measured, **verdict)


def compare_traces(*traces: Iterable[StepSnapshot]) -> dict:
    """Return `steps`, `eval_logits_gap` and `eval_logits_floor` of three runs, read in parallel.

    Args:
        traces: of TensorFlow, of PyTorch, and of PyTorch's floor run.
    Raises:
        InputError: a run holds numbers that are not finite, or ends before the others.
    """
    steps = []
    try:
        for snapshots in zip_longest(*traces):
            if None in snapshots:
                break
            tf, pt, _ = snapshots
            if LOGITS in pt.arrays:
                return {"steps": steps, **_distances(snapshots, LOGITS, "eval_logits_")}
            step = {"step": pt.step, **_distances(snapshots, TRAINABLE)}
            step |= _distances(snapshots, MOVING, "bn_")
            step |= {"loss_tf": tf.loss, "loss_pt": pt.loss}
            steps.append(step)
            print(
                f"step {pt.step:3}  gap {step['gap']:.1e}  floor {step['floor']:.1e}  "
                f"BatchNorm gap {step['bn_gap']:.1e}  floor {step['bn_floor']:.1e}  "
                f"loss {pt.loss:.6f}",
                file=sys.stderr,
            )
    except ValueError as error:
        raise InputError(
            f"The runs cannot be compared after step {len(steps)} ({error}). Training may have "
            "diverged: try a lower --finetune-learning-rate or --clip-norm 1."
        ) from error
    raise InputError(
        f"A run stopped before its end, after step {len(steps)}; its message stands above."
    )


def _distances(snapshots: tuple, name: str, prefix: str = "") -> dict[str, float]:
    tf, pt, perturbed = (snapshot.arrays[name] for snapshot in snapshots)
    return {
        f"{prefix}gap": relative_distance(tf, pt),
        f"{prefix}floor": relative_distance(perturbed, pt),
    }
