"""Old names of fields: records and configs that have them are still read."""

import dataclasses
import json
from pathlib import Path

import pytest

from src.common.errors import InputError
from src.common.files import read_json
from src.common.renamed import FIELDS
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
