"""`python -m src VERB`: parse, call, print. Verbs: see `python -m src --help`."""

import argparse
import signal
import sys

from src.cli import comparison, experiment, results
from src.cli.data import add_commands as add_data_commands
from src.common.errors import InputError
from src.common.renamed import renamed_flag


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every verb; each sets `func`, which `main` calls."""
    parser = argparse.ArgumentParser(
        prog="python -m src",
        description="Brain tumour classification with Xception, in TensorFlow and in PyTorch. "
        "Not a medical device: for research and teaching only.",
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    add_data_commands(verbs)
    for part in (experiment, comparison, results):
        part.add_commands(verbs)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code: 0 done, 2 something given was wrong."""
    parser = build_parser()
    for argument in sys.argv[1:] if arguments is None else arguments:
        if now := renamed_flag(argument):
            parser.error(f"{argument.partition('=')[0]} is called {now} now")
    options = parser.parse_args(arguments)
    try:
        return options.func(options) or 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped. The same command goes on from the last finished epoch.", file=sys.stderr)
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main())
