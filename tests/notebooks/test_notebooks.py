"""Notebooks: thin, set up alike, twins; and a set-up cell that works where no repository is yet."""

import ast
import copy
import inspect
import json
import os
import re
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import nbformat
import pytest
from nbclient import NotebookClient
from packaging.requirements import Requirement

from src.common.errors import InputError
from src.common.files import read_json
from src.config import preset
from src.data.phantom.write import MARKER
from src.notebook import setup
from src.notebook.runs import FLOOR, find_run, notebook_config, run_folder
from src.notebook.setup import missing_requirements, read_requirements, show_table
from src.xception.weight_files import PRETRAINED
from tests.image_folders import write_flat
from tests.notebooks import check, execute
from tests.notebooks.check import tidy

ROOT = Path(__file__).parents[2]
COSTS = read_json(ROOT / "notebooks" / "results" / "notebooks.json")
FIRST = check.read("01_explore_data")
REPOSITORY = f"https://github.com/{check.repository(FIRST)}"


@pytest.mark.parametrize("name", check.NAMES)
def test_notebooks_are_as_they_should_be(name):
    notebook = check.read(name)
    assert not check.faults_of_source(name, notebook)
    assert not check.faults_of_outputs(notebook)
    assert any(cell.get("outputs") for cell in notebook.cells)  # what people see on GitHub


@pytest.mark.parametrize("name", check.NAMES)
def test_the_first_cell_holds_the_minutes_and_memory_that_were_measured(name):
    real, smoke = (COSTS[kind][name] for kind in ("real", "smoke"))
    minutes = f"**Minutes**: {real['minutes']:.1f} ({smoke['minutes']:.1f} with `SMOKE=1`)"
    memory = [f"{each['memory_mb'] / 1024:.1f} GiB" for each in (real, smoke)]
    costs = f"{minutes}. **Memory**: {memory[0]} ({memory[1]} with `SMOKE=1`)."
    assert f"{costs} Measured on two CPU cores" in check.read(name).cells[0].source
    assert real["hardware"]["cores"] == smoke["hardware"]["cores"] == 2
    assert smoke["minutes"] < 1  # as notebooks/README.md says
    readme = (ROOT / "notebooks" / "README.md").read_text()
    assert re.search(rf"{name}.*\| {real['minutes']:.1f} \|", readme)


def test_links_between_notebooks_and_into_the_source_lead_somewhere():
    functions = 0
    for name in check.NAMES:
        for cell in check.read(name).cells:
            for target in re.findall(r"\]\((?!http)([^)#]+)\)", cell.source):
                assert (check.FOLDER / target).exists(), f"{name}: {target}"
            for function, target in re.findall(r"\[`(\w+)`\]\((\.\./src/.+?)\)", cell.source):
                tree = ast.parse((check.FOLDER / target).read_text())
                assert function in {getattr(node, "name", "") for node in tree.body}, function
                functions += 1
    assert functions >= 4  # links that name one


@pytest.mark.parametrize("pair", check.TWINS)
def test_paired_notebooks_are_twins(pair):
    assert not check.faults_of_twins(*map(check.read, pair))


def test_training_and_evaluation_are_paired():
    assert {pair[0][:2] for pair in check.TWINS} >= {"02", "03"}


@pytest.mark.parametrize("pair", check.TWINS)
@pytest.mark.parametrize("fault", ["text", "tag", "cell"])
def test_editing_one_twin_only_shows(pair, fault):
    one, other = (copy.deepcopy(check.read(name)) for name in pair)
    if fault == "text":
        other.cells[3].source += "\nprint(1)"
    elif fault == "tag":
        other.cells[3].metadata["tags"] = [check.SPECIFIC]
    else:
        del other.cells[-1]
    assert check.faults_of_twins(one, other)


@pytest.mark.parametrize(
    "cell, source, message",
    [
        (0, "# Title", "the first cell lacks"),
        (0, FIRST.cells[0].source.replace("github/", "github/another-"), "the badge"),
        (1, FIRST.cells[1].source + "\n# more", "set-up cell"),
        (None, "", "not asked for a GPU"),
        (3, "def f():\n    return 1", "FunctionDef"),
        (3, "\n".join(f"a{n} = 1" for n in range(20)), "more than one question"),
    ],
)
def test_a_fault_of_source_shows(cell, source, message):
    notebook = copy.deepcopy(FIRST)
    if cell is None:
        del notebook.metadata["accelerator"]
    else:
        notebook.cells[cell].source = source
    assert message in " ".join(check.faults_of_source("01_explore_data", notebook))


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
        {"output_type": "stream", "name": "stdout", "text": "in /content/project"},  # Colab's
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


