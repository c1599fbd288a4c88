"""Imports run one way, downwards; read from the syntax tree, modules named in strings included."""

import ast
import itertools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "src").rglob("*.py"))
FRAMEWORKS = {"tensorflow", "keras", "torch", "torchvision", "timm"}

# From the roof to the ground: a room uses the rows below its own, no row above, no neighbour.
HOUSE = (
    ("__main__",),
    ("cli", "notebook"),
    ("pretrained",),
    ("results", "doctor"),
    ("comparison", "serving"),
    ("experiment",),
    ("tf", "pt"),
    ("training",),
    ("feature_cache", "records"),
    ("xception", "data", "evaluation"),
    ("config",),
    ("common", "differences"),
)
# The same within a folder that holds folders; its files that are not named are its ground.
INSIDE = {
    "notebook": (("figures",),),
    "comparison": (("page",), ("attribution", "parity", "speed", "bench"), ("run",), ("report",)),
    "data": (
        ("sources.build", "tumour_boxes", "audit"),
        ("dataset",),
        ("splits", "batches"),
        ("patients",),
        ("sources",),
        ("duplicates",),
        ("pixels", "phantom"),
    ),
}
# What is allowed all the same: (file, module) -> why.
ALLOWED = {
    ("src/xception/timm_pth.py", "torch"): "reads timm's file in a process of its own",
    ("src/notebook/setup.py", "src.pt"): "sets what PyTorch reads when it loads",
    ("src/notebook/setup.py", "torchvision"): "must be loaded before TensorFlow",
}


def imported(source: str) -> set[str]:
    """Return every module that `source` imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not used here"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def mentioned(source: str) -> set[str]:
    """Return every module that `source` names in a string, to import it or to start it."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant | ast.JoinedStr):
            names |= named(node)
        elif isinstance(node, ast.List | ast.Tuple | ast.Call):
            names |= started(node)
    return names


