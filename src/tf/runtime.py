"""TensorFlow's settings for this machine: threads, determinism, precision."""

import contextlib
import dataclasses

import keras
import tensorflow as tf

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
