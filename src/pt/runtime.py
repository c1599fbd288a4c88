"""PyTorch's settings for this machine: threads, determinism, precision."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator

import timm
import torch
import torch.distributed as dist
import torchvision

from src.common.errors import InputError
from src.common.hardware import APPLE_GPU, check_precision, cores, missing_arithmetic
from src.common.progress import no_bars
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


@contextlib.contextmanager
def distributed(replicas: int) -> Iterator[None]:
    """Let the processes that torchrun started train together within the block, one per replica.

    They speak by nccl on GPUs, each with its own, and by gloo on CPU, where those of one machine
    share the cores. Without torchrun nothing changes.

    Raises:
        InputError: `replicas` asks for several, which is torchrun's to start.
    Twin: `src.tf.runtime.distributed`.
    """
    if replicas > 1:
        raise InputError(
            f"--replicas {replicas} is for TensorFlow. For PyTorch: torchrun --nproc-per-node "
            f"{replicas} -m src train --framework pt ..."
        )
    if not dist.is_torchelastic_launched():
        yield
        return
    on_gpu = device() == "cuda"
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.set_num_threads(max(1, cores() // int(os.environ["LOCAL_WORLD_SIZE"])))
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        with contextlib.nullcontext() if writes() else no_bars():
            yield
    finally:
        dist.destroy_process_group()


def replica() -> tuple[int, int]:
    """Return which of the replicas that share each batch this process is, and their number.

    Twin: `src.tf.runtime.replica`.
    """
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def writes() -> bool:
    """Return whether this process writes the run's files: one of those that train together does.

    Twin: `src.tf.runtime.writes`.
    """
    return not dist.is_torchelastic_launched() or os.environ["RANK"] == "0"


def sum_over_replicas(value: torch.Tensor) -> torch.Tensor:
    """Return the sum of the replicas' tensors, in place of this one's; it has no gradient.

    Twin: `src.tf.runtime.sum_over_replicas`.
    """
    if dist.is_initialized():
        dist.all_reduce(value)
    return value


def device() -> str:
    """Return what the network runs on: a GPU of CUDA if there is one, as with Keras; else the CPU.

    BRAIN_TUMOR_DEVICE=mps asks for an Apple GPU, and cpu for the CPU.

    Raises:
        InputError: it asks for something else, or for what this machine lacks.
    No twin: TensorFlow finds its GPUs itself.
    """
    asked = os.environ.get("BRAIN_TUMOR_DEVICE", "")
    if asked not in ("", "cpu", "mps"):
        raise InputError(f"BRAIN_TUMOR_DEVICE is cpu, mps or not set. Received: {asked}.")
    if asked == "mps" and not torch.backends.mps.is_available():
        raise InputError("BRAIN_TUMOR_DEVICE=mps: PyTorch finds no Apple GPU here. Unset it.")
    return asked or ("cuda" if torch.cuda.is_available() else "cpu")


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
    names = {"cuda": torch.cuda.get_device_name, "mps": lambda: APPLE_GPU, "cpu": lambda: None}
    return names[device()]()


def versions() -> dict[str, str]:
    """Return the versions of the libraries that decide the arithmetic.

    Twin: `src.tf.runtime.versions`.
    """
    return {
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "timm": timm.__version__,
    }


def machine_speeds() -> dict[str, float]:
    """Return what this machine does at most: float32_flops, bfloat16_flops, bytes_per_second.

    The best of five products of square matrices (side x side), and of five copies of memory, each
    byte of which is read and written.
    No twin: one measurement is the yardstick of both.
    """
    side, megabytes, where = 2048, 256, device()
    wait = {"cuda": torch.cuda.synchronize, "mps": torch.mps.synchronize}.get(where, lambda: None)

    def fastest(run: Callable[[], object]) -> float:
        seconds = []
        for _ in range(6):
            started = time.perf_counter()
            run()
            wait()
            seconds.append(time.perf_counter() - started)
        return min(seconds[1:])

    speeds = {}
    for name in ("float32", "bfloat16"):
        matrix = torch.rand(side, side, device=where).to(getattr(torch, name))
        speeds[f"{name}_flops"] = 2 * side**3 / fastest(lambda m=matrix: m @ m)
    source = torch.ones(megabytes * 250_000, device=where)
    target = torch.empty_like(source)
    seconds = fastest(lambda: target.copy_(source))
    return speeds | {"bytes_per_second": 2e6 * megabytes / seconds}
