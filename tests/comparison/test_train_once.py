"""A finished run is taken only if it is the one asked for; what is refused changes no folder."""

import dataclasses
import os

import pytest
from fake_runs import fake_run
from image_folders import picture, truncate, write_set

from src import experiment
from src.common.errors import InputError
from src.common.files import read_json, write_json
from src.comparison import run
from src.config import preset
from src.data.dataset import Dataset, open_dataset
from src.training.checkpoint import LAST
from src.xception.weight_files import write_safetensors
from src.xception.weights import initial_weights


def read_otherwise(_):
    os.environ["BRAIN_TUMOR_MAP"] = "other=meningioma"


def change_picture(root):
    picture(77).save(root / "Training/glioma/Tr-gl_0001.png")


def change_weights(root):
    weights = initial_weights(preset("smoke", seed=1))
    write_safetensors(root.parent / "start.safetensors", weights)


def age(root):
    """Take from the record what older ones do not name."""
    file = root.parent / "run/record.json"
    record = read_json(file)
    del record["config"]["clip_norm"], record["dataset"]["parts_sha256"]
    del record["weights"]["backbone_sha256"]
    write_json(file, record)


@pytest.mark.parametrize("restored", [(), ("head_init",)])
@pytest.mark.parametrize(
    "change, asked, trained",
    [
        (None, {}, False),
        ("damage", {}, False),
        (age, {}, False),
        (None, {"seed": 1}, True),
        (None, {"framework": "tf"}, True),
        (None, {"perturbed": True}, True),
        (change_picture, {}, True),
        (change_weights, {}, True),
        (read_otherwise, {}, True),
        ("parts", {}, True),
    ],
)
def test_a_finished_run_of_something_else_is_not_taken(
    change, asked, trained, restored, tmp_path, monkeypatch
):
    root, out, file = tmp_path / "data", tmp_path / "run", tmp_path / "start.safetensors"
    monkeypatch.setenv("BRAIN_TUMOR_MAP", "other=glioma")
    write_set(root)
    (root / "Training/other").mkdir()
    picture(78).save(root / "Training/other/0.png")
    if change == "damage":  # the record does not count it
        truncate(root / "Training/glioma/Tr-gl_0000.png")
    write_safetensors(file, initial_weights(preset("smoke")))
    config = preset("smoke", init=str(file), restore_defaults=restored)
    fake_run(out, "pt")
    weights = initial_weights(config)
    if restored:  # as the framework draws it
        weights["head_logits/bias"] = weights["head_logits/bias"] + 1
    about = experiment.describe_run("pt", open_dataset(config, root), weights, False)
    write_json(out / "record.json", read_json(out / "record.json") | about)
    if change == "parts":
        monkeypatch.setattr(Dataset, "parts_fingerprint", lambda _: "of another split")
    elif callable(change):
        change(root)
    started = []
    monkeypatch.setattr(run, "run_twin", lambda *_, **__: started.append(1))
    framework, seed = asked.get("framework", "pt"), asked.get("seed", 0)
    how = {"perturbed": asked.get("perturbed", False), "quiet": True}
    run.train_once(framework, out, dataclasses.replace(config, seed=seed), root, **how)
    assert bool(started) == trained


def test_a_run_whose_score_is_gone_is_scored_again(tmp_path, monkeypatch):
    fake_run(tmp_path, "pt")
    write_json(tmp_path / "record.json", read_json(tmp_path / "record.json") | {"metrics": {}})
    started = []
    monkeypatch.setattr(run, "run_twin", lambda work, *_, **__: started.append(work))
    run.train_once("pt", tmp_path, preset("quick"), tmp_path, quiet=True)
    assert started == [run.train_and_test]


@pytest.mark.parametrize("checkpoint", [True, False])
def test_only_where_a_checkpoint_is_the_command_goes_on_from_it(checkpoint, tmp_path, monkeypatch):
    def stopped(*_, **__):
        raise InputError("It stopped.")

    monkeypatch.setattr(run, "run_twin", stopped)
    if checkpoint:
        (tmp_path / LAST).touch()
    with pytest.raises(InputError) as told:
        run.train_once("pt", tmp_path, preset("smoke"), tmp_path, quiet=True)
    assert ("goes on from its last checkpoint" in str(told.value)) == checkpoint


@pytest.mark.parametrize("model", [True, False])
def test_a_refused_comparison_leaves_the_folder_as_it_was(model, tmp_path, monkeypatch):
    def refused(*_, **__):
        raise InputError("It holds a run of another experiment.")

    monkeypatch.setattr(run, "train_once", refused)
    out, root = tmp_path / "out", write_set(tmp_path / "data")
    write_json(out / "config.json", preset("smoke").to_json())
    if model:
        write_json(out / "model.json", {})
    before = {path.name: path.read_bytes() for path in out.glob("*.json")}
    with pytest.raises(InputError, match="holds a trained model" if model else "another exp"):
        run.run_comparison(preset("smoke", seed=1), out, root)
    assert {path.name: path.read_bytes() for path in out.glob("*.json")} == before


@pytest.mark.parametrize(
    "change, named", [(change_picture, "images"), (change_weights, "starting weights")]
)
def test_what_changes_while_a_twin_trains_ends_the_comparison(change, named, tmp_path, monkeypatch):
    """Else the report would compare the frameworks on different experiments."""
    root, file = write_set(tmp_path / "data"), tmp_path / "start.safetensors"
    write_safetensors(file, initial_weights(preset("smoke")))

    def trained(framework, out, config, data, perturbed, workers):
        fake_run(out, framework)
        if framework == "pt":
            change(root)
        weights = initial_weights(config)
        about = experiment.describe_run(framework, open_dataset(config, data), weights, perturbed)
        write_json(out / "record.json", read_json(out / "record.json") | about)

    monkeypatch.setattr(run, "train_once", trained)
    with pytest.raises(InputError, match=f"While PyTorch trained, something changed: {named}"):
        run.run_comparison(preset("smoke", init=str(file)), tmp_path / "out", root)
