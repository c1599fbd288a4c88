"""The twins have the same files, public names, arguments and defaults; only bodies differ.

What only one twin needs says why in its docstring: "No twin: ...".
"""

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src"
ONE_SIDED = "No twin: "
FILES = sorted({path.name for twin in ("tf", "pt") for path in (SRC / twin).glob("*.py")})


def is_one_sided(node: ast.AST) -> bool:
    """Return whether the docstring says that the other twin needs no such thing."""
    return ONE_SIDED in (ast.get_docstring(node) or "")


SHARED = [
    name
    for name in FILES
    if not any(
        is_one_sided(ast.parse(path.read_text()))
        for twin in ("tf", "pt")
        if (path := SRC / twin / name).is_file()
    )
]


def public_nodes(source: str) -> list[ast.FunctionDef | ast.ClassDef]:
    return [
        node
        for node in ast.parse(source).body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        and not node.name.startswith("_")
        and not is_one_sided(node)
    ]


def public(source: str) -> dict[str, object]:
    """Return public functions with their arguments, and the names of public classes."""
    return {
        node.name: arguments(node) if isinstance(node, ast.FunctionDef) else "class"
        for node in public_nodes(source)
    }


def arguments(node: ast.FunctionDef) -> list[str]:
    """Return names and defaults in order; annotations name each framework's own types."""
    spec = node.args
    defaults = [None] * (len(spec.args) - len(spec.defaults)) + spec.defaults
    positional = [one(arg, default) for arg, default in zip(spec.args, defaults)]
    keyword = [one(arg, default) for arg, default in zip(spec.kwonlyargs, spec.kw_defaults)]
    return [*positional, "*", *keyword]


def one(argument: ast.arg, default: ast.expr | None) -> str:
    return argument.arg + (f"={ast.unparse(default)}" if default is not None else "")


def unused_parameters(source: str) -> list[str]:
    """Return "function: parameter" for every parameter that its function's body never reads.

    Methods of a subclass have the signatures that their framework calls, so they may leave some.
    """
    tree = ast.parse(source)
    overriding = {
        method
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.bases
        for method in node.body
    }
    return [
        f"{getattr(node, 'name', 'lambda')}: {argument.arg}"
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.Lambda)) and node not in overriding
        for argument in all_arguments(node.args)
        if argument.arg not in names_read(node) and not argument.arg.startswith("_")
    ]


def all_arguments(spec: ast.arguments) -> list[ast.arg]:
    starred = [argument for argument in (spec.vararg, spec.kwarg) if argument]
    return [*spec.posonlyargs, *spec.args, *spec.kwonlyargs, *starred]


def names_read(node: ast.FunctionDef | ast.Lambda) -> set[str]:
    body = node.body if isinstance(node, ast.FunctionDef) else [node.body]
    return {
        name.id
        for statement in body
        for name in ast.walk(statement)
        if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Load)
    }


def test_same_files():
    for twin in ("tf", "pt"):
        assert {path.name for path in (SRC / twin).glob("*.py")} >= set(SHARED), twin
    assert {"model.py", "train.py", "optim.py"} <= set(SHARED)
    assert set(FILES) - set(SHARED) == {"align.py"}


@pytest.mark.parametrize("name", SHARED)
def test_same_public_names_and_arguments(name):
    tf, pt = ((SRC / twin / name).read_text() for twin in ("tf", "pt"))
    assert public(tf) == public(pt)


@pytest.mark.parametrize("name", SHARED)
@pytest.mark.parametrize("twin, other", [("tf", "pt"), ("pt", "tf")])
def test_docstrings_name_the_twin(twin, other, name):
    for node in public_nodes((SRC / twin / name).read_text()):
        twin_name = f"src.{other}.{name.removesuffix('.py')}.{node.name}"
        assert twin_name in (ast.get_docstring(node) or ""), node.name


@pytest.mark.parametrize(
    "path",
    sorted(path for twin in ("tf", "pt") for path in (SRC / twin).glob("*.py")),
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_every_parameter_is_read(path):
    assert unused_parameters(path.read_text()) == []


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


def test_a_parameter_that_nothing_reads_shows():
    source = (SRC / "pt" / "model.py").read_text()
    signature = "def get_weights(model: XceptionClassifier"
    assert signature in source
    fault = source.replace(signature, f"{signature}, config: ExperimentConfig")
    assert unused_parameters(fault) == ["get_weights: config"]
