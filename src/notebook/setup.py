"""The second half of every notebook's set-up cell, and how figures and tables are shown."""

import contextlib
import importlib.metadata
import importlib.util
import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

from src.common.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
# Lines of requirements.txt that only developers need; a notebook runs without them.
NOT_NEEDED = ("jupyter", "pytest", "ruff", "nbmake", "captum")
TENSORFLOWS = ("tensorflow", "tensorflow-cpu", "tf-nightly")  # each is TensorFlow
_NUMBER = re.compile(r"^([-+]?[\d.,]+(e[-+]\d+)?( ?%| pts|x)?|-|)$")  # with its unit, or missing


def set_up() -> None:
    """Install on Colab what is missing; elsewhere name it. No installed library is changed.

    Raises:
        InputError: a library is missing and this is not Colab, or pip failed.
    """
    missing = missing_requirements((ROOT / "requirements.txt").read_text())
    if missing and not _on_colab():
        raise InputError(
            f"Not installed: {', '.join(missing)}. In a terminal in {ROOT.name}: "
            "python -m pip install -r requirements.txt"
        )
    if missing:
        print(f"Installing {', '.join(missing)}")
        _install(missing)
    if "ipykernel" in sys.modules:
        _silence_native_logs()


def _silence_native_logs() -> None:
    """Send the native standard error of the kernel to a file.

    TensorFlow's C++ code reports missing devices before it reads TF_CPP_MIN_LOG_LEVEL. Python's
    messages and tracebacks still reach the notebook: a kernel sends them in another way.
    """
    log = Path(tempfile.gettempdir()) / "brain-tumor-kernel.log"
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(target, 2)
    os.close(target)


def missing_requirements(text: str) -> list[str]:
    """Return the lines of a requirements file whose libraries are not installed in any version.

    An installed library stays as it is, even if older than the line asks: on Colab the frameworks
    fit the machine's GPU, and another version may not.
    """
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    names = {line: re.split(r"[<>=!~\[;]", line)[0].strip() for line in lines if line}
    return [line for line, name in names.items() if name not in NOT_NEEDED and not _installed(name)]


def _installed(name: str) -> bool:
    for each in TENSORFLOWS if name == "tensorflow" else (name,):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            importlib.metadata.version(each)
            return True
    return False


def _on_colab() -> bool:
    try:
        return importlib.util.find_spec("google.colab") is not None
    except ModuleNotFoundError:  # no `google` at all
        return False


def _install(requirements: list[str]) -> None:
    """Install `requirements`, while every installed library keeps its version."""
    versions = {d.name: d.version for d in importlib.metadata.distributions() if d.name}
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "installed.txt"
        constraints.write_text("".join(f"{n}=={v}\n" for n, v in sorted(versions.items())))
        command = [sys.executable, "-m", "pip", "install", "-q", "-c", str(constraints)]
        done = subprocess.run([*command, *requirements], capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"pip could not install {', '.join(requirements)}: {done.stderr[-800:]}")
    importlib.invalidate_caches()


def smoke() -> bool:
    """Return whether SMOKE=1 asks for the phantom set."""
    return os.environ.get("SMOKE", "") not in ("", "0")


def show(figure, alt: str) -> None:
    """Show a matplotlib figure on white, so that it is legible on a dark page too.

    Args:
        figure: any; pyplot need not know it.
        alt: a description for those who cannot see it.
    """
    from IPython.display import Image, display

    from src.comparison.report.style import styled

    content = io.BytesIO()
    with styled():
        figure.savefig(content, format="png", dpi=130, facecolor="white")
    display(Image(content.getvalue(), alt=alt))


def show_table(rows: list[dict]) -> None:
    """Show rows as a table; keys of the first are the head, columns of numbers align right."""
    from IPython.display import Markdown, display

    names = list(rows[0])
    lines = [[_cell(row[name]) for name in names] for row in rows]
    rule = ["---:" if all(map(_NUMBER.match, column)) else "---" for column in zip(*lines)]
    display(Markdown("\n".join(f"| {' | '.join(line)} |" for line in (names, rule, *lines))))


def _cell(value: object) -> str:
    if value is None:
        return "none"
    return f"{value:,}" if isinstance(value, int) else str(value)


def both_twins() -> dict[str, SimpleNamespace]:
    """Import both twins into one kernel: {"tf": ..., "pt": ...}, as `load_twin` returns them.

    torchvision comes first: loaded after TensorFlow it would end the process.
    """
    importlib.import_module("src.pt")  # sets variables that PyTorch reads when it loads
    importlib.import_module("torchvision")
    from src.experiment import load_twin

    return {"tf": load_twin("tf"), "pt": load_twin("pt")}
