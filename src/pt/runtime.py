"""PyTorch's settings for this machine: threads, determinism, precision."""

import dataclasses
import os

import timm
import torch
import torchvision

from src.common.hardware import check_precision, cores, missing_arithmetic
from src.config import ExperimentConfig


def configure(config: ExperimentConfig) -> None:
    """Set threads, determinism and precision, once, before a model is built.

    Raises:
        InputError: this machine lacks the arithmetic of the precision.
    Twin: `src.tf.runtime.configure`.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS needs to repeat
    torch.set_num_threads(cores())
    torch.use_deterministic_algorithms(True)
    # Filling each new tensor with NaN before it is written would only take time.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.manual_seed(config.seed)
    check_precision(config.precision, gpu_name())
    set_precision(config.precision)


def inference_config(config: ExperimentConfig) -> ExperimentConfig:
    """Return `config`, in float32 where this machine lacks the arithmetic of its precision.

    Twin: `src.tf.runtime.inference_config`.
    """
    missing = missing_arithmetic(config.precision, gpu_name())
    return dataclasses.replace(config, precision="float32") if missing else config


def set_precision(precision: str) -> None:
    """Make layers built from now on compute in `precision`; 16 bits keep float32 weights.

    Twin: `src.tf.runtime.set_precision`.
    """
    torch.set_default_dtype(torch.float64 if precision == "float64" else torch.float32)


def gpu_name() -> str | None:
    """Return the name of the accelerator that will be used, or None.

    Twin: `src.tf.runtime.gpu_name`.
    """
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def versions() -> dict[str, str]:
    """Return the versions of the libraries that decide the arithmetic.

    Twin: `src.tf.runtime.versions`.
    """
    return {
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "timm": timm.__version__,
    }
