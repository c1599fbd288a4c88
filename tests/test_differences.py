"""The table says what the code does: every row is acted on, and every source exists."""

from pathlib import Path

import pytest

from src.common.errors import InputError
from src.config import ExperimentConfig
from src.differences import DIFFERENCES, RESTORABLE, STOCK

SRC = Path(__file__).parents[1] / "src"
ROWS = pytest.mark.parametrize("row", DIFFERENCES, ids=lambda row: row.name)


def test_names_are_unique():
    assert len({row.name for row in DIFFERENCES}) == len(DIFFERENCES)


@ROWS
def test_rows_are_filled_in(row):
    assert all((row.name, row.keras, row.torch, row.exact, row.source))
    assert set(row.affects) <= {"tf", "pt"}


@ROWS
def test_sources_exist(row):
    """A source is a module of ours, perhaps with a name that stands in it."""
    for twin in ("tf", "pt") if "{tf,pt}" in row.source else ("",):
        parts = row.source.replace("{tf,pt}", twin).split(".")
        place = next(n for n in range(len(parts), 0, -1) if _module(parts[:n]).is_file())
        text = _module(parts[:place]).read_text()
        for name in parts[place:]:
            assert f"def {name}(" in text or f"class {name}" in text, name


@ROWS
@pytest.mark.parametrize("twin", ["tf", "pt"])
def test_rows_act_where_they_say(row, twin):
    code = "".join(path.read_text() for path in (SRC / twin).glob("*.py"))
    acted_on = f'"{row.name}" in ' in code or f'"{row.name}" not in ' in code
    if row.name == "head_init":  # experiment.py asks, the twins draw
        acted_on = "def default_head(" in code
    assert acted_on == (twin in row.affects)


def test_config_takes_them_and_no_others():
    assert ExperimentConfig(restore_defaults=STOCK).restore_defaults == RESTORABLE
    with pytest.raises(InputError, match="names of differences"):
        ExperimentConfig(restore_defaults=("schedule",))


def _module(parts):
    return SRC.parent.joinpath(*parts).with_suffix(".py")
