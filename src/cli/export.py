"""`export`: a saved model for programs without `src`, or as the shipped classifier."""

import argparse
import sys
from pathlib import Path

from src.cli.options import add_paths
from src.common.errors import InputError
from src.experiment import load_twin
from src.pretrained.publish import publish
from src.serving.export import SUFFIXES, TOLERANCES, check_export, check_options, export_graph
from src.training.checkpoint import read_model_card
from src.xception.weight_files import TRAIN_ONE, pretrained_folder

TWINS = {"keras": "tf", "timm": "pt"}


def add_export(parser: argparse.ArgumentParser) -> None:
    """Add the options of `export`."""
    work = parser.add_mutually_exclusive_group(required=True)
    about = (
        "onnx: a file for ONNX Runtime; saved_model: a folder for TensorFlow; torch_export: a .pt2 "
        "file for PyTorch; keras: a .keras file; timm: a .safetensors state dict for "
        "legacy_xception; pretrained: the shipped classifier, made from a finished run and tested "
        "on its images"
    )
    work.add_argument("--to", choices=(*SUFFIXES, *TWINS, "pretrained"), help=about)
    about = "run an exported onnx or saved_model again on the images of its record"
    work.add_argument("--check", type=Path, metavar="FILE", help=about)
    about = "folder of a run; default: the shipped model (none with --to pretrained)"
    parser.add_argument("--model", type=Path, metavar="RUN", help=about)
    about = "what to write; not with --to pretrained"
    parser.add_argument("--out", type=Path, metavar="FILE", help=about)
    about = "with --to onnx; default: float32. int8 is calibrated on validation images of --data"
    parser.add_argument("--precision", choices=tuple(TOLERANCES), default="float32", help=about)
    about = (
        "of onnx: let that framework make it; default: made without one, with heat map and features"
    )
    parser.add_argument("--from", choices=("tf", "pt"), dest="made_by", help=about)
    add_paths(parser, "--data")


def export(options: argparse.Namespace) -> None:
    """Write the model; print the Python that uses it."""
    if options.check:
        print(check_export(options.check))
        return
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
    check_options(options.to, options.made_by, options.precision)
    if options.to in TWINS:
        lines = load_twin(TWINS[options.to]).export.export_model(folder, options.out)
    else:
        lines = export_graph(
            folder,
            options.out,
            options.to,
            made_by=options.made_by,
            precision=options.precision,
            data_dir=options.data,
        )
    print(f"Wrote {options.out}. These lines use it, without this repository:", file=sys.stderr)
    print(lines)
