"""What a run keeps on disk: its checkpoints, and the model it ends with.

Both twins write the same files under the same names, so either can read what the other wrote.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from src.common.errors import InputError
from src.common.files import file_sha256, read_json, write_json
from src.config import ExperimentConfig, with_defaults
from src.data.pixels import PILLOW_DECODER
from src.training.history import EpochMeter, History
from src.training.schedule import Schedule
from src.xception.blocks import tensors
from src.xception.stages import all_layers
from src.xception.weight_files import Weights, load_arrays, write_safetensors
from src.xception.weights import check_weights

MODEL_FORMAT = 1
CHECKPOINT_FORMAT = 6  # raised when an optimizer or the schedule gets other fields
PREPROCESSING = {"decoder": PILLOW_DECODER, "range": [-1, 1], "channels": "gray, three times"}
TESTED, LAST = "tested.safetensors", "last.safetensors"
_OPTIMIZER = "optimizer/"


@dataclass
class Checkpoint:
    """Everything a run needs to go on as if it had never stopped."""

    weights: Weights
    optimizer: dict[str, np.ndarray]
    schedule: Schedule
    history: History
    epoch: EpochMeter | None = None  # None between epochs


def save_checkpoint(path: Path, checkpoint: Checkpoint, experiment: dict) -> None:
    """Write `checkpoint` to one file, whole or not at all.

    `experiment` says of what run it is, as plain JSON values: config, images, framework, start.
    """
    state = {
        "format": CHECKPOINT_FORMAT,
        "experiment": experiment,
        "schedule": dataclasses.asdict(checkpoint.schedule),
        "history": dataclasses.asdict(checkpoint.history),
        "epoch": dataclasses.asdict(checkpoint.epoch) if checkpoint.epoch else None,
    }
    optimizer = {_OPTIMIZER + name: array for name, array in checkpoint.optimizer.items()}
    write_safetensors(path, checkpoint.weights | optimizer, {"state": json.dumps(state)})


def load_checkpoint(path: Path, experiment: dict) -> Checkpoint | None:
    """Return the checkpoint of `experiment` at `path`, or None where there is none.

    Raises:
        InputError: the file is damaged, or belongs to another experiment.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, "np") as file:
            state = json.loads(file.metadata()["state"])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"The checkpoint {path} is damaged ({error}). Delete it to train from the start."
        ) from error
    if state.get("format") != CHECKPOINT_FORMAT:
        raise InputError(
            f"The checkpoint {path} was written by another version of this code. Delete it to "
            "train from the start, or go on with the version that wrote it."
        )
    saved = with_defaults(state["experiment"])
    differing = sorted(name for name, value in experiment.items() if saved.get(name) != value)
    if differing:
        raise InputError(
            f"{path.parent} holds a run of another experiment. Different: {', '.join(differing)}. "
            "Choose another --out, or delete the folder."
        )
    arrays = load_arrays(path)
    return Checkpoint(
        weights={name: a for name, a in arrays.items() if not name.startswith(_OPTIMIZER)},
        optimizer={
            name.removeprefix(_OPTIMIZER): array
            for name, array in arrays.items()
            if name.startswith(_OPTIMIZER)
        },
        schedule=Schedule(**state["schedule"]),
        history=History.from_json(state["history"]),
        epoch=EpochMeter(**state["epoch"]) if state["epoch"] else None,
    )


def write_model(
    folder: Path, weights: Mapping[str, np.ndarray], config: ExperimentConfig, framework: str
) -> None:
    """Write a finished model: `model.safetensors`, and `model.json` that says how to feed it."""
    write_safetensors(folder / "model.safetensors", weights)
    sha256 = file_sha256(folder / "model.safetensors")
    write_json(folder / "model.json", model_card(config, framework) | {"sha256": sha256})


def model_card(config: ExperimentConfig, framework: str) -> dict:
    """Return what `model.json` says of a model, as plain JSON values."""
    seen = ""
    if config.init == "pretrained" and config.allow_seen_test:
        seen = " Its test images may be training images of the shipped model that it starts from."
    return {
        "format": MODEL_FORMAT,
        "framework": framework,
        "class_names": list(config.classes),
        "image_size": config.eval_size,
        "preprocessing": PREPROCESSING,
        "config": config.to_json(),
        "note": f"Not a medical device: for research and teaching only.{seen}",
    }


def read_model_card(folder: Path) -> tuple[dict, ExperimentConfig]:
    """Return a saved model's `model.json` and the config in it.

    Raises:
        InputError: the folder holds no model, or one that this version cannot feed correctly.
    """
    folder = Path(folder)
    if not (folder / "model.json").is_file():
        raise InputError(
            f"No saved model in {folder}: it has no model.json. Give the folder that "
            "`python -m src train --out` wrote."
        )
    card = read_json(folder / "model.json")
    for name, value in {"format": MODEL_FORMAT, "preprocessing": PREPROCESSING}.items():
        if not isinstance(card, dict) or card.get(name) != value:
            raise InputError(
                f"The model in {folder} was saved with another {name} than this version uses. "
                f"Expected: {value!r}. Train it again, or use the version that saved it."
            )
    config = ExperimentConfig.from_json(card.get("config", {}))
    if card.get("class_names") != list(config.classes):
        raise InputError(
            f"The model card in {folder} was changed: its class_names are not the classes of its "
            f"config, {', '.join(config.classes)}. Train the model again."
        )
    return card, config


def weights_sha256(folder: Path) -> str:
    """Return the SHA-256 of a saved model's weights file.

    Raises:
        InputError: the folder holds no model, or other weights than its card names.
    """
    card, _ = read_model_card(folder)
    path = Path(folder) / "model.safetensors"
    if not path.is_file():
        raise InputError(f"The model in {folder} lacks its weights, {path.name}. Copy them again.")
    sha256 = file_sha256(path)
    if card.get("sha256", sha256) != sha256:  # cards of older models do not name it
        raise InputError(
            f"{path} is not the file that was saved with model.json: its SHA-256 is "
            f"{sha256[:12]}..., and the card says {card['sha256'][:12]}.... Copy the model again."
        )
    return sha256


def read_model(folder: Path) -> tuple[Weights, ExperimentConfig]:
    """Return a saved model's weights and config, whichever framework wrote it.

    Raises:
        InputError: the folder holds no model, or a damaged one.
    """
    weights_sha256(folder)
    _, config = read_model_card(folder)
    path = Path(folder) / "model.safetensors"
    return check_weights(load_arrays(path), tensors(all_layers(config)), str(path)), config
