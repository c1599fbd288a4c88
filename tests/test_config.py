"""The config refuses nonsense by name, and survives the trip through JSON."""

import dataclasses
import json

import pytest

from src.common.errors import InputError
from src.config import PRESETS, ExperimentConfig, preset


@pytest.mark.parametrize("name", PRESETS)
def test_through_json_and_back(name):
    config = preset(name, reinit=["block14"])
    assert ExperimentConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize(
    "field, value",
    [
        ("image_size", 70),
        ("image_size", 96.5),
        ("image_size", True),
        ("batch_size", 0),
        ("test_size", 70),
        ("test_size", 1025),
        ("augment_strength", -0.1),
        ("augment_strength", 5.1),
        ("augment_gamma", -0.1),
        ("cutout", 1.0),
        ("dropout", 1.0),
        ("dropout", float("nan")),
        ("head_learning_rate", 0.0),
        ("finetune_learning_rate", -1e-3),
        ("optimizer", "adagrad"),
        ("schedule", "step"),
        ("split", "random"),
        ("precision", "float8"),
        ("unfreeze_from", "block15"),
        ("reinit", ["block0"]),
        ("reinit", "block14"),
        ("restore_defaults", ["everything"]),
        ("init", ""),
        ("seed", -1),
        ("val_fraction", 0.5),
        ("beta_2", 1.0),
        ("plateau_factor", 1.0),
        ("layer_decay", 0.0),
        ("layer_decay", 1.1),
        ("ema_decay", 1.0),
        ("warmup_epochs", -1.0),
        ("warmup_epochs", 2.0),  # all of `quick`
    ],
)
def test_nonsense_is_refused_by_name(field, value):
    with pytest.raises(InputError, match=f"Config field {field} must be .*Received: "):
        preset("quick", **{field: value})


def test_unknown_fields_and_presets_are_refused():
    with pytest.raises(InputError, match="Unknown config fields: colour"):
        preset("quick", colour="red")
    with pytest.raises(InputError, match="Unknown preset 'tiny'"):
        preset("tiny")


def test_no_epoch_at_all_is_refused():
    with pytest.raises(InputError, match="head_epochs"):
        preset("quick", head_epochs=0, finetune_epochs=0, warmup_epochs=0.0)


def test_the_official_split_has_no_folds():
    """It has one test part, Testing: a record must not name a fold that was never cut."""
    for fold in (0, 5):
        with pytest.raises(InputError, match=rf"fold must be -1 .*official.*Received: {fold}\."):
            preset("quick", split="official", fold=fold)
    assert preset("quick", split="official").fold == -1


def test_replace_validates_too():
    with pytest.raises(InputError, match="dropout"):
        dataclasses.replace(preset("quick"), dropout=2)


def test_every_field_says_why():
    assert all(spec.metadata["why"] for spec in dataclasses.fields(ExperimentConfig))
