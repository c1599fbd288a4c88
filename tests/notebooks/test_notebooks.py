"""Notebooks: thin, set up alike, twins; and a set-up cell that works where nothing is there yet."""

import ast
import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from src.common.errors import InputError
from src.data.phantom.write import default_phantom
from src.notebook import costs
from src.notebook.__main__ import main
from src.notebook.address import REPOSITORY, move, setup_cell
from src.notebook.meter import Meter
from src.notebook.runs import FLOOR, find_run, notebook_config
from src.notebook.setup import missing_requirements, show_table
from src.notebook.workflow import STEPS, step_source
from tests.notebooks import check, execute
from tests.notebooks.execute import overwritten, tidy

ROOT = Path(__file__).parents[2]
FIRST = check.read("01_explore_data").cells[0].source


@pytest.mark.parametrize("name", check.NAMES)
def test_notebooks_are_as_they_should_be(name):
    notebook = check.read(name)
    assert not check.faults_of_source(name, notebook)
    assert not check.faults_of_outputs(notebook)


def test_no_notebook_is_left_out():
    assert sorted(path.stem for path in check.FOLDER.glob("*.ipynb")) == sorted(check.NAMES)


@pytest.mark.parametrize("pair", check.TWINS)
def test_paired_notebooks_are_twins(pair):
    assert not check.faults_of_twins(*map(check.read, pair))


@pytest.mark.parametrize("pair", check.TWINS)
@pytest.mark.parametrize("fault", ["text", "tag", "cell"])
def test_editing_one_twin_only_shows(pair, fault):
    one, other = (copy.deepcopy(check.read(name)) for name in pair)
    if fault == "text":
        other.cells[3].source += "\nprint(1)"
    elif fault == "tag":
        other.cells[3].metadata["tags"] = [check.OWN]
    else:
        del other.cells[-1]
    assert check.faults_of_twins(one, other)


@pytest.mark.parametrize(
    "cell, source, said",
    [
        (0, "# Title", "the first cell lacks"),
        (1, setup_cell() + "\n# more", "set-up cell"),
        (0, FIRST.replace("| **Memory** | ", "| **Memory** | 1"), "costs"),
        (3, "def f():\n    return 1", "FunctionDef"),
        (3, "\n".join(f"a{n} = 1" for n in range(20)), "more than one question"),
    ],
)
def test_a_fault_of_source_shows(cell, source, said):
    notebook = copy.deepcopy(check.read("01_explore_data"))
    notebook.cells[cell].source = source
    assert said in " ".join(check.faults_of_source("01_explore_data", notebook))


def executed(**output):
    cells = [
        nbformat.v4.new_code_cell(
            "1", execution_count=1, outputs=[nbformat.v4.new_output(**output)]
        )
    ]
    return nbformat.v4.new_notebook(cells=cells)


@pytest.mark.parametrize(
    "output",
    [
        {"output_type": "stream", "name": "stderr", "text": "anything"},
        # A made-up path: what a reader must not see.
        {"output_type": "stream", "name": "stdout", "text": "in /home/me/project"},
        {"output_type": "stream", "name": "stdout", "text": "x.py:1: UserWarning: old"},
        {"output_type": "stream", "name": "stdout", "text": "Drawing:   0%| | 0/4 [00:00<?]"},
        {"output_type": "stream", "name": "stdout", "text": "Drawing\rDrawn"},
        {"output_type": "error", "ename": "E", "evalue": "v", "traceback": []},
        {"output_type": "stream", "name": "stdout", "text": "x" * (check.LARGEST + 1)},
    ],
)
def test_a_fault_of_outputs_shows(output):
    assert check.faults_of_outputs(executed(**output))


def test_outputs_must_come_from_one_ordered_run():
    notebook = executed(output_type="stream", name="stdout", text="fine")
    assert not check.faults_of_outputs(notebook)
    notebook.cells[0].execution_count = 2
    assert check.faults_of_outputs(notebook)


