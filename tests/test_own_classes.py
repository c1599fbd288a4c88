"""One's own classes: the folders name them, and all from `train` to the report goes by them."""

import json
import shutil

import numpy as np
import pytest
from fake_runs import fake_run, fake_trio
from image_folders import data_command, picture, write_flat, write_set

from src import experiment
from src.common.errors import InputError
from src.common.files import read_json, write_json
from src.comparison.agreement import FIRST_STEP_TOLERANCE
from src.comparison.baselines import PROBE, measure_baselines
from src.comparison.report.report import choose_samples, make_samples, write_report
from src.comparison.run import train_once
from src.config import CLASS_NAMES, ExperimentConfig, preset
from src.data.catalog import read_catalog
from src.data.dataset import open_dataset, with_classes
from src.data.duplicates.thumbnails import catalog_thumbnails
from src.records import read_run
from src.serving.classifier import load_classifier
from src.training.checkpoint import read_model_card, write_card, write_model
from src.xception.stages import all_layers
from src.xception.weight_files import load_arrays, write_safetensors
from src.xception.weights import initial_weights

TWO = ("no", "yes")
FIVE = ("astro 2", "Ependymoma", "glioma", "healthy", "zyst")  # in any order, case and company
CONFIG = preset("smoke", split="official")


@pytest.mark.parametrize(
    "write, names, classes",
    [
        (write_flat, TWO, TWO),
        (write_set, ("yes", "No"), ("No", "yes")),
        (write_flat, reversed(FIVE), FIVE),
        (write_set, ("Pituitary", "Glioma", "meningioma"), ("glioma", "meningioma", "pituitary")),
        (write_set, (*CLASS_NAMES, "metastasis"), CLASS_NAMES),
    ],
)
def test_the_folders_name_the_classes(write, names, classes, tmp_path):
    counts = {"counts": (2,) * 5} if write is write_set else {}
    catalog = read_catalog(write(tmp_path / "set", classes=tuple(names), **counts))
    assert catalog.classes == classes
    folders = [path.split("/")[-2].lower() for path in catalog.paths]
    assert folders == [classes[label].lower() for label in catalog.labels]
    assert set(next(iter(catalog.counts().values()))) == set(classes)


def test_what_holds_no_images_is_no_class_and_is_named(tmp_path):
    root = write_flat(tmp_path / "set", 2, TWO)
    for name in ("masks", "by patient/p1", "empty"):
        (root / name).mkdir(parents=True)
    picture(1).save(root / "masks/one.png")
    picture(1).save(root / "by patient/p1/one.png")
    catalog = read_catalog(root)
    assert catalog.classes == TWO and len(catalog) == 4
    assert [path for path, _ in catalog.skipped] == ["by patient", "empty"]


def _one(root):
    shutil.rmtree(root / "Training/yes")
    shutil.rmtree(root / "Testing/yes")


def _extra(root):
    (root / "Training/maybe").mkdir()
    picture(1).save(root / "Training/maybe/one.png")


def _line_break(root):
    for part in ("Training", "Testing"):
        (root / part / "yes").rename(root / part / "y\nes")


@pytest.mark.parametrize(
    "spoil, says",
    [
        (_one, "No class folders in .*two or more"),
        (_extra, "no folder Testing/maybe/: expected .*the same such folders in both"),
        (lambda root: shutil.rmtree(root / "Testing/no"), "no folder Testing/no/"),
        (_line_break, r"cannot name a class: 'y\\nes'. Rename it"),
    ],
)
def test_folders_that_name_no_task_are_refused(spoil, says, tmp_path):
    root = write_set(tmp_path / "set", (2, 2), 1, classes=TWO)
    spoil(root)
    with pytest.raises(InputError, match=says):
        read_catalog(root)


def test_a_folder_for_each_patient_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("src.data.folders.MOST_CLASSES", 4)
    with pytest.raises(InputError, match=r"holds 5 folders of images.*at most 4"):
        read_catalog(write_flat(tmp_path / "set", 1, FIVE))


@pytest.mark.parametrize("classes", [("yes",), ("a", "A"), ("a", ""), tuple(map(str, range(101)))])
def test_a_config_refuses_what_are_no_classes(classes):
    with pytest.raises(InputError, match="Config field classes must be 2 to 100 different names"):
        ExperimentConfig(classes=classes)


