"""The twins have the same files, public names, arguments and defaults; only bodies differ."""

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src"
FILES = sorted(path.name for path in (SRC / "tf").glob("*.py"))


def public(source: str) -> dict[str, object]:
    """Return public functions with their arguments, and public classes with their methods."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            found[node.name] = arguments(node)
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            found[node.name] = "class"
    return found


def arguments(node: ast.FunctionDef) -> list[str]:
    """Return names and defaults in order; annotations name each framework's own types."""
    spec = node.args
    defaults = [None] * (len(spec.args) - len(spec.defaults)) + spec.defaults
    positional = [one(arg, default) for arg, default in zip(spec.args, defaults)]
    keyword = [one(arg, default) for arg, default in zip(spec.kwonlyargs, spec.kw_defaults)]
    return [*positional, "*", *keyword]


def one(argument: ast.arg, default: ast.expr | None) -> str:
    return argument.arg + (f"={ast.unparse(default)}" if default is not None else "")


def docstrings(source: str) -> dict[str, str]:
    tree = ast.parse(source)
    return {
        node.name: ast.get_docstring(node) or ""
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
    }


def test_same_files():
    assert sorted(path.name for path in (SRC / "pt").glob("*.py")) == FILES
    assert "model.py" in FILES


@pytest.mark.parametrize("name", FILES)
def test_same_public_names_and_arguments(name):
    tf, pt = ((SRC / twin / name).read_text() for twin in ("tf", "pt"))
    assert public(tf) == public(pt)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("twin, other", [("tf", "pt"), ("pt", "tf")])
def test_docstrings_name_the_twin(twin, other, name):
    for thing, text in docstrings((SRC / twin / name).read_text()).items():
        assert f"src.{other}.{name.removesuffix('.py')}.{thing}" in text, thing


@pytest.mark.parametrize(
    "fault",
    [
        ("def fit(", "def train("),
        ("workers: int = 0", "workers: int = 1"),
        ("config: ExperimentConfig,\n    folder", "cfg: ExperimentConfig,\n    folder"),
    ],
)
def test_a_change_on_one_side_shows(fault):
    source = (SRC / "pt" / "train.py").read_text()
    assert fault[0] in source
    assert public(source.replace(*fault, 1)) != public((SRC / "tf" / "train.py").read_text())
