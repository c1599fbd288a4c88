"""Execute a notebook from top to bottom, as a person would, and tidy what it printed."""

import re
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from src.common.errors import InputError
from src.data.dataset import find_data
from src.data.phantom.write import MARKER
from src.notebook import costs
from src.notebook.meter import Meter
from src.notebook.runs import count_runs
from src.notebook.setup import smoke
from tests.notebooks.check import FOLDER, read

TIMEOUT = 7200  # s, one cell
WIDGET = "application/vnd.jupyter.widget-view+json"
_BAR = re.compile(r".*?\d%\|.*?\| *\S+/\S+ \[[^]]*\]")  # tqdm's


def kind_of_run(out: Path) -> str:
    """Return "smoke" or "real", whichever executing into `out` now would be.

    Raises:
        InputError: under SMOKE=1 the outputs would replace those in the repository; without it
            there are no real images.
    """
    if smoke() and out.resolve() == FOLDER.resolve():
        raise InputError(
            "Outputs of the phantom set do not belong into the repository. Give --out DIR, or "
            "unset SMOKE."
        )
    if not smoke() and (find_data() / MARKER).exists():
        raise InputError(
            "Without SMOKE=1 notebooks are executed on the real images, and none are found. Name "
            "their folder with BRAIN_TUMOR_DATA; or set SMOKE=1, and give --out DIR."
        )
    return "smoke" if smoke() else "real"


def execute(name: str) -> tuple[nbformat.NotebookNode, dict]:
    """Return a notebook with the outputs of one whole run, and what that cost, for `costs.note`.

    Raises:
        CellExecutionError: a cell failed.
    """
    notebook = read(name)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    runs = count_runs(name)
    resources = {"metadata": {"path": str(FOLDER)}}
    with Meter() as meter:
        NotebookClient(
            notebook, timeout=TIMEOUT, resources=resources, record_timing=False
        ).execute()
    tidy(notebook)
    return notebook, costs.describe(meter, count_runs(name) - runs)


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Drop progress bars, which are for whoever watches, and widgets' live state."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        cell.outputs = joined(cell.outputs)
        for output in cell.outputs:
            if output.output_type == "stream":
                output.text = without_bars(overwritten(output.text)).lstrip("\n")
            if output.get("data", {}).pop(WIDGET, None):
                output.data = {"text/plain": "A widget stands here while the notebook runs."}
        cell.outputs = [o for o in cell.outputs if o.output_type != "stream" or o.text.strip()]


def without_bars(text: str) -> str:
    """Return text without what tqdm drew; what else stands in a bar's line stays."""
    lines = []
    for line in text.split("\n"):
        rest = _BAR.sub("", line) if "%|" in line else line
        lines += [rest] if rest or not line else []
    return "\n".join(lines)


def joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Return outputs with what follows itself on one stream as one, as Jupyter shows it.

    The kernel sends a bar piece by piece; only the whole shows that a later piece overwrites it.
    """
    together = []
    for output in outputs:
        last = together[-1] if together else {}
        if output.output_type == "stream" and output.name == last.get("name"):
            last.text += output.text
        else:
            together.append(output)
    return together


def overwritten(text: str) -> str:
    """Return text as it looks when every carriage return has taken its effect."""
    lines = []
    for line in text.split("\n"):
        shown = ""
        for piece in line.split("\r"):
            shown = piece + shown[len(piece) :]
        lines.append(re.sub(r"\s+$", "", shown))
    return "\n".join(lines)
