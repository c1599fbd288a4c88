"""How the two workflows read: the same step's source in both twins, one below the other."""

import ast

from src.common.errors import InputError
from src.notebook.setup import ROOT
from src.records import FRAMEWORKS

_BOTH = ("tf", "pt")
# What a person does, in order -> framework -> the files and what in them does it.
STEPS = {
    "build": {
        "tf": ("model.build_model",),
        "pt": ("model.XceptionClassifier", "model.build_model"),
    },
    "data": {"tf": ("data.Loader",), "pt": ("data._BatchDataset", "data.Loader")},
    "train": dict.fromkeys(_BOTH, ("train.fit",)),
    # Where the frameworks part most: Keras hides the loop behind callbacks, PyTorch writes it out.
    "one epoch": {"tf": ("train._Reporter",), "pt": ("train._train_epoch",)},
    "save": dict.fromkeys(_BOTH, ("model.get_weights", "checkpoint.save_model")),
    "load": dict.fromkeys(_BOTH, ("checkpoint.load_model", "model.set_weights")),
    "predict": dict.fromkeys(_BOTH, ("predict.predict_logits",)),
}


def step_source(framework: str, step: str) -> str:
    """Return the source of one of STEPS in one twin, without docstrings.

    Raises:
        InputError: the twin has no such function any more.
    """
    return "\n\n\n".join(_source(framework, *place.split(".")) for place in STEPS[step][framework])


def show_step(step: str) -> None:
    """Show one step's source in both twins, TensorFlow above PyTorch.

    As Markdown: GitHub strips styles and classes from HTML, so columns of code wrap there; a fenced
    block keeps its lines and is coloured for dark and light pages everywhere.
    """
    from IPython.display import Markdown, display

    blocks = []
    for framework, title in FRAMEWORKS.items():
        files = dict.fromkeys(place.split(".")[0] for place in STEPS[step][framework])
        shown = ", ".join(f"`src/{framework}/{file}.py`" for file in files)
        blocks.append(f"**{title}**, {shown}\n\n```python\n{step_source(framework, step)}\n```")
    display(Markdown("\n\n".join(blocks)))


def _source(framework: str, file: str, name: str) -> str:
    path = ROOT / "src" / framework / f"{file}.py"
    text = path.read_text(encoding="utf-8")
    for node in ast.parse(text).body:
        if getattr(node, "name", "") == name:
            return _without_docstrings(text, node)
    raise InputError(f"{path} has no {name}. Name what does the step in src/notebook/workflow.py.")


def _without_docstrings(text: str, node: ast.FunctionDef | ast.ClassDef) -> str:
    lines = text.splitlines()
    dropped = set()
    for part in ast.walk(node):
        if isinstance(part, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(part):
            first = part.body[0]
            dropped |= set(range(first.lineno, first.end_lineno + 1))
            if not lines[first.end_lineno]:  # the empty line that set it off
                dropped.add(first.end_lineno + 1)
    keep = set(range(node.lineno, node.end_lineno + 1)) - dropped
    return "\n".join(lines[number - 1] for number in sorted(keep))