def test_the_config_takes_the_folders_classes_and_says_so(tmp_path, capsys):
    dataset = open_dataset(CONFIG, write_flat(tmp_path / "set", 20, TWO))
    assert dataset.config.classes == TWO
    assert "2 classes, as the folders are named: no, yes." in capsys.readouterr().err
    assert all_layers(dataset.config)[-1].outputs == 2
    train = dataset.batches("train", training=True)
    assert train.class_count == 2 and set(train.batch(0, 0)[1]) <= {0, 1}
    for part in ("train", "val", "test"):
        assert set(dataset.batches(part).labels) == {0, 1}
    assert open_dataset(dataset.config, dataset.root).config == dataset.config


def test_three_of_the_four_are_a_task_of_three(tmp_path, capsys):
    figshare = ("glioma", "meningioma", "pituitary")
    dataset = open_dataset(CONFIG, write_flat(tmp_path / "set", 10, figshare))
    assert dataset.config.classes == figshare
    assert "pituitary (without notumor)" in capsys.readouterr().err


def test_a_config_of_other_classes_is_refused_with_both_lists(tmp_path):
    catalog = read_catalog(write_flat(tmp_path / "set", 2, TWO))
    with pytest.raises(InputError, match=r"classes maybe, no, but .* name no, yes. .*no `classes`"):
        with_classes(preset("smoke", classes=("maybe", "no")), catalog)


def test_a_model_refuses_to_score_a_folder_of_other_classes(tmp_path):
    write_model(tmp_path, {"head_logits/bias": np.zeros(4, np.float32)}, CONFIG, "tf")
    write_json(tmp_path / "record.json", {})
    root = write_flat(tmp_path / "set", 2, TWO)
    with pytest.raises(InputError, match=f"classes {', '.join(CLASS_NAMES)}, but .* name no, yes"):
        experiment.evaluate(tmp_path, root)


def test_the_card_names_the_classes_and_an_old_one_means_the_four(tmp_path):
    weights = {"head_logits/bias": np.zeros(2, np.float32)}
    write_model(tmp_path, weights, preset("smoke", classes=TWO), "pt")
    card, config = read_model_card(tmp_path)
    assert card["class_names"] == ["no", "yes"] and config.classes == TWO
    del card["config"]["classes"]
    write_card(tmp_path, card)
    with pytest.raises(InputError, match=r"card .* was changed: class_names"):
        read_model_card(tmp_path)
    write_card(tmp_path, card | {"class_names": list(CLASS_NAMES)})
    assert read_model_card(tmp_path)[1].classes == CLASS_NAMES


def test_an_old_run_means_the_four(tmp_path):
    run = fake_run(tmp_path, "tf")
    del run.record["config"]["classes"]
    (run.folder / "record.json").write_text(json.dumps(run.record))
    assert read_run(run.folder).classes == list(CLASS_NAMES)


def test_predictions_of_another_number_of_classes_are_refused(tmp_path):
    run = fake_run(tmp_path / "two", "pt", classes=TWO)
    shutil.copy(fake_run(tmp_path / "four", "pt").folder / "predictions.npz", run.folder)
    with pytest.raises(InputError, match=r"2 probabilities for each image.*Received: 4"):
        read_run(run.folder)


def test_summary_split_and_audit_go_by_the_classes(tmp_path, capsys):
    root = write_set(tmp_path / "set", (6,) * 5, 3, classes=FIVE)
    shutil.copy(root / "Training/glioma/Tr-gl_0000.png", root / "Testing/zyst/copy.png")
    for verb in (["summary"], ["split", "--kind", "official"], ["audit"]):
        data_command(*verb, "--data", root, "--json", tmp_path / f"{verb[0]}.json")
        assert "Ependymoma" in capsys.readouterr().out
    about = read_json(tmp_path / "audit.json")
    assert list(about["counts"]["Testing"]) == list(FIVE)
    assert about["same_slice"]["test_in_train"]["zyst"] == 1
    (conflict,) = about["label_conflicts_judged"]
    assert sorted(conflict["labels"]) == ["glioma", "zyst"]
    assert "notumor_auroc" not in about["shortcuts"]["official"]["border"]