def test_one_command_moves_the_address_everywhere(tmp_path):
    (tmp_path / "src" / "notebook").mkdir(parents=True)
    (tmp_path / "notebooks").mkdir()
    for path in [ROOT / "src/notebook/address.py", *check.FOLDER.glob("*.ipynb")]:
        (tmp_path / path.relative_to(ROOT)).write_bytes(path.read_bytes())
    move("https://github.com/you/fork", tmp_path)
    texts = {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert len(texts) == 1 + len(check.NAMES)
    for text in texts.values():
        assert REPOSITORY not in text and "github.com/you/fork" in text
    with pytest.raises(InputError, match="Expected an address"):
        move("ftp://elsewhere", tmp_path)


def test_what_a_progress_bar_overwrites_is_gone():
    assert overwritten("\r 10%\r 50%\r100%\nnext\n") == "100%\nnext\n"


def test_bars_that_a_kernel_sends_piece_by_piece_leave_nothing():
    cell = nbformat.v4.new_code_cell(
        "from src.common.cache import progress\nfrom src.common.progress import EpochBar\n"
        "import time\n"
        "for _ in progress(range(3), 3, 'Drawing'): time.sleep(0.4)\n"
        "bar = EpochBar('epoch 1/1', 2, 2)\nprint('between')\n"
        "bar.advance(1); time.sleep(0.3); bar.advance(1); bar.close()\nprint('done')"
    )
    notebook = nbformat.v4.new_notebook(cells=[cell])
    resources = {"metadata": {"path": str(ROOT)}}
    NotebookClient(notebook, resources=resources).execute()
    assert "Drawing:" in str(cell.outputs) and "epoch 1/1: 100%" in str(cell.outputs)  # live
    assert check.faults_of_outputs(notebook)
    tidy(notebook)
    assert [output.text for output in cell.outputs] == ["between\ndone\n"]
    assert not check.faults_of_outputs(notebook)


SLEEPER = """
import subprocess, sys
held = bytearray(200 << 20)
held[::4096] = b"x" * len(held[::4096])
child = "import time; held = b'x' * (100 << 20); time.sleep(1.5)"
subprocess.run([sys.executable, "-c", child])
"""


def test_the_meter_counts_the_kernel_and_what_it_starts():
    with Meter() as meter:
        subprocess.run([sys.executable, "-c", SLEEPER], check=True)
    assert 300 < meter.memory_mb < 400
    assert 1.5 < meter.seconds < 60


def test_what_a_run_measures_stands_in_the_record_and_in_the_first_cell(tmp_path, monkeypatch):
    """Through the command itself, on a notebook of one cell; the one in its place learns it too."""
    here, out, record = tmp_path / "notebooks", tmp_path / "out", tmp_path / "notebooks.json"
    here.mkdir()
    source = check.read("04_compare_frameworks")
    source.cells = [source.cells[0], nbformat.v4.new_code_cell("print(1)")]
    (here / "04_compare_frameworks.ipynb").write_text(nbformat.writes(source))
    monkeypatch.setattr(check, "FOLDER", here)
    monkeypatch.setattr(execute, "FOLDER", here)
    monkeypatch.setattr(check.read, "__defaults__", (here,))
    monkeypatch.setattr(costs.read_record, "__defaults__", (record,))
    monkeypatch.setattr(costs.note, "__defaults__", (record,))
    monkeypatch.setenv("SMOKE", "1")
    assert not main(["run", "04_compare_frameworks", "--out", str(out)])
    found = json.loads(record.read_text())
    cost = found["smoke"]["04_compare_frameworks"]
    assert cost["minutes"] > 0 and cost["memory_mb"] > 20 and not found["real"]
    for folder in (here, out):
        first = check.read("04_compare_frameworks", folder).cells[0].source
        assert f"| {cost['minutes']:.1f} | {costs.UNKNOWN} |" in costs.table_of(first)
    assert check.read("04_compare_frameworks", out).cells[1].outputs
    assert not check.read("04_compare_frameworks", here).cells[1].outputs


def test_the_repository_is_not_filled_with_phantoms(monkeypatch, capsys):
    monkeypatch.setenv("SMOKE", "1")
    assert main(["run", "04_compare_frameworks"]) == 2
    assert "Outputs of the phantom set" in capsys.readouterr().err
    monkeypatch.setenv("SMOKE", "")
    monkeypatch.setenv("BRAIN_TUMOR_DATA", str(default_phantom()))
    assert main(["run", "04_compare_frameworks"]) == 2
    assert "on the real images, and none are found" in capsys.readouterr().err
    assert main(["run", "07_none"]) == 2
    assert "No such notebook: 07_none" in capsys.readouterr().err


def test_only_what_is_missing_is_installed():
    text = "# comment\nnumpy>=99\nno-such-library>=1\njupyter-nothing\npytest>=8\n"
    assert missing_requirements(text) == ["no-such-library>=1", "jupyter-nothing"]


def test_a_run_that_is_missing_is_named_with_what_makes_it(monkeypatch, tmp_path):
    monkeypatch.setenv("SMOKE", "")
    monkeypatch.setenv("BRAIN_TUMOR_DATA", str(tmp_path))
    monkeypatch.setenv("BRAIN_TUMOR_RUNS", str(tmp_path))
    with pytest.raises(InputError, match=r"Run 02_train_tensorflow first, or .* --framework tf"):
        find_run("tf", notebook_config())
    with pytest.raises(InputError, match=r"Run this command first, .* --perturbed"):
        find_run(FLOOR, notebook_config())


def test_columns_stand_to_the_right_only_where_all_is_numbers(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda table: shown.append(table.data))
    rows = [{"name": "a", "keras": "1e-3", "score": "-"}, {"name": "b", "keras": "its own"}]
    show_table([rows[0], {**rows[1], "score": "97.1 %"}])
    assert shown[0].splitlines() == [
        "| name | keras | score |",
        "| --- | --- | ---: |",
        "| a | 1e-3 | - |",
        "| b | its own | 97.1 % |",
    ]


@pytest.mark.parametrize("step", STEPS)
def test_the_workflow_shows_code_that_is_there(step):
    sources = [step_source(framework, step) for framework in ("tf", "pt")]
    assert sources[0] != sources[1], "two equal blocks show nobody how the frameworks differ"
    for source in sources:
        ast.parse(source)
        assert '"""' not in source


COLAB = """
import runpy, subprocess, sys
import google.colab  # the stub, as on Colab loaded before any cell
calls = []
real = subprocess.run
def watch(command, **options):
    calls.append([str(word) for word in command])
    if "pip" in calls[-1]:  # nothing can be fetched here: what would be is what counts
        return subprocess.CompletedProcess(command, 0, "", "")
    return real(command, **options)
subprocess.run = watch
import importlib.metadata as metadata
every = metadata.distributions
metadata.distributions = lambda: [d for d in every() if d.name != "timm"]
import json
notebook = json.load(open(sys.argv[1]))
exec("".join(notebook["cells"][1]["source"]), {"__name__": "__main__"})
for cell in notebook["cells"][2:4]:
    if cell["cell_type"] == "code":
        exec("".join(cell["source"]), globals())
print(json.dumps(calls))
"""


def test_on_colab_the_repository_is_cloned_and_no_framework_is_installed(tmp_path):
    """google.colab is a stub, the clone comes from a bare clone beside, timm alone is missing."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: nothing to clone from")
    stub = tmp_path / "stub" / "google" / "colab"
    stub.mkdir(parents=True)
    (stub / "__init__.py").touch()
    bare = bare_clone(tmp_path, None)
    content = tmp_path / "content"
    content.mkdir()
    outside = tmp_path / "05.ipynb"
    outside.write_bytes((check.FOLDER / "05_inside_xception.ipynb").read_bytes())
    environment = {
        **os.environ,
        "PYTHONPATH": str(stub.parents[1]),
        "SMOKE": "1",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{bare.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": REPOSITORY,
    }
    done = subprocess.run(
        [sys.executable, "-c", COLAB, str(outside)],
        cwd=content,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stderr
    calls = json.loads(done.stdout.splitlines()[-1])
    assert [call[:2] for call in calls if call[0] == "git"] == [["git", "clone"]]
    (pip,) = [call for call in calls if "pip" in call]
    assert pip[-1].startswith("timm") and pip[-2].endswith("installed.txt") and "-c" in pip
    assert (content / REPOSITORY.rpartition("/")[2] / "src").is_dir()


PIP = """
import json, os, sys
with open(os.environ["PIP_CALLS"], "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
"""
# A set-up that asks for versions, as a plain `pip install -r requirements.txt` would.
REINSTALLS = ("name not in NOT_NEEDED and not _has(name)", "name in TENSORFLOWS")


@pytest.mark.parametrize("fault", [None, REINSTALLS], ids=["whole notebook", "re-installs"])
def test_on_colab_a_whole_notebook_runs_and_nothing_is_installed(tmp_path, fault):
    """As Colab does: a kernel far from any checkout, google.colab a stub, both frameworks there.

    The set-up cell clones from a bare clone beside; pip is a stub that notes what it is asked for.
    With the deliberate fault only the set-up cell runs, and pip is seen to be asked.
    """
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: nothing to clone from")
    stubs, content, calls = tmp_path / "stubs", tmp_path / "content", tmp_path / "pip.jsonl"
    for file in ("google/colab/__init__.py", "pip/__init__.py", "pip/__main__.py"):
        (stubs / file).parent.mkdir(parents=True, exist_ok=True)
        (stubs / file).write_text(PIP if "main" in file else "")
    content.mkdir()
    environment = os.environ | {
        "PYTHONPATH": str(stubs),
        "PIP_CALLS": str(calls),
        "SMOKE": "1",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{bare_clone(tmp_path, fault).as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": REPOSITORY,
    }
    notebook = check.read("05_inside_xception")
    if fault:
        del notebook.cells[2:]
    resources = {"metadata": {"path": str(content)}}
    NotebookClient(notebook, timeout=300, resources=resources).execute(env=environment)
    tidy(notebook)
    assert not check.faults_of_outputs(notebook)
    assert (content / REPOSITORY.rpartition("/")[2] / "src").is_dir()
    asked = calls.read_text() if calls.exists() else ""
    assert ("tensorflow" in asked) == bool(fault)
    assert fault or not asked


def bare_clone(folder: Path, change: tuple[str, str] | None) -> Path:
    """Clone this repository into `folder`, with one text of src/notebook/setup.py replaced."""
    work, bare = folder / "work", folder / "origin.git"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(work)], check=True)
    if change:
        file = work / "src" / "notebook" / "setup.py"
        text = file.read_text()
        assert change[0] in text
        file.write_text(text.replace(*change))
        author = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
        subprocess.run(["git", *author, "commit", "-qam", "fault"], cwd=work, check=True)
    subprocess.run(["git", "clone", "-q", "--bare", str(work), str(bare)], check=True)
    return bare
