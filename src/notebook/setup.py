"""The second half of every notebook's set-up cell, and how figures and tables are shown."""

import importlib.metadata
import importlib.util
import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

from src.common.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
# What only developers, `predict` without a framework and the page need; a notebook runs without.
NOT_NEEDED = {
    "jupyter", "pytest", "pytest-xdist", "hypothesis", "statsmodels", "ruff", "nbmake",
    "distributed", "captum", "onnx", "onnxruntime", "tf2onnx", "onnxscript", "pydicom", "nibabel",
    "gradio", "playwright",
}  # fmt: skip
TENSORFLOWS = {"tensorflow", "tensorflow-cpu", "tf-nightly"}  # each is TensorFlow
DRIVE = Path("/content/drive")  # where Colab's own examples mount it
_NUMBER = re.compile(r"^([-+]?[\d.,]+(e[-+]\d+)?( ?%| pts|x)?|-|)$")  # with its unit, or missing


def set_up(images: str = "", keep_runs_on_drive: bool = False) -> None:
    """Install on Colab and Kaggle what is missing; elsewhere name it. No library is changed.

    Args:
        images: the folder of the images; sets BRAIN_TUMOR_DATA unless empty.
        keep_runs_on_drive: mount Google Drive and keep the runs there; on Colab only.
    Raises:
        InputError: a library is missing and this is neither Colab nor Kaggle, pip failed, or Drive
            cannot be mounted.
    """
    installed = _installed()
    missing = missing_requirements(read_requirements(ROOT / "requirements.txt"), installed)
    if missing:
        if not (_on_colab() or _on_kaggle()):
            raise InputError(
                f"Not installed: {', '.join(missing)}. In a terminal in {ROOT.name}: "
                "python -m pip install -r requirements.txt"
            )
        print(f"Installing {', '.join(missing)}")
        _install(missing, installed)
    if images:
        os.environ["BRAIN_TUMOR_DATA"] = images
    if keep_runs_on_drive:
        _keep_runs_on_drive()
    if "ipykernel" in sys.modules:
        # TensorFlow's C++ code reports missing devices before it reads TF_CPP_MIN_LOG_LEVEL. Only
        # such native logs go to this file: Python's messages leave a kernel in another way.
        with (Path(tempfile.gettempdir()) / "brain-tumor-kernel.log").open("wb") as log:
            os.dup2(log.fileno(), 2)


def add_page() -> None:
    """Install on Colab and Kaggle what the page needs, if it is missing or too old.

    Raises:
        InputError: pip failed.
    """
    if not (_on_colab() or _on_kaggle()):
        return
    from packaging.requirements import Requirement

    installed = _installed()
    text = read_requirements(ROOT / "src" / "serving" / "requirements" / "page.txt")
    missing = {
        name: line
        for name, line in _lines_by_name(text).items()
        if name not in installed or installed[name] not in Requirement(line).specifier
    }
    if missing:
        print(f"Installing {', '.join(missing.values())}")
        kept = {name: version for name, version in installed.items() if name not in missing}
        _install([*missing.values()], kept)


def _installed() -> dict[str, str]:
    distributions = importlib.metadata.distributions()
    return {_canonical(each.name): each.version for each in distributions if each.name}


def read_requirements(path: Path) -> str:
    """Return a requirements file, with those that it includes by `-r` in place of that line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    included = {line: path.parent / line[3:].strip() for line in lines if line.startswith("-r ")}
    return "\n".join(read_requirements(included[x]) if x in included else x for x in lines)


def _on_colab() -> bool:
    return bool(importlib.util.find_spec("google") and importlib.util.find_spec("google.colab"))


def _on_kaggle() -> bool:
    return "KAGGLE_KERNEL_RUN_TYPE" in os.environ


def _keep_runs_on_drive() -> None:
    if not _on_colab():
        raise InputError(
            "Google Drive can be mounted on Colab only. Untick keep_runs_on_drive, and set "
            "BRAIN_TUMOR_RUNS to the folder that keeps the runs."
        )
    from google.colab import drive

    try:
        drive.mount(str(DRIVE))
    except Exception as error:  # Colab's own, which differ: refused, timed out, not signed in
        raise InputError(
            f"Google Drive was not mounted ({error}). Allow it, or untick keep_runs_on_drive."
        ) from error
    os.environ["BRAIN_TUMOR_RUNS"] = str(DRIVE / "MyDrive" / "brain-tumor-xception")


def missing_requirements(text: str, installed: Mapping[str, str]) -> list[str]:
    """Return the lines of a requirements file whose libraries are not installed in any version.

    An installed library stays as it is, even if older than the line asks: on Colab the frameworks
    fit the machine's GPU, and another version may not.

    Args:
        text: the file.
        installed: name -> version.
    """
    enough = installed.keys() | NOT_NEEDED
    if installed.keys() & TENSORFLOWS:
        enough.add("tensorflow")
    return [line for name, line in _lines_by_name(text).items() if name not in enough]


def _lines_by_name(text: str) -> dict[str, str]:
    """Return the libraries of a requirements file: name -> its line, without the comment."""
    lines = filter(None, (line.partition("#")[0].strip() for line in text.splitlines()))
    return {_canonical(re.split(r"[<>=!~\[; ]", line)[0]): line for line in lines}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _install(requirements: list[str], installed: dict[str, str]) -> None:
    """Install `requirements`, while every installed library keeps its version."""
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "installed.txt"
        constraints.write_text("".join(f"{n}=={v}\n" for n, v in sorted(installed.items())))
        command = [sys.executable, "-m", "pip", "install", "-q", "-c", str(constraints)]
        done = subprocess.run([*command, *requirements], capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"pip could not install {', '.join(requirements)}: {done.stderr[-800:]}")
    importlib.invalidate_caches()


def smoke() -> bool:
    """Return whether SMOKE=1 asks for the phantom set."""
    return os.environ.get("SMOKE", "") not in ("", "0")


def show(figure, alt: str) -> None:
    """Show a matplotlib figure on white, legible on a dark page too; `alt` describes it."""
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
