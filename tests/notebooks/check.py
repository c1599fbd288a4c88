"""What a notebook must be: thin, set up like the others, equal to its twin, clean when executed.

python -m tests.notebooks.check [--executed] [FOLDER]
"""

import argparse
import ast
import re
import sys
from pathlib import Path

import nbformat
from nbconvert.preprocessors import CoalesceStreamsPreprocessor

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NAMES = tuple(sorted(path.stem for path in FOLDER.glob("*.ipynb")))
TWINS = tuple(
    (name, name.replace("tensorflow", "pytorch")) for name in NAMES if "tensorflow" in name
)
SPECIFIC = "framework-specific"  # the tag of a cell that may differ from its twin's
LARGEST = 3_000_000  # bytes of one notebook
LONGEST = 12  # lines of a code cell
FIRST_CELL = ("You learn", "**Minutes**", "**Memory**", "licence", "Not for diagnosis")
BADGE = (
    "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    "(https://colab.research.google.com/github/{}/blob/main/notebooks/{}.ipynb)"
)
_MACHINE = re.compile(r"/(?:home|root|Users|work|tmp|mnt|content)/[\w.-]")
_BAR = re.compile(r"[^\r\n]*?\d%\|.*?\| *\S+/\S+ \[[^]]*\]")  # as tqdm draws it
_WIDGET = "application/vnd.jupyter.widget-view+json"


def read(name: str, folder: Path = FOLDER) -> nbformat.NotebookNode:
    """Return a notebook by its name without suffix."""
    return nbformat.read(folder / f"{name}.ipynb", as_version=4)


def repository(notebook: nbformat.NotebookNode) -> str:
    """Return the address on GitHub, owner/name, from which the set-up cell clones."""
    return re.search(r'repository = "https://github\.com/(.+)"', notebook.cells[1].source)[1]


def faults_of_source(name: str, notebook: nbformat.NotebookNode) -> list[str]:
    """Return what is wrong with a notebook's cells, executed or not."""
    cells, set_up = notebook.cells, read(NAMES[0]).cells[1].source
    faults = [f"the first cell lacks {text}" for text in FIRST_CELL if text not in cells[0].source]
    if cells[1].source != set_up:
        faults.append(f"the set-up cell differs from that of {NAMES[0]}")
    elif BADGE.format(repository(notebook), name) not in cells[0].source:
        faults.append(f"the badge does not open {name} of {repository(notebook)}")
    if notebook.metadata.get("accelerator") != "GPU":
        faults.append("Colab is not asked for a GPU: metadata.accelerator")
    if len({cell.id for cell in cells}) < len(cells):
        faults.append("two cells have one id")
    for number, cell in enumerate(cells):
        if cell.cell_type != "code" or number == 1:
            continue
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.While):
                faults.append(f"cell {number} holds a {type(node).__name__}: it belongs to src")
        if len(cell.source.splitlines()) > LONGEST:
            faults.append(f"cell {number} has more than {LONGEST} lines: more than one question")
        if cells[number - 1].cell_type != "markdown":
            faults.append(f"cell {number} has no prose before it")
    return faults


def faults_of_twins(tensorflow: nbformat.NotebookNode, pytorch: nbformat.NotebookNode) -> list[str]:
    """Return which cells of two notebooks differ, except for names and minutes."""
    if len(tensorflow.cells) != len(pytorch.cells):
        return [f"{len(tensorflow.cells)} cells and {len(pytorch.cells)}"]
    pairs = enumerate(zip(map(_shared, tensorflow.cells), map(_shared, pytorch.cells)))
    return [f"cell {number} differs" for number, (one, other) in pairs if one != other]


def _shared(cell: nbformat.NotebookNode) -> tuple[str, list[str], str]:
    """Return a cell's kind, its tags and what both twins must hold, in PyTorch's names."""
    source, tags = cell.source, cell.metadata.get("tags", [])
    if SPECIFIC in tags:
        return cell.cell_type, tags, ""
    for name, twin in (("TensorFlow", "PyTorch"), ("tensorflow", "pytorch")):
        source = source.replace(name, twin)
    source = re.sub(r'(?<=src[./])tf\b|(?<=")tf(?=")', "pt", source)
    return cell.cell_type, tags, re.sub(r"^\*\*Minutes\*\*.*$", "", source, flags=re.M)


def faults_of_outputs(notebook: nbformat.NotebookNode) -> list[str]:
    """Return what must not be in an executed notebook; nothing for one without outputs."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    counts = [cell.execution_count for cell in code]
    if not any(counts) and not any(cell.outputs for cell in code):
        return []
    faults = []
    if counts != list(range(1, len(code) + 1)):
        faults.append(f"not one whole ordered run: counts {counts}")
    size = len(nbformat.writes(notebook))
    if size > LARGEST:
        faults.append(f"{size / 1e6:.1f} MB are more than {LARGEST / 1e6:.0f} MB")
    for number, cell in enumerate(code, 1):
        for output in cell.outputs:
            faults += [f"output {number}: {fault}" for fault in _faults_of_output(output)]
    return faults


def _faults_of_output(output: nbformat.NotebookNode) -> list[str]:
    if output.output_type == "error":
        return [f"{output.ename}: {output.evalue}"]
    if output.get("name") == "stderr":
        return [f"stderr: {output.text.strip()[:300]}"]
    data = output.get("data", {})
    text = output.get("text", "") + "".join(str(data[k]) for k in data if "image/" not in k)
    faults = []
    if output.output_type == "stream" and re.search(r"\r|\d%\|", text):
        faults.append("a progress bar, or what is left of one")
    if path := _MACHINE.search(text):
        faults.append(f"a machine's path: {path[0]}")
    if "Warning: " in text:
        faults.append("a warning")
    return faults


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Drop progress bars, which are for whoever watches, and what lives as long as a kernel."""
    notebook.metadata.pop("widgets", None)
    CoalesceStreamsPreprocessor().preprocess(notebook, {})  # a kernel sends a bar piece by piece
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.get("data", {}).pop(_WIDGET, None):
                output.data = {"text/plain": "A widget is here while the notebook runs."}
            if "http://127.0.0.1" in output.get("data", {}).get("text/html", ""):
                output.data = {"text/plain": "The page is here while the notebook runs."}
            if output.output_type == "stream":
                lines = [(line, _BAR.sub("", line).rstrip()) for line in output.text.split("\n")]
                output.text = "\n".join(shown for line, shown in lines if shown or not line)
                output.text = output.text.lstrip("\n")
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("text", "kept").strip()]


def main(arguments: list[str] | None = None) -> int:
    """Print what is wrong with the notebooks of a folder; return 1 if anything is."""
    parser = argparse.ArgumentParser(prog="python -m tests.notebooks.check")
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    parser.add_argument("--executed", action="store_true", help="all must have been executed")
    options = parser.parse_args(arguments)
    faults = []
    notebooks = {name: read(name, options.folder) for name in NAMES}
    for name, notebook in notebooks.items():
        if options.executed:
            tidy(notebook)  # nbmake keeps every step of a progress bar
            if not any(cell.get("execution_count") for cell in notebook.cells):
                faults.append(f"{name}: was not executed")
        of_notebook = faults_of_source(name, notebook) + faults_of_outputs(notebook)
        faults += [f"{name}: {fault}" for fault in of_notebook]
    for one, other in TWINS:
        of_twins = faults_of_twins(notebooks[one], notebooks[other])
        faults += [f"{one} and its twin: {fault}" for fault in of_twins]
    print("\n".join(faults) or "Every notebook is as it should be.")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
