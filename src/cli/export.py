"""`export`: a saved model for programs without `src`, or as the shipped classifier."""

import argparse
from pathlib import Path

from src.cli.options import add_paths
from src.common.errors import InputError
from src.pretrained.publish import publish


def add_export(parser: argparse.ArgumentParser) -> None:
    """Add the options of `export`."""
    about = "pretrained: the shipped classifier, made from a finished run and tested on its images"
    parser.add_argument("--to", required=True, choices=("pretrained",), help=about)
    about = "folder of a run"
    parser.add_argument("--model", type=Path, metavar="RUN", help=about)
    add_paths(parser, "--data")


def export(options: argparse.Namespace) -> None:
    """Write the model and say what was written."""
    if not options.model:
        raise InputError("Give --model the folder of the run that shall ship.")
    publish(options.model, options.data)
    print("Wrote src/pretrained. Look at its README.md, then commit the folder.")
