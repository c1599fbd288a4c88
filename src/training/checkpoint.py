"""What a run keeps on disk: its checkpoints, and the model it ends with.

Both twins write the same files under the same names, so either can read what the other wrote.
"""

import dataclasses
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from src.common.errors import InputError
from src.common.files import file_sha256, only_file, read_json, write_json
from src.common.renamed import current_names
from src.config import FRAMEWORKS, ExperimentConfig, with_defaults
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
PREVIOUS = "previous.safetensors"  # the checkpoint before the last
_OPTIMIZER = "optimizer/"
_AGAIN = "Copy the folder again, or delete model.json in it and train again"


@dataclass
class Checkpoint:
    """Everything a run needs to go on as if it had never stopped."""

    weights: Weights
    optimizer: dict[str, np.ndarray]
    schedule: Schedule
    history: History
    epoch: EpochMeter | None = None  # None between epochs


class DamagedCheckpointError(InputError):
    """A checkpoint is not what was saved; the one before it may be."""


def save_checkpoint(folder: Path, checkpoint: Checkpoint, experiment: dict) -> None:
    """Write `checkpoint` to `LAST`, whole or not at all; what was there becomes `PREVIOUS`.

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
    if (folder / LAST).is_file():
        (folder / LAST).replace(folder / PREVIOUS)
    write_checked(folder / LAST, checkpoint.weights | optimizer, state)


def load_checkpoint(folder: Path, experiment: dict) -> Checkpoint | None:
    """Return the last checkpoint of `experiment` in `folder`, or None where there is none.

    Where it is damaged or was being written, it is the one before.

    Raises:
        InputError: both are damaged, or belong to another experiment.
    """
    try:
        last = _load(folder / LAST, experiment)
    except DamagedCheckpointError as error:
        if not (folder / PREVIOUS).is_file():
            raise
        last = None
        print(f"*** {error} This run goes on from {PREVIOUS}.", file=sys.stderr)
    if last is None and (last := _load(folder / PREVIOUS, experiment)):
        (folder / LAST).unlink(missing_ok=True)  # else the next save would put it in place of this
    return last


def write_checked(path: Path, arrays: Weights, state: dict) -> None:
    """Write `arrays` and `state`, plain JSON values, with a checksum of both."""
    text = json.dumps(state)
    write_safetensors(path, arrays, {"state": text, "sha256": _checksum(text, arrays)})


def read_checked(path: Path) -> tuple[Weights, dict]:
    """Return the arrays and the state that `write_checked` wrote.

    Raises:
        DamagedCheckpointError: they are not there, or not what was written.
    """
    try:
        with safe_open(only_file(path), "np") as file:
            metadata = file.metadata() or {}
        arrays, text = load_arrays(path), metadata.get("state", "{}")
        # Those that older versions wrote have none.
        if metadata.get("sha256") not in (None, _checksum(text, arrays)):
            raise ValueError("its SHA-256 is another")
        return arrays, json.loads(text)
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _checksum(text: str, arrays: Weights) -> str:
    """Return the SHA-256 over a text and over names, kinds, shapes and values of arrays."""
    content = hashlib.sha256(text.encode())
    for name, array in sorted(arrays.items()):
        content.update(f"{name} {array.dtype} {array.shape}".encode())
        content.update(np.ascontiguousarray(array).tobytes())
    return content.hexdigest()


def _damaged(path: Path, error: object) -> DamagedCheckpointError:
    return DamagedCheckpointError(
        f"The checkpoint {path} is damaged ({error}). Without {LAST}, {PREVIOUS} and {TESTED} in "
        "its folder the run begins again."
    )


def _load(path: Path, experiment: dict) -> Checkpoint | None:
    if not path.is_file():
        return None
    arrays, state = read_checked(path)
    if isinstance(state, dict) and state.get("format", CHECKPOINT_FORMAT) != CHECKPOINT_FORMAT:
        raise InputError(
            f"The checkpoint {path} was written by another version of this code. Delete it to "
            "train from the start, or go on with the version that wrote it."
        )
    try:
        saved = with_defaults(state["experiment"])
        found = Checkpoint(
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
        differing = sorted(name for name, value in experiment.items() if saved.get(name) != value)
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, repr(error)) from error
    if differing:
        raise InputError(another_experiment(path.parent, differing))
    if bad := [name for name, array in found.weights.items() if not np.isfinite(array).all()]:
        raise _damaged(path, f"{bad[0]} holds NaN or infinity")
    return found


def another_experiment(folder: Path, differing: Sequence[str]) -> str:
    """Return the sentence that refuses to go on with a run."""
    return (
        f"{folder} holds a run of another experiment. Different: {', '.join(differing)}. "
        "Choose another --out, or delete the folder."
    )


def remove_checkpoints(folder: Path) -> None:
    """Remove what a finished run needs no more."""
    for name in (PREVIOUS, LAST, TESTED):
        (folder / name).unlink(missing_ok=True)


def write_model(
    folder: Path, weights: Mapping[str, np.ndarray], config: ExperimentConfig, framework: str
) -> None:
    """Write a finished model: `model.safetensors`, and `model.json` that says how to feed it."""
    write_safetensors(folder / "model.safetensors", weights)
    sha256 = file_sha256(folder / "model.safetensors")
    write_card(folder, model_card(config, framework) | {"sha256": sha256})


def write_card(folder: Path, card: dict) -> None:
    """Write `model.json`, sealed with a SHA-256 of all that it says."""
    write_json(folder / "model.json", card | {"seal": _seal(card)})


def _seal(card: dict) -> str:
    said = {name: value for name, value in card.items() if name != "seal"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


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
    written = read_json(folder / "model.json", as_written=True)
    card = current_names(written)
    for name, value in {"format": MODEL_FORMAT, "preprocessing": PREPROCESSING}.items():
        if not isinstance(card, dict) or card.get(name) != value:
            raise InputError(
                f"The model in {folder} was saved with another {name} than this version uses. "
                f"Expected: {value!r}. Train it again, or use the version that saved it."
            )
    fields = card.get("config", {})
    if not isinstance(fields, dict):
        raise InputError(f"The config in {folder / 'model.json'} is no JSON object. {_AGAIN}.")
    config = ExperimentConfig.from_json(fields)
    known = {"class_names": list(config.classes), "image_size": config.eval_size}
    wrong = [name for name, value in known.items() if card.get(name) != value]
    texts = {"note": card.get("note"), "sha256": card.get("sha256", "")}  # old ones lack the second
    wrong += [name for name, value in texts.items() if not isinstance(value, str)]
    wrong += [] if card.get("framework") in FRAMEWORKS else ["framework"]
    wrong += [f"config {name}" for name in _changed_fields(folder, config)]
    if wrong:
        raise InputError(
            f"The model card {folder / 'model.json'} was changed: {', '.join(wrong)} cannot be "
            f"right, as the rest of it and config.json beside it show. {_AGAIN}."
        )
    if written.get("seal", seal := _seal(written)) != seal:  # cards of older models have none
        raise InputError(
            f"The model card {folder / 'model.json'} was changed: it does not say what was saved, "
            f"by the SHA-256 in it (`seal`). {_AGAIN}."
        )
    return card, config


def _changed_fields(folder: Path, config: ExperimentConfig) -> list[str]:
    """Return the fields in which `config` is not what config.json says, if that is there."""
    if not (folder / "config.json").is_file():
        return []
    saved = read_json(folder / "config.json")
    if not isinstance(saved, dict):
        raise InputError(f"{folder / 'config.json'} is no JSON object. {_AGAIN}.")
    saved, here = with_defaults(saved), config.to_json()
    return sorted(name for name in here if saved.get(name) != here[name])


def weights_sha256(folder: Path) -> str:
    """Return the SHA-256 of a saved model's weights file.

    Raises:
        InputError: the folder holds no model, or other weights than its card names.
    """
    card, _ = read_model_card(folder)
    path = Path(folder) / "model.safetensors"
    if not path.is_file():
        raise InputError(f"The model in {folder} lacks its weights, {path.name}. {_AGAIN}.")
    sha256 = file_sha256(path)
    if card.get("sha256", sha256) != sha256:  # cards of older models do not name it
        raise InputError(
            f"{path} is not the file that was saved with model.json: its SHA-256 is "
            f"{sha256[:12]}..., and the card says {card['sha256'][:12]}.... {_AGAIN}."
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