def named(node: ast.Constant | ast.JoinedStr) -> set[str]:
    """Return the module that a string names: "src.a.b", "src.a.b:function", f"src.{twin}.b"."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts)
    if not re.fullmatch(r"src(\.(\w+|\{\}))+(:\w+)?", text):
        return set()
    module = text.partition(":")[0].removesuffix(".{}").removesuffix(".{}")
    if module == "src":  # all of it is filled in: the twins
        return {"src.tf", "src.pt"}
    return {module.replace("{}", twin) for twin in ("tf", "pt")}


def started(node: ast.List | ast.Tuple | ast.Call) -> set[str]:
    """Return what the arguments `-m src` start, and what `import_module("torch")` imports."""
    items = node.args if isinstance(node, ast.Call) else node.elts
    texts = [item.value if isinstance(item, ast.Constant) else None for item in items]
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
        return {str(texts[0])} & FRAMEWORKS
    return {"src.__main__"} if ("-m", "src") in itertools.pairwise(texts) else set()


def row(rows: tuple[tuple[str, ...], ...], module: str) -> tuple[int, str]:
    """Return the row of the room that `module` lies in, and the room: the longest name wins."""
    for number, rooms in enumerate(rows):
        for room in rooms:
            if module == room or module.startswith(f"{room}."):
                return number, room
    return len(rows), ""


def runs_down(user: str, used: str) -> bool:
    """Say whether module `user` may import `used`; both without `src.`."""
    rows = HOUSE
    (above, room), (below, other) = row(rows, user), row(rows, used)
    if room == other and room in INSIDE:
        user, used = (name.partition(".")[2] for name in (user, used))
        (above, room), (below, other) = row(INSIDE[room], user), row(INSIDE[room], used)
    if other in ("tf", "pt") and room != other:
        return room == "experiment"  # nobody else may know which frameworks there are
    return above < below or room == other


def violations(path: str, source: str) -> set[str]:
    """Return the imports that `path` may not have."""
    user = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    frameworks = {
        "src.tf": FRAMEWORKS - {"tensorflow", "keras"},
        "src.pt": FRAMEWORKS & {"tensorflow", "keras"},
    }.get(user[:6], FRAMEWORKS)
    wrong = set()
    for name in imported(source) | mentioned(source):
        if name.startswith("src."):
            bad = not runs_down(user.removeprefix("src."), name.removeprefix("src."))
        else:
            bad = name.partition(".")[0] in frameworks
        if bad and (path, name) not in ALLOWED:
            wrong.add(name)
    return wrong


def unnamed(files: list[str]) -> set[str]:
    """Return the folders, and the files at the top of `src`, that the tables do not name."""
    rooms = {f"src/{room}" for rooms in HOUSE for room in rooms}
    for folder, rows in INSIDE.items():
        rooms |= {f"src/{folder}/{room.replace('.', '/')}" for rooms in rows for room in rooms}
    inhabited = {parent.as_posix() for file in files for parent in Path(file).parents[:-2]}
    top = {file.removesuffix(".py") for file in files if file.count("/") == 1}
    return (inhabited | top) - rooms - {"src/__init__"}


@pytest.mark.parametrize("path", FILES)
def test_imports_run_one_way(path):
    if path != "src/__init__.py":
        assert violations(path, (ROOT / path).read_text()) == set()


def test_every_folder_is_named():
    assert unnamed(FILES) == set()


def test_no_name_is_left_over():
    rooms = [room for rooms in HOUSE for room in rooms]
    rooms += [f"{folder}.{room}" for folder, rows in INSIDE.items() for r in rows for room in r]
    for room in rooms:
        path = ROOT / "src" / room.replace(".", "/")
        assert path.is_dir() or path.with_name(f"{path.name}.py").is_file(), room
    for path, name in ALLOWED:
        source = (ROOT / path).read_text()
        assert name in imported(source) | mentioned(source), (path, name)


@pytest.mark.parametrize(
    "path", ["src/export/onnx.py", "src/data/new/reader.py", "src/surgeon.py", "src/cli/a/b.py"]
)
def test_a_folder_that_is_not_named_shows(path):
    assert unnamed([*FILES, path])


@pytest.mark.parametrize(
    "path, line",
    [
        ("src/tf/model.py", "from src.pt.model import build_model"),
        ("src/pt/model.py", "import keras"),
        ("src/data/pixels.py", "def load():\n    import torch"),
        ("src/data/catalog.py", "from src.data.splits.folds import cut"),
        ("src/data/splits/folds.py", "from src.data import dataset"),
        ("src/data/pixels.py", "from src.xception.blocks import layers"),
        ("src/comparison/report/report.py", "import src.tf"),
        ("src/comparison/report/plots.py", "from src.comparison.run import run_comparison"),
        ("src/xception/weights.py", "from src import data"),
        ("src/common/files.py", "from src.config import preset"),
        ("src/training/run.py", "from src.records import write_predictions\nimport src.experiment"),
        ("src/results/grid.py", "from src.cli import options"),
        ("src/notebook/runs.py", "from src.cli.options import config_from"),
        ("src/__main__.py", "import tensorflow as tf"),
        ("src/cli/data.py", "importlib.import_module('timm')"),
        # Processes and strings:
        ("src/xception/weights.py", "run([sys.executable, '-m', 'src.tf.checkpoint'])"),
        ("src/training/run.py", "run_twin(framework, 'src.comparison.parity.worker:trace')"),
        ("src/data/pixels.py", "importlib.import_module(f'src.{framework}.data')"),
        ("src/comparison/agreement.py", "importlib.import_module(f'src.{framework}.{name}')"),
        ("src/comparison/agreement.py", "start('python', '-m', 'src', 'train')"),
        ("src/results/grid.py", "subprocess.run([sys.executable, '-m', 'src', 'train'])"),
    ],
)
def test_a_wrong_import_shows(path, line):
    assert violations(path, (ROOT / path).read_text() + "\n" + line + "\n")


def test_the_package_itself_imports_nothing():
    assert imported((ROOT / "src/__init__.py").read_text()) == {
        "src.serving.classifier.load_classifier",  # once it is asked for
    }


def test_no_module_imports_itself_in_a_circle():
    modules = {
        path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in FILES
    }
    uses = {}
    for module, path in modules.items():
        names = {n for n in imported((ROOT / path).read_text()) if n.startswith("src.")}
        known = {n if n in modules else n.rpartition(".")[0] for n in names}
        uses[module] = (known & set(modules)) - {module}
    while leaves := {module for module in uses if not uses[module] & set(uses)}:
        uses = {module: uses[module] for module in uses.keys() - leaves}
    assert not uses, "a circle is among these"
