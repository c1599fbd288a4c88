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


def execute(notebook: nbformat.NotebookNode) -> None:
    """Give a notebook the outputs of one whole run; a failing cell raises."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    resources = {"metadata": {"path": str(FOLDER)}}
    NotebookClient(notebook, timeout=7200, resources=resources, record_timing=False).execute()
    tidy(notebook)


def refusal(out: Path) -> str:
    """Return why no notebook is executed: phantoms do not belong in the repository."""
    if smoke():
        outside = out.resolve() != FOLDER.resolve()
        return "" if outside else "With SMOKE=1 give another folder with --out."
    try:
        real = not (find_data() / MARKER).exists()
    except InputError as error:
        return str(error)
    return "" if real else "BRAIN_TUMOR_DATA must name the folder of the real images."


def main(arguments: list[str] | None = None) -> int:
    """Execute notebooks in order; keep those without faults. Return an exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.notebooks.execute")
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    parser.add_argument("--out", type=Path, default=FOLDER, help="default: replace the notebooks")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.names) - set(NAMES)):
        parser.error(f"no such notebook: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    if refused := refusal(options.out):
        parser.error(refused)
    wrong = False
    for name in [name for name in NAMES if name in (options.names or NAMES)]:
        started, notebook = time.perf_counter(), read(name)
        try:
            execute(notebook)
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
