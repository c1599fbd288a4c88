"""Execute notebooks from top to bottom, in their order, and keep the outputs of a whole run.

python -m tests.notebooks.execute [NAME ...] [--out DIR]

Minutes and memory go to results/notebooks.json, to the first cells and to the table in README.md.
"""

import argparse
import datetime
import re
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from src.common import hardware
from src.common.errors import InputError
from src.common.files import atomic_write, read_json, write_json
from src.data.dataset import find_data
from src.data.phantom.write import MARKER
from src.notebook.setup import smoke
from tests.notebooks.check import FOLDER, NAMES, faults_of_outputs, read, tidy

_COSTS = re.compile(r"^\*\*Minutes\*\*.*$", re.M)


def execute(notebook: nbformat.NotebookNode) -> dict:
    """Give a notebook the outputs of one whole run, and return what it cost; a failing cell raises.

    Returns:
        minutes, memory_mb (the most that the kernel's own process held), hardware, commit, date.
    """
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    resources, started = {"metadata": {"path": str(FOLDER)}}, time.perf_counter()
    client, peak = NotebookClient(notebook, timeout=7200, resources=resources), []
    client.record_timing = False
    client.on_cell_executed = lambda **_: peak.append(_peak_mb(client.km.provisioner.pid))
    client.execute()
    tidy(notebook)
    return {
        "minutes": round((time.perf_counter() - started) / 60, 2),
        "memory_mb": peak[-1],
        "hardware": hardware.describe(None),
        "commit": hardware.commit(),
        "date": datetime.date.today().isoformat(),
    }


def _peak_mb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()  # Linux
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) // 1024


def note_costs(name: str, measured: dict) -> None:
    """Write what a notebook cost to the record, and to where people read it."""
    folder, file = FOLDER, FOLDER / "results" / "notebooks.json"
    costs = read_json(file)
    costs["smoke" if smoke() else "real"][name] = measured
    write_json(file, costs)
    if not all(name in costs[kind] for kind in ("real", "smoke")):
        return
    real, small = costs["real"][name], costs["smoke"][name]
    memory = [f"{each['memory_mb'] / 1024:.1f} GiB" for each in (real, small)]
    line = (
        f"**Minutes**: {real['minutes']:.1f} ({small['minutes']:.1f} with `SMOKE=1`). **Memory**: "
        f"{memory[0]} ({memory[1]} with `SMOKE=1`). Measured on two CPU cores, after the "
        "notebooks before this one."
    )
    notebook = nbformat.read(folder / f"{name}.ipynb", as_version=4)
    notebook.cells[0].source = _COSTS.sub(lambda _: line, notebook.cells[0].source)
    _write(notebook, folder / f"{name}.ipynb")
    readme = (folder / "README.md").read_text(encoding="utf-8")
    row = re.compile(rf"^(\| \[{name}\].*\| )[\d.]+( \|)$", re.M)
    (folder / "README.md").write_text(
        row.sub(rf"\g<1>{real['minutes']:.1f}\2", readme), encoding="utf-8"
    )


def _write(notebook: nbformat.NotebookNode, path: Path) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


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
        notebook = read(name)
        try:
            measured = execute(notebook)
        except CellExecutionError as error:  # later notebooks use the runs of this one
            print(f"{name}: {error}")
            return 1
        faults = faults_of_outputs(notebook)
        print(f"{name}: {measured['minutes']:.1f} min", *faults, sep="\n  ")
        if not faults:
            _write(notebook, options.out / f"{name}.ipynb")
            note_costs(name, measured)
        wrong |= bool(faults)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
