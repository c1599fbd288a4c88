"""The shipped classifier: made from a finished run, and used where no model is given."""

import dataclasses
import re
import shutil
import socket
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from fake_runs import fake_record
from image_folders import picture
from made_weights import made_weights
from shipped_split import phantom_split_ships

from src import experiment
from src.__main__ import main
from src.common.errors import InputError
from src.common.files import read_json, write_json
from src.config import PRESETS, ExperimentConfig, preset
from src.data.dataset import open_dataset
from src.evaluation.calibration import calibration_error
from src.evaluation.temperature import tempered
from src.experiment import starting_weights
from src.pretrained import publish as publishing
from src.pretrained.foreign import KINDS, foreign
from src.pretrained.publish import model_page, publish
from src.records import read_run
from src.serving.classifier import load_classifier
from src.training.checkpoint import read_model, write_model
from src.xception import weight_files
from src.xception.weight_files import load_arrays
from src.xception.weights import initial_weights

ROOT = Path(__file__).parents[2]
CONFIG = preset("smoke", precision="bfloat16")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return the phantom set's folder, of which a split ships in these tests."""
    with phantom_split_ships(tmp_path_factory.mktemp("split")) as dataset:
        yield dataset.root


def save(folder: Path, data: Path, weights=None, **changes) -> Path:
    """Leave a finished run as training would, but for how its weights were made."""
    config = dataclasses.replace(CONFIG, **changes)
    dataset = open_dataset(config, data)
    labels = np.arange(8) % 4
    record = fake_record("pt", labels, np.full((8, 4), 0.25, np.float32))
    record |= {"config": config.to_json(), "dataset": dataset.describe()}
    write_model(folder, weights or {}, config, "pt")
    write_json(folder / "record.json", record)
    return folder


@pytest.fixture(scope="module")
def shipped(data, tmp_path_factory):
    """Return the folder of a classifier that was made by `publish`."""
    folder = tmp_path_factory.mktemp("room") / "pretrained"
    folder.mkdir()
    shutil.copy(ROOT / "src/pretrained/README.md", folder)
    init = str(folder.parent / "run" / "start.safetensors")
    run = save(folder.parent / "run", data, made_weights(), init=init)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publishing, "FOREIGN", 5)
        publish(run, data, folder)
    return folder


@pytest.mark.slow
def test_what_ships_is_half_the_run_and_is_tested_itself(shipped, data):
    arrays = load_arrays(shipped / "model.safetensors")
    assert {array.dtype for array in arrays.values()} == {np.dtype("float16")}
    assert (shipped / "model.safetensors").stat().st_size < 45e6
    weights, config = read_model(shipped)
    for name, array in made_weights().items():
        np.testing.assert_array_equal(weights[name], array.astype(np.float16).astype(np.float32))
    # Read by every framework alike, and no path of this machine.
    assert (config.precision, config.init) == ("float32", "start.safetensors")
    record = read_json(shipped / "record.json")
    assert record["config"]["precision"] == "bfloat16"
    assert str(shipped.parent) not in "".join(p.read_text() for p in shipped.glob("*.[jm]*"))
    assert record["metrics"]["test"]["count"] == len(open_dataset(config, data).parts["test"])


