"""Where this repository lives: said once, here, and written into every notebook by one command.

python -m src.notebook address https://github.com/YOU/YOUR-FORK
"""

import re
from pathlib import Path

import nbformat

from src.common.errors import InputError
from src.common.files import atomic_write
from src.notebook.setup import ROOT

REPOSITORY = "https://github.com/brain-tumor-xception/brain-tumor-classification-xception"
BRANCH = "main"

# Identical in every notebook: it must run where nothing of the repository is there yet.
SETUP = """\
# Set-up: finds this repository or fetches it, and installs what is missing, nothing else.
import os
import subprocess
import sys
from pathlib import Path

notebook = globals().get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME", "")
here = [Path.cwd(), Path(notebook)]
above = [folder for start in here for folder in (start, *start.parents)]
root = next((folder for folder in above if (folder / "src/notebook/setup.py").is_file()), None)
if root is None:
    repository = "{repository}"
    root = Path.cwd() / "{name}"
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", repository, root], check=True)
os.chdir(root)
sys.path.insert(0, str(Path.cwd()))

from src.notebook.setup import set_up

set_up()"""


def setup_cell(repository: str = REPOSITORY) -> str:
    """Return the set-up cell's source."""
    name = repository.rstrip("/").rpartition("/")[2]
    return SETUP.replace("{repository}", repository).replace("{name}", name)


def badge(notebook: str, repository: str = REPOSITORY) -> str:
    """Return the line that opens the notebook of that file name in Colab.

    Raises:
        InputError: the address is not one on GitHub, which Colab opens.
    """
    found = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)/?", repository)
    if not found:
        raise InputError(
            f"Expected an address such as https://github.com/you/your-fork. Received: {repository}."
        )
    target = f"https://colab.research.google.com/github/{found[1]}/blob/{BRANCH}/notebooks"
    image = "https://colab.research.google.com/assets/colab-badge.svg"
    return f"[![Open in Colab]({image})]({target}/{notebook})"


def move(repository: str, root: Path = ROOT) -> list[Path]:
    """Write another address into this file and every notebook; return what was changed.

    Raises:
        InputError: the address is not one on GitHub.
    """
    badge("any.ipynb", repository)
    repository = repository.rstrip("/")
    this = root / "src" / "notebook" / "address.py"
    text = this.read_text(encoding="utf-8")
    changed = {
        this: re.sub(r'^REPOSITORY = ".*"$', f'REPOSITORY = "{repository}"', text, flags=re.M)
    }
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if "set-up" in cell.metadata.get("tags", ()):
                cell.source = setup_cell(repository)
            lines = cell.source.split("\n")
            for number, line in enumerate(lines):
                if line.startswith("[![Open in Colab]"):
                    lines[number] = badge(path.name, repository)
            cell.source = "\n".join(lines)
        changed[path] = nbformat.writes(notebook) + "\n"
    for path, content in changed.items():
        with atomic_write(path) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return list(changed)
