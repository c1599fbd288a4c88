"""`export`: a saved model for programs without `src`, or as the shipped classifier."""

import argparse
import sys
from pathlib import Path

from src.cli.options import add_paths
from src.common.errors import InputError
from src.experiment import load_twin
from src.pretrained.publish import publish
from src.training.checkpoint import read_model_card
from src.xception.weight_files import TRAIN_ONE, pretrained_folder

TWINS = {"keras": "tf", "timm": "pt"}


def add_export(parser: argparse.ArgumentParser) -> None:
    """Add the options of `export`."""
    about = (
        "keras: a .keras file; timm: a .safetensors state dict for legacy_xception; pretrained: "
        "the shipped classifier, made from a finished run and tested on its images"
    )
    parser.add_argument("--to", required=True, choices=(*TWINS, "pretrained"), help=about)
    about = "folder of a run; default, but not of pretrained: the shipped model"
    parser.add_argument("--model", type=Path, metavar="RUN", help=about)
    about = "the file to write, of keras and timm"
    parser.add_argument("--out", type=Path, metavar="FILE", help=about)
    add_paths(parser, "--data")


def export(options: argparse.Namespace) -> None:
    """Write the model; print the Python that uses it."""
    if options.to == "pretrained":
        if not options.model:
            raise InputError("Give --model the folder of the run that shall ship.")
        publish(options.model, options.data)
        print("Wrote src/pretrained. Look at its README.md, then commit the folder.")
        return
    if not options.out:
        raise InputError("Give --out the file to write.")
    folder = options.model or pretrained_folder(TRAIN_ONE)
    read_model_card(folder)  # a wrong folder is named before a framework loads
    lines = load_twin(TWINS[options.to]).export.export_model(folder, options.out)
    print(f"Wrote {options.out}. These lines use it, without this repository:", file=sys.stderr)
    print(lines)
