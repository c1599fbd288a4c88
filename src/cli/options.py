"""What several verbs share: their options, the config that these give, and what is done with it."""

import argparse
import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from src.common.errors import InputError
from src.common.files import read_json, write_json
from src.config import CHOICES, PRESETS, ExperimentConfig
from src.differences import STOCK

# Shared flags that take a path: metavar, help.
_PATHS = {
    "--data": ("DIR", "default: BRAIN_TUMOR_DATA, else dataset/, else the built-in phantom set"),
    "--out": ("DIR", "default: in runs/, by a name that the same command finds again"),
    "--json": ("FILE", "write the record there"),
}


# Options that leave a run what it is, or that its config and images stand for.
_NOT_OF_A_RUN = (
    "func", "resumable", "out", "json", "workers", "replicas", "evaluate",
    "preset", "config", "data", *(spec.name for spec in dataclasses.fields(ExperimentConfig)),
)  # fmt: skip


def add_paths(parser: argparse.ArgumentParser, *flags: str) -> None:
    """Add these of the shared flags that take a path; with `--data`, `--map`."""
    for flag in flags:
        metavar, about = _PATHS[flag]
        parser.add_argument(flag, type=Path, metavar=metavar, help=about)
    if "--data" in flags:
        about = "read a folder of images as another class, such as healthy=notumor; repeatable"
        parser.add_argument("--map", action=_Map, metavar="FOLDER=CLASS", help=about)


class _Map(argparse.Action):
    """Hand `--map` to whoever reads folders, in the processes that a verb starts, too."""

    def __call__(self, parser, options, value, flag=None):
        options.map = [*(options.map or []), value]
        os.environ["BRAIN_TUMOR_MAP"] = ",".join(options.map)


def at_least(least: int) -> Callable[[str], int]:
    """Return the `type` of an option that takes an integer of this size or more."""

    def integer(text: str) -> int:
        if (value := int(text)) < least:
            raise argparse.ArgumentTypeError(f"must be {least} or more. Received: {value}.")
        return value

    return integer


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add `--workers`."""
    about = "processes (PyTorch) or threads (TensorFlow) that prepare batches; default 0"
    parser.add_argument("--workers", type=at_least(0), metavar="N", default=0, help=about)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add what a verb needs that a second call resumes: `--data`, `--out`, `--workers`, config."""
    parser.set_defaults(resumable=True)
    add_paths(parser, "--data", "--out")
    add_workers(parser)
    add_config_options(parser)


def add_config_options(
    parser: argparse.ArgumentParser, *, presets: bool = True, without: tuple[str, ...] = ()
) -> None:
    """Add one flag for each field of the config but `classes`, which are the folder's own.

    A field that is not given is no attribute of the parsed options.

    Args:
        presets: also add `--preset` and `--config`, for `config_from`, and tell the defaults.
        without: fields that other options of the verb stand for.
    """
    group = parser.add_argument_group("the experiment")
    if presets:
        group.description = (
            "What the preset or --config says goes before the defaults named here. Without --init, "
            "a run starts from the shipped model (pretrained) on the phantom set, and wherever "
            "ImageNet's weights can neither be found nor fetched."
        )
        about = "a config.json in place of a preset"
        group.add_argument("--preset", choices=PRESETS, default="quick", help="default: quick")
        group.add_argument("--config", type=Path, metavar="FILE", help=about)
    for spec in dataclasses.fields(ExperimentConfig):
        if spec.name in ("classes", *without):
            continue
        if spec.type is bool:
            kind = {"action": argparse.BooleanOptionalAction}
        elif spec.type == tuple[str, ...]:
            kind = {"type": str, "nargs": "*", "metavar": "NAME"}
        else:
            kind = {"type": spec.type, "metavar": _METAVARS[spec.type]}
        about = _about(spec, default=presets).replace("%", "%%")
        flag = f"--{spec.name.replace('_', '-')}"
        group.add_argument(flag, default=argparse.SUPPRESS, help=about, **kind)


_METAVARS = {int: "N", float: "X", str: "NAME"}


def _about(spec: dataclasses.Field, *, default: bool) -> str:
    """Return what the help says of a field of the config."""
    unit, value = spec.metadata["unit"], spec.default
    parts = [spec.metadata["why"] + (f" [{unit}]" if unit else "")]
    if spec.name in CHOICES:
        parts.append(f"one of {', '.join(CHOICES[spec.name])}")
    if default:
        shown = {False: "no", True: "yes"}[value] if spec.type is bool else value
        parts.append(f"default: {'none' if shown == () else shown}")
    return "; ".join(parts)


def config_from(options: argparse.Namespace) -> ExperimentConfig:
    """Return the preset or the file, changed by the fields given on the command line.

    Where neither says `--init`, it is as `_start` chooses.
    """
    values = read_json(options.config) if options.config else PRESETS[options.preset]
    if not isinstance(values, dict):
        raise InputError(f"{options.config} is not a config: expected a JSON object of fields.")
    values = values | config_fields(options)
    config = ExperimentConfig.from_json(values)
    if "init" not in values:
        config = dataclasses.replace(config, init=_start(options.data))
    return config


def _start(data: Path | None) -> str:
    """Return what a run starts from: ImageNet's weights, but where they are of no use or not there.

    On the phantom set, and where ImageNet's weights can neither be found nor fetched, it is the
    shipped model; stderr says so.
    """
    # Imported here: `app` and `doctor` parse options where no package for training is installed.
    from src.data.dataset import find_data
    from src.data.phantom.write import is_phantom
    from src.xception.weight_files import fetch_imagenet

    if is_phantom(find_data(data)):
        why = "The phantom set needs no ImageNet weights."
    else:
        try:
            fetch_imagenet()
            return "imagenet"
        except InputError as error:
            why = str(error)
    start = "Without --init this run starts from the shipped model (init=pretrained)."
    print(f"*** {why}\n*** {start}", file=sys.stderr)
    return "pretrained"


def config_fields(options: argparse.Namespace) -> dict:
    """Return the fields of the config that were given on the command line."""
    names = {spec.name for spec in dataclasses.fields(ExperimentConfig)}
    given = {name: value for name, value in vars(options).items() if name in names}
    if given.get("restore_defaults") == ["all"]:
        given["restore_defaults"] = STOCK
    return given


def run_folder(options: argparse.Namespace, config: ExperimentConfig) -> Path:
    """Return the folder of this run, and note it in `options` for the case that it is stopped."""
    from src.data.catalog import read_catalog
    from src.data.dataset import find_data

    if options.out is None:
        given = {name: value for name, value in vars(options).items() if name not in _NOT_OF_A_RUN}
        images = read_catalog(find_data(options.data)).fingerprint
        asked = json.dumps([given, config.to_json(), images], sort_keys=True, default=str)
        kind = "-".join(filter(None, (options.func.__name__, given.get("framework"))))
        name = f"{kind}-{hashlib.sha256(asked.encode()).hexdigest()[:8]}"
        options.out = Path("runs") / name
    return options.out


def show(options: argparse.Namespace, text: str, record: dict) -> None:
    """Print `text`, and write `record` to the file that `--json` names, if it does."""
    print(text)
    if options.json:
        write_json(options.json, record)
