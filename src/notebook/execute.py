"""Execute a notebook from top to bottom, as a person would, and tidy what it printed."""

import re
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from src.errors import InputError
from src.notebook.check import FOLDER, read
from src.notebook.setup import smoke

TIMEOUT = 7200  # s, one cell


def execute(name: str, out: Path) -> tuple[nbformat.NotebookNode, float]:
    """Return a notebook with the outputs of one whole run, and how many seconds it took.

    Raises:
        InputError: under SMOKE=1 the outputs would replace those in the repository.
        CellExecutionError: a cell failed.
    """
    if smoke() and out.resolve() == FOLDER.resolve():
        raise InputError(
            "Outputs of the phantom set do not belong into the repository. Give --out DIR, or "
            "unset SMOKE."
        )
    notebook = read(name)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    started = time.perf_counter()
    resources = {"metadata": {"path": str(FOLDER)}}
    NotebookClient(notebook, timeout=TIMEOUT, resources=resources, record_timing=False).execute()
    seconds = time.perf_counter() - started
    tidy(notebook)
    return notebook, seconds


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Leave of progress bars what a terminal would show at the end; drop widgets' live state."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        for output in cell.outputs:
            if output.output_type == "stream":
                output.text = overwritten(output.text)
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
        cell.outputs = [o for o in cell.outputs if o.output_type != "stream" or o.text.strip()]


def overwritten(text: str) -> str:
    """Return text as it looks when every carriage return has taken its effect."""
    lines = []
    for line in text.split("\n"):
        shown = ""
        for piece in line.split("\r"):
            shown = piece + shown[len(piece) :]
        lines.append(re.sub(r"\s+$", "", shown))
    return "\n".join(lines)
