"""Saving and loading: finished models, and the optimizer's state within a checkpoint."""

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from src.config import ExperimentConfig
from src.tf.model import XceptionClassifier, build_model, get_weights
from src.tf.runtime import inference_config
from src.training.checkpoint import read_model, write_model


def save_model(model: XceptionClassifier, config: ExperimentConfig, folder: Path) -> None:
    """Write the finished model, with its preprocessing, size and class names, to `folder`.

    Twin: `src.pt.checkpoint.save_model`; either twin loads what the other saved.
    """
    write_model(folder, get_weights(model), config, "tf")


def load_model(folder: Path) -> tuple[XceptionClassifier, ExperimentConfig]:
    """Build the model that a run saved in `folder`, and return it with its config.

    Raises:
        InputError: the folder holds no model, or a damaged one.
    Twin: `src.pt.checkpoint.load_model`.
    """
    weights, config = read_model(folder)
    config = inference_config(config)
    return build_model(config, weights), config


def optimizer_state(optimizer: keras.optimizers.Optimizer) -> dict[str, np.ndarray]:
    """Return the state of `optimizer`.

    Twin: `src.pt.checkpoint.optimizer_state`; names and content are the framework's.
    """
    return {
        f"{index:04d}": keras.ops.convert_to_numpy(variable)
        for index, variable in enumerate(optimizer.variables)
    }


def restore_optimizer(
    optimizer: keras.optimizers.Optimizer, state: Mapping[str, np.ndarray]
) -> None:
    """Set the state of `optimizer` to what `optimizer_state` returned.

    Twin: `src.pt.checkpoint.restore_optimizer`.
    """
    for index, variable in enumerate(optimizer.variables):
        variable.assign(state[f"{index:04d}"])