def test_a_page_that_is_served_is_no_stored_output():
    html = '<iframe src="http://127.0.0.1:7860/"></iframe>'
    notebook = executed(output_type="display_data", data={"text/html": html})
    tidy(notebook)
    assert [*notebook.cells[0].outputs[0].data] == ["text/plain"]


def test_executing_keeps_the_outputs_of_one_whole_run(tmp_path, monkeypatch, capsys):
    """Through the command itself, on notebooks of one cell; one with a fault is not kept."""
    folder, out = tmp_path / "notebooks", tmp_path / "out"
    costs = folder / "results" / "notebooks.json"
    costs.parent.mkdir(parents=True)
    real = {"03_good": {"minutes": 1.26, "memory_mb": 2048}}
    costs.write_text(json.dumps({"smoke": {}, "real": real}))
    (folder / "README.md").write_text("| [03_good](03_good.ipynb) | shows | 9 |\n")
    for name, source in (("03_good", "print(1)"), ("04_bad", "import sys; sys.stderr.write('x')")):
        cells = [nbformat.v4.new_markdown_cell("**Minutes**: ?"), nbformat.v4.new_code_cell(source)]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / f"{name}.ipynb")
    for module in (check, execute):
        monkeypatch.setattr(module, "FOLDER", folder)
        monkeypatch.setattr(module, "NAMES", ("03_good", "04_bad"))
    monkeypatch.setattr(check.read, "__defaults__", (folder,))
    monkeypatch.setenv("SMOKE", "1")
    assert execute.main(["--out", str(out)]) == 1
    assert "stderr: x" in capsys.readouterr().out
    assert [file.name for file in out.iterdir()] == ["03_good.ipynb"]
    assert check.read("03_good", out).cells[1].outputs[0].text == "1\n"
    first, code = check.read("03_good").cells
    assert not code.outputs
    measured = read_json(costs)["smoke"]
    assert [*measured] == ["03_good"] and 20 < measured["03_good"]["memory_mb"] < 500
    assert first.source.startswith("**Minutes**: 1.3 (0.") and "2.0 GiB (0." in first.source
    assert (folder / "README.md").read_text() == "| [03_good](03_good.ipynb) | shows | 1.3 |\n"


def test_the_repository_is_not_filled_with_phantoms(tmp_path, monkeypatch, capsys):
    (tmp_path / MARKER).touch()  # as in a phantom set
    monkeypatch.setenv("BRAIN_TUMOR_DATA", str(tmp_path))
    for smoke, name, message in (
        ("1", "04_compare_frameworks", "With SMOKE=1 give another folder"),
        ("", "04_compare_frameworks", "must name the folder of the real images"),
        ("", "07_none", "no such notebook: 07_none"),
    ):
        monkeypatch.setenv("SMOKE", smoke)
        with pytest.raises(SystemExit):
            execute.main([name])
        assert message in " ".join(capsys.readouterr().err.split())


def test_an_executed_copy_is_checked(tmp_path, capsys):
    for name in check.NAMES:
        notebook = check.read(name)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")
    assert not check.main([str(tmp_path)])
    assert check.main([str(tmp_path), "--executed"]) == 1
    assert f"{check.NAMES[0]}: was not executed" in capsys.readouterr().out


def test_only_what_is_missing_is_installed():
    text = "# comment\nnumpy>=99\nno-such-library>=1\njupyter-nothing\npytest>=8\ntensorflow>=2\n"
    missing = ["no-such-library>=1", "jupyter-nothing"]
    installed = {"numpy": "1.0", "tensorflow-cpu": "1.0"}
    assert missing_requirements(text, installed) == missing
    assert missing_requirements(text, {"numpy": "1.0"}) == [*missing, "tensorflow>=2"]


