"""python -m src.notebook {run,check,address}: for those who change notebooks, or fork them."""

import argparse
import sys
from pathlib import Path

import nbformat
from nbclient.exceptions import CellExecutionError

from src.common.errors import InputError
from src.common.files import atomic_write
from src.notebook import address, costs
from tests.notebooks import check
from tests.notebooks.execute import execute, kind_of_run, tidy


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m src.notebook")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    run = verbs.add_parser("run", help="execute and measure notebooks, and keep the outputs")
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
    unknown = set(options.names) - set(check.NAMES)
    if unknown:
        raise InputError(
            f"No such notebook: {', '.join(sorted(unknown))}. There are {', '.join(check.NAMES)}."
        )
    kind = kind_of_run(options.out)
    wrong = 0
    for name in filter(options.names.__contains__, check.NAMES):  # later ones use runs of earlier
        try:
            notebook, cost = execute(name)
        except CellExecutionError as error:
            print(f"{name}: {error}", flush=True)
            return 1
        faults = check.faults_of_outputs(notebook)
        said = f"{cost['minutes']:.1f} min, {cost['memory_mb']:,} MiB"
        print(f"{name}: {said}, {cost['runs_made']} runs made", *faults, sep="\n  ", flush=True)
        if not faults:
            save_run(name, notebook, options.out, costs.note(name, kind, cost))
        wrong += bool(faults)
    return int(wrong > 0)


def save_run(name: str, notebook: nbformat.NotebookNode, out: Path, record: dict) -> None:
    """Write an executed notebook into `out`, and what it cost also into the one in its place."""
    with atomic_write(out / f"{name}.ipynb") as temporary:
        temporary.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
    for folder in {out.resolve(), check.FOLDER.resolve()}:
        costs.write_table(name, record, folder)


def _check(options: argparse.Namespace) -> int:
    faults = []
    for name in check.NAMES:
        notebook = check.read(name, options.folder)
        if options.executed:
            tidy(notebook)  # nbmake keeps every step of a progress bar
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
