"""What a notebook must be: thin, set up as all are, its twin's twin, clean when executed."""

import ast
import re
from pathlib import Path

import nbformat

from src.notebook import costs
from src.notebook.address import badge, setup_cell
from src.notebook.setup import ROOT

FOLDER = ROOT / "notebooks"
NAMES = (
    "01_explore_data",
    "02_train_tensorflow",
    "02_train_pytorch",
    "03_evaluate_tensorflow",
    "03_evaluate_pytorch",
    "04_compare_frameworks",
    "05_inside_xception",
    "06_predict",
)
TWINS = (
    ("02_train_tensorflow", "02_train_pytorch"),
    ("03_evaluate_tensorflow", "03_evaluate_pytorch"),
)
OWN = "framework-specific"  # the tag of a cell that may differ from its twin's
LARGEST = 3_000_000  # bytes of one notebook
LONGEST = 12  # lines of a code cell
FIRST_CELL = ("You learn", "Minutes", "Memory", "licence", "Not for diagnosis")
# Written in TensorFlow's notebook -> in PyTorch's.
_NAMES = (
    ("TensorFlow", "PyTorch"),
    ("tensorflow", "pytorch"),
    ("src.tf", "src.pt"),
    ("src/tf", "src/pt"),
    ('"tf"', '"pt"'),
)
_MACHINE = re.compile(r"/(?:home|root|Users|work|tmp|mnt|content)/[\w.-]")


def read(name: str, folder: Path = FOLDER) -> nbformat.NotebookNode:
    """Return a notebook by its name without suffix."""
    return nbformat.read(folder / f"{name}.ipynb", as_version=4)


def faults_of_source(name: str, notebook: nbformat.NotebookNode) -> list[str]:
    """Return what is wrong with a notebook's cells, whether or not they were executed."""
    cells = notebook.cells
    found = [f"the first cell lacks {word!r}" for word in FIRST_CELL if word not in cells[0].source]
    if costs.table_of(cells[0].source) != costs.table(name, costs.read_record()):
        found.append(
            f"the first cell does not tell the costs that {costs.RECORD.name} holds: "
            "python -m src.notebook run measures and writes them"
        )
    if badge(f"{name}.ipynb") not in cells[0].source:
        found.append("the badge is not that of src/notebook/address.py")
    if cells[1].source != setup_cell():
        found.append("the set-up cell is not that of src/notebook/address.py")
    if len({cell.id for cell in cells}) < len(cells):
        found.append("two cells have one id")
    for number, cell in enumerate(cells):
        if cell.cell_type != "code" or number == 1:
            continue
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.While):
                found.append(f"cell {number} holds a {type(node).__name__}: it belongs to src")
        if len(cell.source.splitlines()) > LONGEST:
            found.append(f"cell {number} has more than {LONGEST} lines: more than one question")
        if cells[number - 1].cell_type != "markdown":
            found.append(f"cell {number} has no prose before it")
    return found


def faults_of_twins(first: nbformat.NotebookNode, second: nbformat.NotebookNode) -> list[str]:
    """Return where TensorFlow's notebook and PyTorch's differ, names apart."""
    if len(first.cells) != len(second.cells):
        return [f"{len(first.cells)} cells and {len(second.cells)}"]
    found = []
    for number, (one, other) in enumerate(zip(first.cells, second.cells)):
        tags, other_tags = one.metadata.get("tags", []), other.metadata.get("tags", [])
        if (one.cell_type, tags) != (other.cell_type, other_tags):
            found.append(f"cell {number}: kinds or tags differ")
        elif OWN not in tags and shared(renamed(one.source)) != shared(other.source):
            found.append(f"cell {number} differs")
    return found


def shared(text: str) -> str:
    """Return a cell without the table of costs, which each of two twins has of its own."""
    return costs.with_table(text, "")


def renamed(text: str) -> str:
    """Return what stands in TensorFlow's notebook as it stands in PyTorch's."""
    for one, other in _NAMES:
        text = text.replace(one, other)
    return text


def faults_of_outputs(notebook: nbformat.NotebookNode) -> list[str]:
    """Return what must not be in a notebook that was executed; nothing for one without outputs."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    counts = [cell.execution_count for cell in code]
    if not any(counts) and not any(cell.outputs for cell in code):
        return []
    found = []
    if counts != list(range(1, len(code) + 1)):
        found.append(f"not one whole ordered run: counts {counts}")
    size = len(nbformat.writes(notebook))
    if size > LARGEST:
        found.append(f"{size / 1e6:.1f} MB are more than {LARGEST / 1e6:.0f} MB")
    for number, cell in enumerate(code, 1):
        for output in cell.outputs:
            found += [f"output {number}: {fault}" for fault in _faults_of_output(output)]
    return found


def _faults_of_output(output: nbformat.NotebookNode) -> list[str]:
    if output.output_type == "error":
        return [f"{output.ename}: {output.evalue}"]
    if output.get("name") == "stderr":
        return [f"stderr: {output.text.strip()[:300]}"]
    found = []
    if output.output_type == "stream" and re.search(r"\r|\d%\|", output.text):
        found.append("a progress bar, or what is left of one")
    texts = [output.get("text", ""), *output.get("data", {}).values()]
    for text in texts:
        text = text if isinstance(text, str) else str(text)
        if len(text) < 200_000 and _MACHINE.search(text) and "base64" not in text[:40]:
            found.append(f"a machine's path: {_MACHINE.search(text)[0]}")
        if "Warning: " in text[:20_000]:
            found.append("a warning")
    return found
