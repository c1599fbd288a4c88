"""The README's promises that a test can hold it to."""

import re
from pathlib import Path

from src.comparison.features import features_table
from src.files import read_json

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def commands() -> list[str]:
    """Return the README's two commands, without their comments."""
    block = README.partition("## Two commands")[2].partition("```bash\n")[2].partition("```")[0]
    return [line.partition("#")[0].strip() for line in block.strip().splitlines()]


def test_two_commands_each_starting_with_the_install():
    assert commands() == [
        "python -m pip install -r requirements.txt && python -m src compare",
        "python -m pip install -r requirements.txt && python -m pytest",
    ]


def test_ci_calls_exactly_the_test_command():
    assert commands()[1] in (ROOT / ".ci" / "run").read_text().splitlines()


def test_what_the_readme_links_to_is_there():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_readme_says_that_this_is_no_medical_device():
    assert "Not a medical device" in README


def test_the_features_table_is_the_records():
    record = read_json(ROOT / "notebooks" / "results" / "features.json")
    assert features_table(record["rows"]) in README
    assert record["dataset"]["kind"] == "real" and record["precision"] == "float32"