# What Colab (Python 3.13) has of what this project uses, by its published list; no jupyter, no
# pytest-xdist, no nbmake, no captum, no pydicom. Kaggle (Python 3.12) starts from Colab's image.
ON_COLAB = """
tensorflow==2.20.0 torch==2.11.0 torchvision==0.26.0 timm==1.0.28 numpy==2.1.3 scipy==1.16.3
scikit-learn==1.6.1 pillow==11.3.0 matplotlib==3.10.0 h5py==3.15.1 safetensors==0.7.0
threadpoolctl==3.6.0 tqdm==4.67.3 psutil==5.9.5 jinja2==3.1.6 kagglehub==0.3.13 pooch==1.9.0
pytest==8.4.2 ruff==0.15.2 nibabel==5.3.3 ipywidgets==7.7.1 keras==3.10.0
"""
ON_COLAB = dict(pair.split("==") for pair in ON_COLAB.split())
ON_COLAB["filelock"] = "of torch"  # which depends on it
ON_KAGGLE = ON_COLAB | {"scikit-learn": "1.2.2", "matplotlib": "3.7.5", "pydicom": "3.0.1"}
REQUIREMENTS = read_requirements(ROOT / "requirements.txt")


@pytest.mark.parametrize("installed", [ON_COLAB, ON_KAGGLE], ids=["colab", "kaggle"])
def test_colab_and_kaggle_lack_nothing(installed):
    assert not missing_requirements(REQUIREMENTS, installed)
    without = {name: version for name, version in installed.items() if name != "timm"}
    assert [line[:4] for line in missing_requirements(REQUIREMENTS, without)] == ["timm"]


def test_colab_has_the_versions_that_are_asked_for():
    lines = [line.partition("#")[0].strip() for line in REQUIREMENTS.splitlines()]
    asked = {each.name: each.specifier for each in map(Requirement, filter(None, lines))}
    there = asked.keys() & ON_COLAB.keys()
    assert len(there) > 15
    assert not [name for name in there if ON_COLAB[name] not in asked[name]]


@pytest.mark.parametrize("hosted", [False, True])
def test_only_a_throw_away_machine_gets_libraries(monkeypatch, hosted):
    installed = []
    monkeypatch.setattr(setup, "missing_requirements", lambda *_: ["timm>=1"])
    monkeypatch.setattr(setup, "_install", lambda missing, _: installed.extend(missing))
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE", raising=False)
    if not hosted:
        with pytest.raises(InputError, match="Not installed: timm>=1"):
            setup.set_up()
    else:
        monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
        setup.set_up()
    assert installed == ["timm>=1"] * hosted


def test_colab_gets_what_the_page_needs_and_keeps_the_rest(monkeypatch):
    given = {}
    monkeypatch.setattr(setup, "_installed", lambda: ON_COLAB | {"gradio": "5.50.0"})
    monkeypatch.setattr(setup, "_install", lambda missing, kept: given.update(m=missing, k=kept))
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE", raising=False)
    setup.add_page()
    assert not given  # nobody's own machine is changed
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    setup.add_page()
    assert {line.partition(">")[0] for line in given["m"]} == {
        "gradio", "onnx", "onnxruntime", "pydicom"
    }  # fmt: skip
    assert given["k"] == ON_COLAB


def test_runs_are_kept_on_drive_when_the_user_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(setup, "missing_requirements", lambda *_: [])
    monkeypatch.setenv("BRAIN_TUMOR_RUNS", "before")
    monkeypatch.setenv("BRAIN_TUMOR_DATA", "before")
    with pytest.raises(InputError, match="on Colab only"):
        setup.set_up(keep_runs_on_drive=True)
    mounted = []
    colab = ModuleType("google.colab")
    colab.drive = SimpleNamespace(mount=mounted.append)
    colab.__spec__ = ModuleSpec("google.colab", None)
    for name, module in (("google", ModuleType("google")), ("google.colab", colab)):
        module.__spec__ = ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
    setup.set_up()
    assert not mounted and {os.environ[f"BRAIN_TUMOR_{name}"] for name in ("RUNS", "DATA")} == {
        "before"
    }
    setup.set_up("/content/images", keep_runs_on_drive=True)
    assert mounted == ["/content/drive"] and os.environ["BRAIN_TUMOR_DATA"] == "/content/images"
    assert os.environ["BRAIN_TUMOR_RUNS"] == "/content/drive/MyDrive/brain-tumor-xception"
    colab.drive.mount = lambda _: (_ for _ in ()).throw(ValueError("mount failed"))
    with pytest.raises(InputError, match=r"not mounted \(mount failed\).*untick"):
        setup.set_up(keep_runs_on_drive=True)


