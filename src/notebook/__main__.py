"""python -m src.notebook {run,check,address}: for those who change notebooks, or fork them."""

import argparse
import sys
from pathlib import Path

import nbformat

from src.errors import InputError
from src.files import atomic_write
from src.notebook import address, check
from src.notebook.execute import execute


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m src.notebook")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    run = verbs.add_parser("run", help="execute notebooks from top to bottom and keep the outputs")
    run.add_argument("names", nargs="*", default=check.NAMES, metavar="NAME", help="default: all")
    run.add_argument(
        "--out", type=Path, default=check.FOLDER, metavar="DIR", help="default: in their place"
    )
    run.set_defaults(func=_run)
    look = verbs.add_parser("check", help="say what is wrong with notebooks")
    look.add_argument("folder", nargs="?", type=Path, default=check.FOLDER)
    look.add_argument("--executed", action="store_true", help="all must have been executed")
    look.set_defaults(func=_check)
    move = verbs.add_parser("address", help="write another repository into badges and set-up cells")
    move.add_argument("repository", metavar="URL")
    move.set_defaults(func=_address)
    options = parser.parse_args(arguments)
    try:
        return options.func(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _run(options: argparse.Namespace) -> int:
    wrong = 0
    for name in options.names:
        notebook, seconds = execute(name, options.out)
        faults = check.faults_of_outputs(notebook)
        print(f"{name}: {seconds:.0f} s", *faults, sep="\n  ", flush=True)
        if not faults:
            with atomic_write(options.out / f"{name}.ipynb") as temporary:
                temporary.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
        wrong += bool(faults)
    return int(wrong > 0)


def _check(options: argparse.Namespace) -> int:
    faults = []
    for name in check.NAMES:
        notebook = check.read(name, options.folder)
        found = check.faults_of_source(name, notebook) + check.faults_of_outputs(notebook)
        if options.executed and not any(cell.get("execution_count") for cell in notebook.cells):
            found.append("was not executed")
        faults += [f"{name}: {fault}" for fault in found]
    for one, other in check.TWINS:
        both = (check.read(name, options.folder) for name in (one, other))
        faults += [f"{one} and its twin: {fault}" for fault in check.faults_of_twins(*both)]
    print("\n".join(faults) or "Every notebook is as it should be.")
    return int(bool(faults))


def _address(options: argparse.Namespace) -> int:
    for path in address.move(options.repository):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
