"""`doctor`: parse, call, print."""

import argparse

from src.cli.options import add_paths
from src.doctor import BAD, examine


def add_doctor(parser: argparse.ArgumentParser) -> None:
    """Add the options of `doctor`."""
    add_paths(parser, "--data")
    parser.epilog = "Exit code: 0 everything works, 1 something does not."


def doctor(options: argparse.Namespace) -> int:
    """Print one line for each finding; return 1 where something failed."""
    states = set()
    for state, what, says in examine(options.data):
        print(f"{state:8}{what:11} {says}", flush=True)
        states.add(state)
    return int(BAD in states)
