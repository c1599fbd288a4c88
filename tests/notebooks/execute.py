"""Execute notebooks from top to bottom, in their order, and keep the outputs of a whole run.

python -m tests.notebooks.execute [NAME ...] [--out DIR]
"""

import argparse
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from src.common.errors import InputError
from src.common.files import atomic_write
from src.data.dataset import find_data
from src.data.phantom.write import MARKER
from src.notebook.setup import smoke
from tests.notebooks.check import FOLDER, NAMES, faults_of_outputs, read, tidy

TIMEOUT = 7200  # s, one cell


def execute(name: str) -> nbformat.NotebookNode:
    """Return a notebook with the outputs of one whole run.

    Raises:
        CellExecutionError: a cell failed.
    """
    notebook = read(name)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    resources = {"metadata": {"path": str(FOLDER)}}
    NotebookClient(notebook, timeout=TIMEOUT, resources=resources, record_timing=False).execute()
    tidy(notebook)
    return notebook


def check_images(out: Path) -> None:
    """Refuse outputs of the phantom set in the repository.

    Raises:
        InputError: SMOKE=1 without another folder, or no real images.
    """
    if smoke() and out.resolve() == FOLDER.resolve():
        raise InputError("Outputs of the phantom set do not belong in the repository. Give --out.")
    if not smoke() and (find_data() / MARKER).exists():
        raise InputError(
            "Without SMOKE=1 notebooks are executed on the real images, and none are found. Name "
            "their folder with BRAIN_TUMOR_DATA."
        )


def main(arguments: list[str] | None = None) -> int:
    """Execute notebooks in order; keep those without faults. Return an exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.notebooks.execute")
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    parser.add_argument("--out", type=Path, default=FOLDER, help="default: replace the notebooks")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.names) - set(NAMES)):
        parser.error(f"no such notebook: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    try:
        check_images(options.out)
    except InputError as error:
        parser.error(str(error))
    wrong = False
    for name in [name for name in NAMES if name in (options.names or NAMES)]:
        started = time.perf_counter()
        try:
            notebook = execute(name)
        except CellExecutionError as error:  # later notebooks use the runs of this one
            print(f"{name}: {error}")
            return 1
        faults = faults_of_outputs(notebook)
        print(f"{name}: {(time.perf_counter() - started) / 60:.1f} min", *faults, sep="\n  ")
        if not faults:
            with atomic_write(options.out / f"{name}.ipynb") as temporary:
                temporary.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
        wrong |= bool(faults)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