def test_too_few_images_for_five_folds_get_a_sentence(tmp_path):
    root = write_flat(tmp_path / "set", 6, TWO)
    with pytest.raises(InputError, match="Too few images to cut them into 10 parts"):
        data_command("split", "--data", root, "--fold", 0)


def test_baselines_go_by_the_classes(tmp_path):
    dataset = open_dataset(CONFIG, write_flat(tmp_path / "set", 20, TWO))
    _, thumbnails = catalog_thumbnails(dataset.catalog)
    telling = np.eye(2, 3, dtype=np.float32)[dataset.catalog.labels]
    telling += np.random.default_rng(0).normal(0, 0.1, telling.shape).astype(np.float32)
    scores, rows, _ = measure_baselines(dataset, thumbnails, telling, dataset.config)
    assert list(scores["pooled"][PROBE]["per_class"]) == list(TWO)
    assert all(row[PROBE] == row["label"] in TWO for row in rows)


def test_the_report_shows_the_classes(tmp_path):
    runs = fake_trio(tmp_path, classes=FIVE)
    predictions = [run.predictions for run in runs[:2]]
    rows = choose_samples(*predictions)
    samples = make_samples(*predictions, rows, np.zeros((len(rows), 8, 8), np.uint8), FIVE)
    assert {sample["truth"] for sample in samples} == set(FIVE)
    html = write_report(tmp_path / "out", *runs, samples=samples).read_text()
    assert all(f'<th scope="row">{name}</th>' in html for name in FIVE)
    assert "notumor" not in html
    with np.load(tmp_path / "out/predictions_tf.npz") as arrays:
        assert tuple(arrays["classes"]) == FIVE


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """A complete weights file, so that the head alone trains, on outputs computed once."""
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    write_safetensors(path, initial_weights(preset("smoke")))
    return str(path)


def learn(framework, root, folder, backbone):
    """Train the head for an epoch, test it, and return the run, of which each file is checked."""
    head = dict(init=backbone, head_epochs=1, finetune_epochs=0, feature_cache=True)
    out, config = folder / framework, preset("smoke", split="official", **head)
    experiment.train(framework, config, out, root)
    experiment.evaluate(out, root)
    train_once(framework, out, config, root)  # finished: no process is started
    run, classes = read_run(out), read_catalog(root).classes
    assert run.classes == read_json(out / "model.json")["class_names"] == list(classes)
    kernel = load_arrays(out / "model.safetensors")["head_logits/kernel"]
    assert kernel.shape == (2048, len(classes))
    for part in ("test", "test_groups"):
        assert tuple(run.record["metrics"][part]["per_class"]) == classes
    with np.load(out / "predictions.npz") as arrays:
        assert tuple(arrays["classes"]) == classes
        assert arrays["probs"].shape == (len(arrays["paths"]), len(classes))
    return run


def answer(run, framework):
    """Return what a framework answers for one image with the model of a run."""
    image = picture(3)
    image.save(run.folder / "scan.png")
    said = load_classifier(run.folder, framework).predict(run.folder / "scan.png")
    assert sum(said.probabilities.values()) == pytest.approx(1, abs=1e-6)
    return said


@pytest.mark.slow
def test_both_twins_learn_yes_and_no(backbone, tmp_path):
    root = write_set(tmp_path / "set", (6, 3), 2, classes=TWO)
    runs = [learn(framework, root, tmp_path, backbone) for framework in ("tf", "pt")]
    report = write_report(tmp_path / "out", *runs)
    assert '<th scope="row">yes</th>' in report.read_text()
    agreement = read_json(tmp_path / "out/comparison.json")["agreement"]
    assert agreement["first_step_gap"] < FIRST_STEP_TOLERANCE["float32"]
    assert list(answer(runs[0], "pt").probabilities) == list(TWO)


@pytest.mark.slow
def test_one_twin_learns_five_classes_and_the_other_answers(backbone, tmp_path):
    root = write_set(tmp_path / "set", (3,) * 5, 1, classes=FIVE)
    said = answer(learn("pt", root, tmp_path, backbone), "tf")
    assert list(said.probabilities) == list(FIVE)
    assert said.label == max(said.probabilities, key=said.probabilities.get)