def test_settings_are_form_fields_of_the_set_up_cell():
    fields = re.findall(r'^(\w+) = .*  # @param \{"type": "\w+"\}$', FIRST.cells[1].source, re.M)
    assert f"set_up({', '.join(fields)})" in FIRST.cells[1].source
    assert fields == list(inspect.signature(setup.set_up).parameters)


@pytest.mark.parametrize("given", [None, "false"])
def test_tensorflow_leaves_gpu_memory_to_pytorch(given):
    environment = {k: v for k, v in os.environ.items() if k != "TF_FORCE_GPU_ALLOW_GROWTH"}
    environment |= {"TF_FORCE_GPU_ALLOW_GROWTH": given} if given else {}
    code = "import os, src.tf; print(os.environ['TF_FORCE_GPU_ALLOW_GROWTH'])"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == (given or "true")


def test_the_layers_are_read_as_pip_reads_them():
    text = read_requirements(ROOT / "requirements.txt")
    installed = {"tensorflow", "torch", "torchvision", "timm", "numpy", "scikit-learn", "tqdm"}
    missing = missing_requirements(text, dict.fromkeys(installed, "1.0"))
    names = {re.split("[<>=]", line)[0] for line in missing}
    assert names == {
        "pillow", "safetensors", "scipy", "matplotlib", "h5py", "threadpoolctl", "psutil", "jinja2",
        "kagglehub", "pooch", "filelock",
    }  # fmt: skip


def test_a_missing_run_is_named_with_its_command(monkeypatch, tmp_path):
    monkeypatch.setenv("SMOKE", "")
    monkeypatch.setenv("BRAIN_TUMOR_DATA", str(write_flat(tmp_path / "set", count=1)))
    monkeypatch.setenv("BRAIN_TUMOR_RUNS", str(tmp_path))
    with pytest.raises(InputError, match=r"Run 02_train_tensorflow, or this .* --framework tf"):
        find_run("tf", notebook_config())
    with pytest.raises(InputError, match=r"Run this command .* --perturbed"):
        find_run(FLOOR, notebook_config())


def test_a_run_of_other_images_has_another_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("SMOKE", raising=False)
    folders = set()
    for images in ("one", "two"):
        root = write_flat(tmp_path / images / "set", count=2 + len(folders))
        monkeypatch.setenv("BRAIN_TUMOR_DATA", str(root))
        folders.add(run_folder("pt", preset("smoke")))
    assert len(folders) == 2


def test_only_columns_of_numbers_align_right(monkeypatch):
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


COLAB = """
import runpy, subprocess, sys
import google.colab  # the stub, as on Colab loaded before any cell
calls = []
run = subprocess.run
def watch(command, **options):
    calls.append([str(word) for word in command])
    if "pip" in calls[-1]:  # nothing can be fetched here: what would be is what counts
        return subprocess.CompletedProcess(command, 0, "", "")
    return run(command, **options)
subprocess.run = watch
import importlib.metadata as metadata
everything = metadata.distributions
metadata.distributions = lambda: [each for each in everything() if each.name != "timm"]
import json
notebook = json.load(open(sys.argv[1]))
exec("".join(notebook["cells"][1]["source"]), {"__name__": "__main__"})
for cell in notebook["cells"][2:4]:
    if cell["cell_type"] == "code":
        exec("".join(cell["source"]), globals())
print(json.dumps(calls))
"""


@pytest.mark.slow
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
REINSTALLS = ("name not in enough", "name in TENSORFLOWS")


@pytest.mark.slow
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


def test_numbers_in_the_text_are_those_of_the_records():
    shipped = read_json(PRETRAINED / "record.json")
    table = read_json(ROOT / "notebooks" / "results" / "table.json")
    tf, pt = (row["accuracies"] for row in table["rows"] if row["arm"] == "stock")
    each = [100 * (other - one) for one, other in zip(tf, pt)]
    said = {
        f"for {shipped['seconds'] / 60:.0f} minutes in bfloat16": "03_evaluate_pytorch",
        f"put {100 * table['agreement']['five_folds']['stock']:.1f} % of": "03_evaluate_pytorch",
        f"lies between {min(each):.1f} and {max(each):+.1f} points": "03_evaluate_pytorch",
        f"happens to {100 * shipped['refused']['test']['value']:.1f} % of the test": "06_predict",
    }
    for words, name in said.items():
        assert words in " ".join(" ".join(c.source.split()) for c in check.read(name).cells)
