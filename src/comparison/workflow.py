"""How the same experiment is written in both frameworks: the rows of workflow.csv, and the code.

A row names the code of one step in `src/tf` and `src/pt`, and its idiom. What stands in backquotes
is in that code word for word.
"""

import ast
import csv
import io
import re
import textwrap
import tokenize
from functools import cache
from pathlib import Path
from typing import NamedTuple

from src.config import FRAMEWORKS

SRC = Path(__file__).parents[1]
_NOT_CODE = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
    tokenize.ENDMARKER,
}  # fmt: skip


class Step(NamedTuple):
    """One step of the workflow in both frameworks."""

    step: str
    tf: str  # the idiom
    pt: str
    trouble: str  # what went wrong with it here
    differences: tuple[str, ...]  # rows of `src.differences` whose defaults differ
    tf_code: tuple[str, ...]  # "module.function" in `src/tf`, or "module" for a part of it
    pt_code: tuple[str, ...]


def _read(path: Path) -> tuple[Step, ...]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    lists = "differences", "tf_code", "pt_code"
    return tuple(Step(**row | {name: tuple(row[name].split()) for name in lists}) for row in rows)


STEPS = _read(Path(__file__).with_suffix(".csv"))


def workflow_rows() -> list[dict[str, str]]:
    """Return the steps as rows of a table, with their lines of code, and the sums."""
    rows = [
        {
            "step": step.step,
            "TensorFlow": f"{step.tf} ({count_lines(step, 'tf')} lines)",
            "PyTorch": f"{step.pt} ({count_lines(step, 'pt')} lines)",
            "what went wrong here": step.trouble,
            "defaults that differ": ", ".join(step.differences),
        }
        for step in STEPS
    ]
    lines = all_lines()
    sums = {"TensorFlow": f"{lines['tf']} lines", "PyTorch": f"{lines['pt']} lines"}
    return [*rows, dict.fromkeys(rows[0], "") | {"step": "all"} | sums]


def all_lines() -> dict[str, int]:
    """Return {"tf", "pt"}: how many lines of code all steps take."""
    return {name: sum(count_lines(step, name) for step in STEPS) for name in FRAMEWORKS}


def idioms(step: Step, framework: str) -> list[str]:
    """Return the pieces of code that a row quotes."""
    return re.findall(r"`([^`]+)`", getattr(step, framework))


def count_lines(step: Step, framework: str) -> int:
    """Return how many lines of code a step takes: no comments, no docstrings, no empty lines.

    A module without a function stands for the lines that the row quotes.
    """
    names = getattr(step, f"{framework}_code")
    functions = [code_of(framework, name) for name in names if "." in name]
    quoted = len(idioms(step, framework)) if len(functions) < len(names) else 0
    return quoted + sum(map(_lines_of_code, functions))


@cache
def code_of(framework: str, name: str) -> str:
    """Return the source of "module", "module.function" or "module.class.function".

    Raises:
        LookupError: there is nothing of that name.
    """
    module, *path = name.split(".")
    source = (SRC / framework / f"{module}.py").read_text(encoding="utf-8")
    node = ast.parse(source)
    for part in path:
        found = [each for each in node.body if getattr(each, "name", None) == part]
        if not found:
            raise LookupError(f"src/{framework}/{module}.py has no {'.'.join(path)}.")
        node = found[0]
    if not path:
        return source
    first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
    return textwrap.dedent("\n".join(source.splitlines()[first - 1 : node.end_lineno])) + "\n"


def _lines_of_code(source: str) -> int:
    lines, statement = set(), []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NOT_CODE:
            statement.append(token)
        elif token.type == tokenize.NEWLINE:
            if [each.type for each in statement] != [tokenize.STRING]:  # a docstring
                for each in statement:
                    lines.update(range(each.start[0], each.end[0] + 1))
            statement = []
    return len(lines)
