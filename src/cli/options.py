"""Options that several verbs share, and the config that they give."""

import argparse
import dataclasses
import datetime
import sys
from pathlib import Path

from src.common.errors import InputError
from src.common.files import read_json
from src.config import PRESETS, ExperimentConfig, preset
from src.differences import STOCK
from src.xception.weight_files import fetch_imagenet

_LISTS = ("reinit", "restore_defaults")


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add `--data`, `--workers` and `--out`, of a verb that a second call goes on with."""
    parser.set_defaults(resumable=True)
    add_data_option(parser)
    add_workers_option(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: runs/<time>")


def add_data_option(parser: argparse.ArgumentParser) -> None:
    """Add `--data`."""
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="default: BRAIN_TUMOR_DATA, else dataset/, else the built-in phantom set",
    )


def add_workers_option(parser: argparse.ArgumentParser) -> None:
    """Add `--workers`."""
    about = "processes (PyTorch) or threads (TensorFlow) that prepare batches; default 0"
    parser.add_argument("--workers", type=int, metavar="N", default=0, help=about)


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add `--preset`, `--config` and one flag for each field of the config."""
    group = parser.add_argument_group("the experiment")
    group.add_argument("--preset", choices=PRESETS, default="quick", help="default: quick")
    group.add_argument(
        "--config", type=Path, metavar="FILE", help="a config.json in place of a preset"
    )
    add_field_options(group)


def add_field_options(group) -> None:
    """Add one flag for each field of the config."""
    for spec in dataclasses.fields(ExperimentConfig):
        unit, why = spec.metadata["unit"], spec.metadata["why"]
        if spec.type is bool:
            kind = {"action": argparse.BooleanOptionalAction}
        elif spec.name in _LISTS:
            kind = {"type": str, "nargs": "*"}
        else:
            kind = {"type": spec.type}
        group.add_argument(
            f"--{spec.name.replace('_', '-')}",
            default=argparse.SUPPRESS,
            help=(f"{unit}: {why}" if unit else why).replace("%", "%%"),
            **kind,
        )


def config_from(options: argparse.Namespace) -> ExperimentConfig:
    """Return the preset or the file, changed by the fields given on the command line."""
    given = config_fields(options)
    if options.config:
        values = read_json(options.config)
        if not isinstance(values, dict):
            raise InputError(f"{options.config} is not a config: expected a JSON object of fields.")
        return ExperimentConfig.from_json(values | given)
    config = preset(options.preset, **given)
    if config.init == "imagenet" and "init" not in given:
        return _scratch_without_network(config)
    return config


def config_fields(options: argparse.Namespace) -> dict:
    """Return the fields of the config that were given on the command line."""
    names = [spec.name for spec in dataclasses.fields(ExperimentConfig)]
    given = {name: getattr(options, name) for name in names if hasattr(options, name)}
    if given.get("restore_defaults") == ["all"]:
        given["restore_defaults"] = STOCK
    return given


def _scratch_without_network(config: ExperimentConfig) -> ExperimentConfig:
    """Fall back on random weights, and say so, where ImageNet's were not asked for nor found."""
    try:
        fetch_imagenet()
    except InputError as error:
        print(
            f"*** {error}\n*** Without --init this run starts from random weights (init=scratch). "
            "Its scores say little about fine-tuning.",
            file=sys.stderr,
        )
        return dataclasses.replace(config, init="scratch")
    return config


def run_folder(options: argparse.Namespace) -> Path:
    """Return the folder of this run, and note it in `options` for the case that it is stopped."""
    if options.out is None:
        options.out = Path("runs") / datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S")
    return options.out
