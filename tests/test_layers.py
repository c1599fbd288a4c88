"""Imports run one way, read from the syntax tree."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FRAMEWORKS = {"tensorflow", "keras", "torch", "torchvision", "timm"}
FILES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "src").rglob("*.py"))

# Part of the house -> what it may not import, besides the frameworks (only the twins may).
FORBIDDEN = {
    "src/config.py": ("src.data", "src.tf", "src.pt", "src.comparison", "src.evaluation"),
    "src/data": ("src.tf", "src.pt", "src.xception", "src.comparison", "src.evaluation"),
    "src/xception": ("src.tf", "src.pt", "src.data", "src.comparison", "src.evaluation"),
    "src/evaluation": ("src.tf", "src.pt", "src.data", "src.xception", "src.comparison"),
    "src/comparison": ("src.tf", "src.pt"),
    "src/tf": ("src.pt", "torch", "torchvision", "timm", "src.comparison"),
    "src/pt": ("src.tf", "tensorflow", "keras", "src.comparison"),
}


def imported(source: str) -> set[str]:
    """Return every module that `source` imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def violations(path: str, source: str) -> set[str]:
    """Return the imports that `path` may not have."""
    forbidden = {
        name for part, names in FORBIDDEN.items() if path.startswith(part) for name in names
    }
    if not path.startswith(("src/tf/", "src/pt/")):
        forbidden |= FRAMEWORKS
    return {
        name
        for name in imported(source)
        if any(name == bad or name.startswith(f"{bad}.") for bad in forbidden)
    }


@pytest.mark.parametrize("path", FILES)
def test_imports_run_one_way(path):
    assert violations(path, (ROOT / path).read_text()) == set()


@pytest.mark.parametrize(
    "path, line",
    [
        ("src/tf/model.py", "from src.pt.model import build_model"),
        ("src/pt/model.py", "import keras"),
        ("src/data/pixels.py", "def load():\n    import torch"),
        ("src/comparison/report/report.py", "import src.tf"),
        ("src/xception/weights.py", "from src import data"),
        ("src/__main__.py", "import tensorflow as tf"),
    ],
)
def test_a_wrong_import_shows(path, line):
    assert violations(path, (ROOT / path).read_text() + "\n" + line + "\n")


def test_the_package_imports_nothing():
    assert imported((ROOT / "src" / "__init__.py").read_text()) == set()