@pytest.mark.slow
def test_the_page_is_what_the_record_says(shipped, data):
    page = (shipped / "README.md").read_text()
    assert model_page(shipped) in page
    (accuracy,) = re.findall(r"\| accuracy, image \| (\d+) \| ([\d.]+)% \(", page)
    metrics = read_json(shipped / "record.json")["metrics"]["test"]
    assert accuracy == (str(metrics["count"]), f"{100 * metrics['accuracy']:.1f}")
    run, card = read_run(shipped), read_json(shipped / "model.json")["calibration"]
    labels, raw = run.predictions.labels, run.predictions.probs
    probs = tempered(raw, card["temperature"])
    sure = probs.max(axis=1) >= card["sure_from"]
    point = card["operating_points"]["0.99"]["threshold"]
    expected = {
        "calibration error of the softmax": calibration_error(labels, raw),
        "after division by the temperature": calibration_error(labels, probs),
        "sure (a class has": sure.mean(),
        "wrong among the sure answers": (probs.argmax(axis=1) != labels)[sure].mean(),
        f"any tumour from {point:.3f} on: sensitivity": (1 - probs[:, 2] >= point)[
            labels != 2
        ].mean(),
    }
    for kind, name in {"test": "test images"}.items() | KINDS.items():
        rate = run.record["refused"][kind]
        expected[f"refused as not a head MRI: {rate['count']} {name}"] = rate["value"]
    for name, value in expected.items():
        assert re.search(rf"^\| {re.escape(name)}.* \| {100 * value:.1f}% ?", page, re.M), name
    dataset = open_dataset(read_model(shipped)[1], data)
    answers = load_classifier(shipped).predict(dataset.test_pixels[dataset.parts["test"]])
    refused = np.mean([answer.not_mri for answer in answers])
    assert run.record["refused"]["test"]["value"] == pytest.approx(refused)
    answers = load_classifier(shipped).predict(list(foreign("photograph", 5)))
    refused = np.mean([answer.not_mri for answer in answers])
    assert run.record["refused"]["photograph"]["value"] == pytest.approx(refused)


def test_preset_trial_and_shipped_model_are_one_recipe():
    trial = read_json(ROOT / "notebooks/results/recipes.json")["trials"]["side-224"]["recipe"]
    both = trial | {"flip_average": True}
    assert PRESETS["tuned"].items() <= both.items()
    shipped = read_json(weight_files.PRETRAINED / "record.json")["config"]
    assert {name for name, value in both.items() if shipped[name] != value} == {"fold"}


def test_the_committed_pages_are_what_the_committed_record_says():
    page, readme = ((ROOT / name).read_text() for name in ("src/pretrained/README.md", "README.md"))
    assert model_page() in page
    page = page.replace("\N{NO-BREAK SPACE}", " ")
    (count, accuracy), *_ = re.findall(r"\| accuracy, image \| ([\d,]+) \| ([^|]+) \|", page)
    value, interval = re.fullmatch(r"(.+?%) \((.+)\)", accuracy.strip()).groups()
    assert f"**{value}** ({interval}) of {count} test images" in readme
    words = " ".join(readme.split())
    refusals = ("632 test", "83 CT files", "40 photographs")
    rows = ("sure", "wrong among")
    rows += tuple(f"refused as not a head MRI: {what}" for what in refusals)
    (sure, over_folds), wrong, *refused = (
        re.search(rf"\| {row}[^|]*\| ([^|]*) \| ([^|]*) \|", page).groups() for row in rows
    )
    ours, ct, photographs = (rate.split()[0] for rate, _ in refused)
    assert photographs == "100.0%"
    assert (
        f"{ct} of 83 CT files (23 slices), every photograph tried, and, wrongly, {ours} of the test"
        in words
    )
    assert (
        f"It is sure of {sure.split()[0]} of the test images, and wrong in {wrong[0]} of these; "
        f"over the folds, of {over_folds.split()[0]} and in {wrong[1]}." in words
    )
    test = read_run(weight_files.PRETRAINED).predictions
    wrong = test.groups[test.probs.argmax(axis=1) != test.labels]
    worst = sorted(Counter(wrong).values())[-2:]
    groups = len(np.unique(test.groups))
    assert (
        f"of the {groups} groups of test images hold {sum(worst)} of the {len(wrong)} mistakes"
        in words
    )


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"split": "official"}, "different: split, rule"),
        ({"fold": 0}, "different: fold, parts"),
        ({"restore_defaults": ("bn_epsilon",)}, "different answers"),
        ({"init": "pretrained"}, "itself started from the shipped model"),
    ],
)
def test_a_run_of_another_kind_does_not_ship(changes, sentence, data, tmp_path):
    run = save(tmp_path / "run", data, **changes)
    with pytest.raises(InputError, match=sentence):
        publish(run, data, tmp_path)
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.slow
def test_what_is_too_large_does_not_ship(shipped, data, tmp_path, monkeypatch):
    monkeypatch.setattr(publishing, "LARGEST", 41_000_000)
    with pytest.raises(InputError, match=r"take 41.8 MB as float16; at most 41 MB"):
        publish(shipped.parent / "run", data, tmp_path)
    assert not (tmp_path / "model.safetensors").exists()


