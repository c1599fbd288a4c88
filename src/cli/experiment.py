"""`train`, `evaluate`: parse, call, print."""

import argparse
from pathlib import Path

from src import experiment
from src.cli.options import (
    add_paths,
    add_run_options,
    add_workers,
    at_least,
    config_from,
    run_folder,
    show,
)
from src.common.files import write_json
from src.config import FRAMEWORKS
from src.data.catalog import read_catalog
from src.data.dataset import find_data, seen_mark
from src.serving.external import external_test, external_text


def add_train(parser: argparse.ArgumentParser) -> None:
    """Add the options of `train`."""
    parser.add_argument("--framework", required=True, choices=FRAMEWORKS)
    parser.add_argument("--evaluate", action="store_true", help="score the test part as well")
    about = "change every initial weight by one machine epsilon"
    parser.add_argument("--perturbed", action="store_true", help=about)
    about = "GPUs that share each batch (TensorFlow; PyTorch: src/comparison/README.md); default 1"
    parser.add_argument("--replicas", type=at_least(1), metavar="N", default=1, help=about)
    add_run_options(parser)


def train(options: argparse.Namespace) -> None:
    """Fine-tune one twin."""
    read_catalog(find_data(options.data))  # a wrong folder is named before a framework loads
    config, data = config_from(options), options.data
    out = run_folder(options, config)
    how = {name: getattr(options, name) for name in ("perturbed", "workers", "replicas")}
    if not experiment.train(options.framework, config, out, data, **how):
        return  # another process of torchrun's says the rest
    if options.evaluate:
        _print_score(experiment.evaluate(out, data, workers=options.workers))
    print(f"Saved the model and its record in {out}.")


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    """Add the options of `evaluate`."""
    parser.add_argument("run", type=Path, metavar="RUN", help="folder that `train --out` wrote")
    about = (
        "all: an external test, on every image of a folder that the model was not trained on; its "
        "classes may be yes and no"
    )
    parser.add_argument(
        "--part", choices=("test", "val", "train", "all"), default="test", help=about
    )
    about = "or others of their patients; the score is marked"
    about = f"score test images that the shipped model has seen, {about}"
    parser.add_argument("--allow-seen-test", action="store_true", help=about)
    add_paths(parser, "--data", "--json")
    add_workers(parser)


def evaluate(options: argparse.Namespace) -> None:
    """Score a saved model."""
    if options.part == "all":
        told = external_test(options.run, options.data, allow_seen=options.allow_seen_test)
        show(options, external_text(told), told)
        return
    how = {"workers": options.workers, "allow_seen_test": options.allow_seen_test}
    record = experiment.evaluate(options.run, options.data, options.part, **how)
    if options.json:
        write_json(options.json, record)
    _print_score(record, options.part)


def _print_score(record: dict, part: str = "test") -> None:
    metrics = record["metrics"][part]
    print(
        f"{part}: accuracy {metrics['accuracy']:.4f}, macro F1 {metrics['macro_f1']:.4f}, "
        f"log loss {metrics['log_loss']:.4f} over {metrics['count']} images"
    )
    if mark := seen_mark(record["dataset"]):
        print(f"*** {mark}: this score measures memory.")
