"""TensorFlow's settings for this machine: threads, determinism, precision."""

import contextlib
import dataclasses
import os
from collections.abc import Iterator

import keras
import tensorflow as tf

from src.common.errors import InputError
from src.common.hardware import check_precision, cores, missing_arithmetic
from src.config import ExperimentConfig

_POLICIES = {
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
    "float64": "float64",
}


def configure(config: ExperimentConfig) -> None:
    """Set threads, determinism and precision, once, before a model is built.

    Raises:
        InputError: this machine lacks the arithmetic of the precision.
    Twin: `src.pt.runtime.configure`.
    """
    with contextlib.suppress(RuntimeError):  # already running: threads stay as they are
        tf.config.threading.set_intra_op_parallelism_threads(cores())
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(config.seed)
    check_precision(config.precision, gpu_name())
    set_precision(config.precision)


@contextlib.contextmanager
def distributed(replicas: int) -> Iterator[None]:
    """Let a `MirroredStrategy` split each batch over so many replicas within the block.

    They are GPUs, or where there is none, halves, thirds, ... of the CPU, to try it out.

    Raises:
        InputError: there are fewer GPUs, or torchrun started this process.
    Twin: `src.pt.runtime.distributed`, where torchrun starts a process for each replica.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        raise InputError("torchrun is for PyTorch. TensorFlow takes --replicas N, in one process.")
    if replicas == 1:
        yield
        return
    devices = tf.config.list_physical_devices("GPU")
    if not devices:
        (cpu,) = tf.config.list_physical_devices("CPU")
        parts = [tf.config.LogicalDeviceConfiguration()] * replicas
        tf.config.set_logical_device_configuration(cpu, parts)
        devices = tf.config.list_logical_devices("CPU")
    if not 1 <= replicas <= len(devices):
        raise InputError(f"--replicas {replicas}, but this machine has {len(devices)} GPUs.")
    names = [f"{device.device_type}:{number}" for number, device in enumerate(devices)]
    with tf.distribute.MirroredStrategy(names[:replicas]).scope():
        yield


def replica() -> tuple[int, int]:
    """Return which of the replicas that share each batch this is, and their number.

    In the graph the former is a tensor; where Python speaks for all replicas, it is 0.
    Twin: `src.pt.runtime.replica`.
    """
    context = tf.distribute.get_replica_context()
    number = context.replica_id_in_sync_group if context else 0
    return number, tf.distribute.get_strategy().num_replicas_in_sync


def writes() -> bool:
    """Return whether this process writes the run's files: always, since it holds all replicas.

    Twin: `src.pt.runtime.writes`.
    """
    return True


def sum_over_replicas(value):
    """Return the sum of the replicas' tensors, or lists of them, in each replica.

    Where Python speaks for all replicas, there is nothing to add.
    Twin: `src.pt.runtime.sum_over_replicas`.
    """
    context = tf.distribute.get_replica_context()
    several = context and context.num_replicas_in_sync > 1
    return context.all_reduce("SUM", value) if several else value


def inference_config(config: ExperimentConfig) -> ExperimentConfig:
    """Return `config`, in float32 where this machine lacks the arithmetic of its precision.

    Twin: `src.pt.runtime.inference_config`.
    """
    missing = missing_arithmetic(config.precision, gpu_name())
    return dataclasses.replace(config, precision="float32") if missing else config


def set_precision(precision: str) -> None:
    """Make layers built from now on compute in `precision`; 16 bits keep float32 weights.

    Twin: `src.pt.runtime.set_precision`.
    """
    keras.config.set_floatx("float64" if precision == "float64" else "float32")
    keras.config.set_dtype_policy(_POLICIES[precision])


def gpu_name() -> str | None:
    """Return the name of the accelerator that will be used, or None.

    Twin: `src.pt.runtime.gpu_name`.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return None
    return tf.config.experimental.get_device_details(gpus[0]).get("device_name", gpus[0].name)


def versions() -> dict[str, str]:
    """Return the versions of the libraries that decide the arithmetic.

    Twin: `src.pt.runtime.versions`.
    """
    return {"tensorflow": tf.__version__, "keras": keras.__version__}