def test_the_committed_model_refuses_what_is_no_head_mri():
    for kind in KINDS:
        answers = load_classifier().predict(list(foreign(kind, 20)))
        assert np.mean([answer.not_mri for answer in answers]) >= 0.95, kind


def test_git_takes_the_shipped_files_and_no_other_weights(tmp_path):
    shutil.copy(ROOT / ".gitignore", tmp_path)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    names = [f"src/pretrained/{name}" for name in publishing.FILES]
    others = ["a.safetensors", "runs/src/pretrained/x.safetensors"]
    command = ["git", "-C", tmp_path, "check-ignore", *names, *others]
    ignored = subprocess.run(command, capture_output=True, text=True).stdout.split()
    assert ignored == others


def network_is_down(*_, **__):
    raise OSError("no network")


@pytest.mark.slow
def test_it_is_scored_again_on_images_that_it_has_not_seen(shipped, data, monkeypatch):
    monkeypatch.setattr(weight_files, "PRETRAINED", shipped)
    before = {path: path.stat().st_mtime_ns for path in shipped.iterdir()}
    record = experiment.evaluate(shipped, data)
    assert record["metrics"] == read_json(shipped / "record.json")["metrics"]
    assert record["dataset"]["seen_test_images"] == 0
    assert {path: path.stat().st_mtime_ns for path in shipped.iterdir()} == before
    with pytest.raises(InputError, match="test part alone"):
        experiment.evaluate(shipped, data, "train")


@pytest.mark.slow
def test_a_run_starts_from_it_with_the_head_for_the_same_classes(shipped, monkeypatch):
    monkeypatch.setattr(weight_files, "PRETRAINED", shipped)
    ships, _ = read_model(shipped)
    config = dataclasses.replace(CONFIG, init="pretrained", reinit=("block14",))
    start = starting_weights(None, dataclasses.replace(config, restore_defaults=("head_init",)))
    random = {name for name, array in start.items() if not np.array_equal(array, ships[name])}
    assert {name.partition("_")[0] for name in random} == {"block14"}
    other = initial_weights(dataclasses.replace(config, reinit=(), classes=("no", "yes")))
    random = {n for n, a in other.items() if a.shape != ships[n].shape or (a != ships[n]).any()}
    assert random == {"head_logits/kernel", "head_logits/bias"}
    path = str(shipped / "model.safetensors")
    with pytest.raises(InputError, match="Give --init pretrained"):
        initial_weights(dataclasses.replace(config, init=path))


def test_starting_from_a_shipped_model_that_is_missing_gets_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(weight_files, "PRETRAINED", tmp_path)
    with pytest.raises(InputError, match=r"is missing.*git checkout.*--init imagenet"):
        initial_weights(dataclasses.replace(CONFIG, init="pretrained"))


@pytest.mark.slow
def test_predict_needs_no_model_no_network_and_no_dataset(
    shipped, data, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(weight_files, "PRETRAINED", shipped)
    monkeypatch.setattr(socket, "socket", network_is_down)
    monkeypatch.setattr(experiment, "open_dataset", network_is_down)
    monkeypatch.setenv("BRAIN_TUMOR_DATA", str(tmp_path / "nowhere"))
    scans = sorted(data.glob("Training/*/*"))[::40][:3]  # like those it was made with: none refused
    answers = load_classifier().predict(scans)
    assert len({answer.probabilities["glioma"] for answer in answers}) == 3
    others = load_classifier(backend="tf").predict(scans)
    probs = [[[*each.probabilities.values()] for each in some] for some in (answers, others)]
    np.testing.assert_allclose(*probs, atol=1e-5)
    assert main(["predict", str(scans[0])]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[1].startswith(str(scans[0]))
    assert "Not a medical device" in printed.err


def test_without_a_shipped_model_one_sentence_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(weight_files, "PRETRAINED", tmp_path)
    picture(1).save(tmp_path / "scan.png")
    assert main(["predict", str(tmp_path / "scan.png")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "python -m src train" in said and "--model RUN" in said


def test_the_default_config_is_of_the_cut_that_ships():
    assert (ExperimentConfig().split, ExperimentConfig().fold) == ("clean", -1)
