"""What the scripts beside this file share: a command line that writes a record."""

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from src.common.errors import InputError
from src.common.files import write_json
from src.results.grid import RESULTS


@contextlib.contextmanager
def in_a_sentence() -> Iterator[None]:
    """Let an InputError within the block end the process with its sentence."""
    try:
        yield
    except InputError as error:
        sys.exit(f"error: {error}")


def record(name: str, measure: Callable[..., Mapping], *needed: str, **optional: Path) -> None:
    """Run the script `name`: write what `measure` returns of the paths given as `name.json`.

    Args:
        name: of the script.
        measure: takes the paths.
        needed: what the paths are called.
        optional: further ones, with their defaults.
    """
    parser = argparse.ArgumentParser(f"python -m notebooks.results.{name}")
    for path in needed:
        parser.add_argument(path, type=Path)
    for path, default in optional.items():
        parser.add_argument(path, type=Path, nargs="?", default=default)
    with in_a_sentence():
        write_json(RESULTS / f"{name}.json", measure(*vars(parser.parse_args()).values()))
