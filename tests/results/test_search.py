"""The search: what it declares, what it skips and records, and how it scores a trained network."""

from dataclasses import replace

import numpy as np
import pytest
from fake_runs import fake_run

from notebooks.results import search
from notebooks.results.search import TRIALS, Trial, list_trials, main, run_trials
from src.common.files import read_json
from src.comparison.run import train_and_test
from src.config import preset
from src.data.dataset import open_dataset
from src.data.splits.folds import SELECTION_FOLD
from src.records import read_run
from src.xception.weight_files import digest, load_arrays
from src.xception.weights import initial_weights

SCORES = {
    "150": {"plain": {"accuracy": {"value": 0.875}}, "flip_average": {"accuracy": {"value": 0.9}}}
}


def test_the_trials_are_whole_experiments_on_the_selection_part(tmp_path):
    assert len(TRIALS) >= 12 and len({trial.name for trial in TRIALS}) == len(TRIALS)
    for number, trial in enumerate(TRIALS):
        config = trial.config(tmp_path / "weights", tmp_path)
        assert config.fold == SELECTION_FOLD and config.patience == 0 and trial.question
        assert config.schedule == "cosine"  # so that a finished run keeps its model alone
        assert trial.fields or trial.name.startswith("base")
        assert not trial.start or trial.start in [each.name for each in TRIALS[:number]]
        assert ("block14" in config.reinit) == (config.init == str(tmp_path / "weights"))


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Let runs be made up at once, with recipes.json in the test's folder; list what is trained."""
    names = []

    def train_once(framework, folder, config, data):
        assert framework == "pt" and data == tmp_path / "data"
        fake_run(folder, "pt", **{"split": config.split} | {"image_size": config.image_size})
        (folder / "model.safetensors").touch()
        names.append(folder.name)

    monkeypatch.setattr(search, "RECIPES", tmp_path / "recipes.json")
    monkeypatch.setattr(search, "train_once", train_once)
    monkeypatch.setattr(search, "score_selection", lambda folder, data: SCORES)
    return names


def run(folder, *options):
    main([*(str(folder / name) for name in ("data", "weights", "out")), *options])


def test_what_is_recorded_is_not_trained_again(tmp_path, trained, monkeypatch):
    run(tmp_path, "--only", "side-224", "base")
    assert trained == ["base", "side-224"]  # as declared
    run(tmp_path, "--only", "cutout", "base")
    assert trained[2:] == ["cutout"]
    trials = read_json(tmp_path / "recipes.json")["trials"]
    assert list(trials) == ["base", "side-224", "cutout"]
    assert trials["side-224"]["fields"] == {"image_size": 224}
    assert len(trials["base"]["history"]["val_accuracy"]) == 3
    assert trials["base"]["scores"] == SCORES
    assert (tmp_path / "out/base/model.safetensors").is_file()  # another trial may begin with it
    # Another command wrote the file meanwhile, without knowing of cutout.
    lost = {"trials": {name: trials[name] for name in ("base", "side-224")}}
    search.write_json(tmp_path / "recipes.json", lost)
    run(tmp_path, "--only", "base")
    assert list(read_json(tmp_path / "recipes.json")["trials"]) == list(trials)
    # On another machine, with nothing but the record.
    assert list(search.recorded(tmp_path / "elsewhere")) == list(trials)
    monkeypatch.setitem(search.BASE, "dropout", 0.5)
    run(tmp_path, "--only", "cutout")
    assert trained[3:] == ["cutout"]
    assert list(read_json(tmp_path / "recipes.json")["trials"]) == ["cutout"]


def test_the_list_shows_scores_and_minutes(tmp_path, trained, capsys):
    assert "not timed yet" in list_trials(tmp_path / "out")
    run(tmp_path, "--only", "base")
    run(tmp_path, "--list")
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "done: 87.5%" in lines["base"]
    minutes = 287.5 / 60 * (224 / 150) ** 2
    assert f"about {minutes:.0f} min" in lines["side-224"]


@pytest.mark.slow
def test_a_network_is_scored_as_training_for_another_test_side_would_leave_it(
    tmp_path, monkeypatch
):
    """A trial trained and scored for real, in small: so few images, so few pixels."""
    seen = []

    def small(*given):
        return open_dataset(*given).with_counts({"train": 16, "val": 8, "test": 24})

    def train_once(framework, folder, config, data):
        train_and_test(framework, config, data, None, folder=folder, perturbed=False, workers=0)

    def intervals(_labels, probs, _groups, **_):
        seen.append(probs)
        return {"accuracy": {"value": 0.5}, "per_class": {}}

    smoke = preset("smoke", fold=0, head_epochs=0, max_images_per_epoch=16).to_json()
    monkeypatch.setattr(search, "BASE", smoke)
    monkeypatch.setattr(search, "missing_arithmetic", lambda *_: "bfloat16")
    monkeypatch.setattr(search, "TEST_SIDES", (64, 96, 120))  # too small, right, too large
    monkeypatch.setattr(search, "RECIPES", tmp_path / "recipes.json")
    monkeypatch.setattr(search, "train_once", train_once)
    monkeypatch.setattr(search, "group_intervals", intervals)
    monkeypatch.setattr(search, "open_dataset", small)
    monkeypatch.setattr("src.experiment.open_dataset", small)
    low, high = TRIALS[0], Trial("high", "?", start="base")
    run_trials([low], None, "scratch", tmp_path)
    recorded = read_json(tmp_path / "recipes.json")["trials"]["base"]
    assert list(recorded["scores"]) == ["71", "96"] and len(recorded["history"]["loss"]) == 1
    plain, _, plain_at_96, averaged_at_96 = seen
    np.testing.assert_array_equal(plain, read_run(tmp_path / "base").predictions.probs)
    larger = replace(low.config("scratch", tmp_path), test_size=96, flip_average=True)
    train_once("pt", tmp_path / "larger", larger, None)
    expected = read_run(tmp_path / "larger").predictions.probs
    np.testing.assert_allclose(averaged_at_96, expected, atol=1e-6)
    assert np.abs(plain_at_96 - expected).max() > 1e-4
    model = load_arrays(tmp_path / "base/model.safetensors")
    begins_with = initial_weights(high.config("scratch", tmp_path))
    assert digest(begins_with) == digest(model)  # its head, too
