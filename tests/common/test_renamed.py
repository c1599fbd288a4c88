"""Old names: records and configs are still read; old flags and imports name the current one."""

import dataclasses
import importlib
import importlib.util
import json
from pathlib import Path

import pytest

from src.__main__ import main
from src.common.errors import InputError
from src.common.files import read_json
from src.common.renamed import FIELDS, MODULES, renamed_flag
from src.config import ExperimentConfig, preset

RECORDS = sorted((Path(__file__).parents[2] / "notebooks/results").rglob("*.json"))


def test_old_and_current_fields():
    fields = {spec.name for spec in dataclasses.fields(ExperimentConfig)}
    assert set(FIELDS.values()) <= fields and not set(FIELDS) & fields


def test_an_old_config_file_is_read(tmp_path):
    old = {"redraw": ["block14"], "head_rate": 0.01, "epoch_images": 64, "prefix_cache": True}
    (tmp_path / "config.json").write_text(json.dumps(old))
    config = ExperimentConfig.from_json(read_json(tmp_path / "config.json"))
    expected = ExperimentConfig(reinit=["block14"], head_learning_rate=0.01, feature_cache=True)
    assert config == dataclasses.replace(expected, max_images_per_epoch=64)


def test_an_old_field_given_in_python_names_the_current_one():
    with pytest.raises(InputError, match=r"redraw \(now reinit\)"):
        preset("quick", redraw=["block14"])


def configs(value) -> list[dict]:
    """Return every `config` of a run in a record, at any depth."""
    if isinstance(value, list):
        return [config for item in value for config in configs(item)]
    if not isinstance(value, dict):
        return []
    nested = [config for item in value.values() for config in configs(item)]
    return nested + ([value["config"]] if isinstance(value.get("config"), dict) else [])


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_every_committed_record_is_read(path):
    for config in configs(read_json(path)):
        ExperimentConfig.from_json(config)


def test_the_committed_records_hold_configs():
    runs = [path for path in RECORDS if path.parent.name in ("grid", "parity")]
    assert len(runs) > 12 and all(configs(read_json(path)) for path in runs)


@pytest.mark.parametrize(
    "old, current",
    [
        ("--redraw", "--reinit"),
        ("--head-rate=0.1", "--head-learning-rate"),
        ("--epoch-images", "--max-images-per-epoch"),
        ("--prefix-cache", "--feature-cache"),
        ("--no-prefix-cache", "--no-feature-cache"),
    ],
)
def test_an_old_flag_is_refused_and_names_the_current_one(old, current, capsys):
    assert main(["train", "--framework", "pt", old, "block14"]) == 2
    assert f"{old.partition('=')[0]} is now called {current}." in capsys.readouterr().err


def test_other_arguments_are_not_old_flags():
    assert renamed_flag("--reinit") is None and renamed_flag("redraw") is None


@pytest.mark.parametrize(
    "statement, current",
    [
        ("import src.ledger", "src.differences"),
        ("from src import ledger", "src.differences"),
        ("from src.files import write_json", "src.common.files"),
        ("import src.prefix.plan", "src.feature_cache"),
        ("from src.reproduce.table import as_markdown", "src.results"),
        # A package of the same name is there, and the name lies deeper in it.
        ("from src.training import TrainingRun", "src.training.run"),
        ("from src.data.phantom import write_phantom", "src.data.phantom.write"),
    ],
)
def test_an_old_import_names_the_current_module(statement, current):
    with pytest.raises(ImportError, match=f"has moved to {current}"):
        exec(statement)


@pytest.mark.parametrize("old, current", MODULES.items())
def test_the_table_of_modules_is_true(old, current):
    assert importlib.util.find_spec(current), current
    with pytest.raises(ImportError, match="has moved to"):
        importlib.import_module(f"{old}.anything")


def test_a_module_that_never_was_is_missing_as_usual():
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'src\.nothing'"):
        import src.nothing  # noqa: F401
