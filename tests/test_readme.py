"""The README's promises that a test can hold it to."""

import re
from pathlib import Path

import pytest

from src.__main__ import VERBS, main
from src.common.files import read_json
from src.config import PRESETS

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "notebooks/results"
README = (ROOT / "README.md").read_text()
TEXT = " ".join(README.split())


def block(language: str, number: int = 0) -> list[str]:
    """Return the lines of one of the README's code blocks in `language`, without comments."""
    text = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)[number]
    return [line.partition("  #")[0].rstrip() for line in text.strip().splitlines()]


def test_it_is_short():
    assert len(README.splitlines()) <= 140


def test_three_commands_each_starting_with_the_install():
    install = "python -m pip install -r requirements.txt && "
    assert block("bash", 1) == [
        install + "python -m src compare",
        install + "python -m src data download",
        install + "python -m pytest -n 2",
    ]


def test_ci_calls_exactly_the_test_command():
    assert block("bash", 1)[-1] in (ROOT / ".ci/run").read_text().splitlines()


def test_the_shorter_test_command_is_there():
    assert '`python -m pytest -n 2 -m "not slow"`' in README
    config = (ROOT / ".pytest.ini").read_text()
    assert re.search(r"addopts = .* -m \"not full\"", config) and "\n    slow:" in config


@pytest.mark.parametrize("command", re.findall(r"python -m src ([a-z]+)", README))
def test_the_commands_exist(command):
    assert command in VERBS


@pytest.mark.parametrize("line", [line for line in block("bash") if " -m src " in line])
def test_the_options_exist(line, capsys):
    """A command with a path that is missing ends with that, not with an unknown option."""
    arguments = line.partition(" -m src ")[2].split()
    assert main([*arguments, "--model", "nowhere/run"]) == 2
    assert "unrecognized" not in capsys.readouterr().err


def test_the_presets_are_those_of_the_config():
    for name in PRESETS:
        assert f"`--preset {name}" in README
    quick, smoke = PRESETS["quick"], PRESETS["smoke"]
    assert f"{quick['image_size']} px, {quick['finetune_epochs']} epochs, " in README
    assert f"{smoke['image_size']} px, {smoke['max_images_per_epoch']} images per epoch" in README


def test_what_it_links_to_is_there():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
    for target in re.findall(r"^(src/[\w./]+)", README, re.MULTILINE):
        assert (ROOT / target).exists(), target


def test_every_folder_of_src_is_on_the_map():
    map_ = README.partition("## Map")[2].partition("```text")[2].partition("```")[0]
    for folder in (path for path in (ROOT / "src").iterdir() if (path / "__init__.py").exists()):
        assert f"src/{folder.name} " in map_ or folder.name == "common", folder.name


def test_it_says_that_this_is_no_medical_device():
    assert "Not a medical device" in README


def test_the_difference_of_default_features_is_the_record():
    rows = read_json(RESULTS / "features.json")["rows"]
    shipped = [100 * row["shipped"]["block13"] for row in rows]
    assert f"differ from Keras's by {min(shipped):.0f} % to {max(shipped):.0f} %" in TEXT


def test_the_published_versions_are_those_of_the_records():
    lines = (ROOT / "src/serving/requirements/published.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    records = [read_json(path) for path in (ROOT / "notebooks/results/grid").glob("*.json")]
    used = {True: set(), False: set()}
    for record in records:
        versions = [(name, v.partition("+")[0]) for name, v in record["versions"].items()]
        used[bool(record["hardware"]["gpu"])].update(versions)
    libraries = used[False] - {("python", "3.11.7")}
    assert dict(libraries).keys() == {"tensorflow", "keras", "torch", "torchvision", "timm"}
    assert libraries <= set(pinned.items())
    exception = next(line for line in lines if line.startswith("# Not"))
    assert len(used[True]) == 4  # one GPU image
    assert all(f"{name} {version}" in exception.lower() for name, version in used[True])
