"""Saving and loading: finished models, and the optimizer's state within a checkpoint."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from src.config import ExperimentConfig
from src.pt.model import XceptionClassifier, build_model, get_weights
from src.pt.runtime import inference_config
from src.training.checkpoint import read_model, write_model

_SCALER = "scaler/"


def save_model(model: XceptionClassifier, config: ExperimentConfig, folder: Path) -> None:
    """Write the finished model, with its preprocessing, size and class names, to `folder`.

    Twin: `src.tf.checkpoint.save_model`; either twin loads what the other saved.
    """
    write_model(folder, get_weights(model), config, "pt")


def load_model(folder: Path) -> tuple[XceptionClassifier, ExperimentConfig]:
    """Build the model that a run saved in `folder`, and return it with its config.

    Raises:
        InputError: the folder holds no model, or a damaged one.
    Twin: `src.tf.checkpoint.load_model`.
    """
    weights, config = read_model(folder)
    config = inference_config(config)
    return build_model(config, weights), config


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, np.ndarray]:
    """Return the state of `optimizer`.

    Twin: `src.tf.checkpoint.optimizer_state`; names and content are the framework's.
    """
    return {
        f"{index:04d}/{name}": np.array(value.numpy(force=True))
        for index, entry in optimizer.state_dict()["state"].items()
        for name, value in entry.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, np.ndarray]) -> None:
    """Set the state of `optimizer` to what `optimizer_state` returned.

    Moments get the memory order of their weights, channels_last for kernels: PyTorch's fused update
    walks raw memory.
    Twin: `src.tf.checkpoint.restore_optimizer`.
    """
    memory = optimizer.state_dict()
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    for key, array in state.items():
        index, _, name = key.partition("/")
        value, parameter = torch.from_numpy(array), parameters[int(index)]
        if value.shape == parameter.shape:
            value = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        memory["state"].setdefault(int(index), {})[name] = value
    optimizer.load_state_dict(memory)


def training_state(
    optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler
) -> dict[str, np.ndarray]:
    """Return the state of `optimizer`, and of `scaler` where it does anything.

    No twin: in Keras what scales the loss is an optimizer.
    """
    of_scaler = {_SCALER + name: np.array(value) for name, value in scaler.state_dict().items()}
    return optimizer_state(optimizer) | of_scaler


def restore_training(
    optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, state: Mapping[str, np.ndarray]
) -> None:
    """Set the states of `optimizer` and `scaler` to what `training_state` returned.

    No twin: in Keras what scales the loss is an optimizer.
    """
    scaler.load_state_dict({name: state[_SCALER + name].item() for name in scaler.state_dict()})
    names = [name for name in state if not name.startswith(_SCALER)]
    restore_optimizer(optimizer, {name: state[name] for name in names})
