"""How the two workflows read: the same step's source in both twins, one below the other."""

import ast

from src.comparison.records import FRAMEWORKS
from src.errors import InputError
from src.notebook.setup import ROOT

# What a person does, in order -> the file and the function that does it in both twins.
STEPS = {
    "build": ("model.py", "build_model"),
    "data": ("data.py", "make_loader"),
    "train": ("train.py", "fit"),
    "one epoch": ("train.py", None),
    "save": ("checkpoint.py", "save_model"),
    "load": ("checkpoint.py", "load_model"),
    "predict": ("predict.py", "predict_logits"),
}
# Where the frameworks part most: Keras hides the loop behind callbacks, PyTorch writes it out.
_PRIVATE = {"tf": "_Reporter", "pt": "_train_epoch"}


def step_source(framework: str, step: str) -> str:
    """Return the source of one of STEPS in one twin, without its docstring.

    Raises:
        InputError: the twin has no such function any more.
    """
    file, name = STEPS[step]
    name = name or _PRIVATE[framework]
    path = ROOT / "src" / framework / file
    text = path.read_text(encoding="utf-8")
    for node in ast.parse(text).body:
        if getattr(node, "name", "") == name:
            return _without_docstring(text, node)
    raise InputError(f"{path} has no {name}. Name what does the step in src/notebook/workflow.py.")


def show_step(step: str) -> None:
    """Show one step's source in both twins, TensorFlow above PyTorch.

    As Markdown: GitHub strips styles and classes from HTML, so columns of code wrap there; a fenced
    block keeps its lines and is coloured for dark and light pages everywhere.
    """
    from IPython.display import Markdown, display

    blocks = [
        f"**{title}**, `src/{framework}/{STEPS[step][0]}`\n\n"
        f"```python\n{step_source(framework, step)}\n```"
        for framework, title in FRAMEWORKS.items()
    ]
    display(Markdown("\n\n".join(blocks)))


def _without_docstring(text: str, node: ast.FunctionDef | ast.ClassDef) -> str:
    lines = text.splitlines()
    keep = list(range(node.lineno - 1, node.end_lineno))
    first = node.body[0]
    if ast.get_docstring(node) is not None:
        dropped = set(range(first.lineno - 1, first.end_lineno))
        keep = [number for number in keep if number not in dropped]
    return "\n".join(lines[number] for number in keep)
