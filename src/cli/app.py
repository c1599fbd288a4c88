"""`app`: the classifier as a page in the browser, on this machine only."""

import argparse
import signal
import sys
from pathlib import Path

from src.cli.options import add_paths
from src.serving.classifier import BACKENDS
from src.serving.page import launch


def add_app(parser: argparse.ArgumentParser) -> None:
    """Add the options of `app`."""
    about = "folder of a run; default: the shipped model"
    parser.add_argument("--model", type=Path, metavar="RUN", help=about)
    about = "what computes; several are shown side by side; default: onnx, which needs no framework"
    parser.add_argument("--framework", choices=BACKENDS, nargs="+", default=["onnx"], help=about)
    add_paths(parser, "--data")


def app(options: argparse.Namespace) -> None:
    """Serve the page until Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no file stays behind
    page = launch(options.model, options.framework, data_dir=options.data)
    print(f"The page is at {page.local_url} and is seen from this machine only. Ctrl-C ends it.")
    sys.stdout.flush()
    page.block_thread()
