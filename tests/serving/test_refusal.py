"""Calibrated, unsure, or no head MRI at all: what is learned from validation, and what it does."""

import dataclasses
import json

import numpy as np
import pytest
from made_weights import quick_weights
from PIL import Image

from src import load_classifier
from src.__main__ import main
from src.common.errors import InputError
from src.common.files import read_json
from src.config import preset
from src.data.dataset import open_dataset
from src.evaluation.calibration import COVERAGE
from src.evaluation.temperature import tempered
from src.pretrained import calibrate as calibrating
from src.pretrained.calibrate import calibrate
from src.pretrained.foreign import foreign
from src.serving.backends import cpu_session
from src.serving.calibration import gray_levels, novelty
from src.training.checkpoint import write_card, write_model


@pytest.fixture(scope="module")
def dataset():
    return open_dataset(preset("smoke"))


@pytest.fixture(scope="module")
def run(tmp_path_factory, dataset):
    """Return a folder with a model, never trained, that was calibrated on the phantom set."""
    folder = tmp_path_factory.mktemp("run")
    write_model(folder, quick_weights(dataset.config), dataset.config, "pt")
    plain = load_classifier(folder)
    calibrate(folder)
    return folder, plain, load_classifier(folder)


def pictures(dataset, part="val"):
    return [dataset.test_pixels[row] for row in dataset.parts[part]]


def test_what_is_unlike_the_components_is_novel():
    rng = np.random.default_rng(0)
    components = np.linalg.qr(rng.normal(size=(2048, 3)))[0].T
    inside = 5 + rng.normal(size=(20, 3)) @ components
    assert novelty(inside, np.full(2048, 5.0), components).max() < 1e-12
    outside = np.zeros((1, 2048)) + 5
    outside[0, 0] += 100
    (found,) = novelty(outside, np.full(2048, 5.0), components)
    explained = (components[:, 0] ** 2).sum()
    assert found == pytest.approx(100**2 * (1 - explained) / (outside**2).sum())


def test_gray_levels_by_hand():
    image = np.full((72, 72), 100, np.uint8)
    image[:9, :9] = image[-9:, -9:] = image[:9, -9:] = image[-9:, :9] = 7
    corner, border, contrast = gray_levels(image)
    assert (corner, border) == (7, 100) and contrast == pytest.approx(image.std())


def test_a_calibrated_model_says_how_sure_it_is(run, dataset):
    folder, plain, calibrated = run
    about = read_json(folder / "model.json")["calibration"]
    images = pictures(dataset)
    raw, answers = plain.predict(images), calibrated.predict(images)
    judged = [(a, b) for a, b in zip(raw, answers) if not b.not_mri]
    assert len(judged) > 0.8 * len(images)  # they taught what is known, held out group by group
    for before, after in judged:
        probs = np.array([[*before.probabilities.values()]])
        expected = tempered(probs, about["temperature"])[0]
        assert [*after.probabilities.values()] == pytest.approx(expected, abs=1e-9)
        assert after.label == before.label
        assert after.unsure == (expected.max() < about["sure_from"]) == bool(after.why)
    assert sum(answer.unsure for _, answer in judged) <= (1 - COVERAGE) * len(images) + 1
    assert not any(answer.unsure or answer.not_mri for answer in raw)


@pytest.mark.parametrize("kind", ["text", "noise"])
def test_no_answer_is_given_to_what_is_no_mri(run, kind):
    answers = run[2].predict([p for p in foreign(kind, 12) if np.asarray(p).mean() > 60])
    assert answers and all(answer.not_mri for answer in answers)
    for answer in answers:
        assert (answer.label, answer.probabilities, answer.heatmap) == (None, {}, None)
        assert "no head MRI" in answer.why
    (even,) = run[2].predict([np.full((90, 90), 3, np.uint8)])
    assert even.not_mri and "almost even" in even.why


def test_features_of_another_kind_are_refused(run, dataset, monkeypatch):
    """The gate on gray levels lets this one through."""
    _, plain, calibrated = run
    image = pictures(dataset)[0]
    strict = dataclasses.replace(calibrated._calibration, novelty_limit=0.0)
    monkeypatch.setattr(calibrated, "_calibration", strict)
    answer = calibrated.predict(image, heatmap=True)
    assert answer.not_mri and "unlike the head MRI" in answer.why and answer.heatmap is None
    assert plain.predict(image).label


def test_the_command_withholds_and_exits_with_3(run, dataset, tmp_path, capsys):
    for name, image in (("page", next(foreign("noise"))), ("head", pictures(dataset)[0])):
        image = image if isinstance(image, Image.Image) else Image.fromarray(image)
        image.save(tmp_path / f"{name}.png")
    assert main(["predict", str(tmp_path), "--model", str(run[0]), "--csv"]) == 3
    out, err = capsys.readouterr()
    head, page = (line.split(",") for line in out.splitlines()[1:])
    assert page[1:6] == [""] * 5 and "True" in page and head[1]
    assert "no answer" in err and "no head MRI" in err


def test_an_exported_graph_answers_and_scores_as_calibrated(run, dataset, tmp_path):
    folder, _, calibrated = run
    assert (
        main(["export", "--to", "onnx", "--model", str(folder), "--out", f"{tmp_path}/m.onnx"]) == 0
    )
    session = cpu_session(str(tmp_path / "m.onnx"))
    images = np.stack(pictures(dataset)[:8])
    names = ["probabilities", "features", "novelty"]
    probs, features, score = session.run(names, {"images": images})
    raw = calibrated._backend.run(images).probabilities
    knows = calibrated._calibration
    np.testing.assert_allclose(probs, knows.tempered(raw), atol=1e-5)
    assert np.abs(raw - probs).max() > 1e-3  # else the temperature would prove nothing
    np.testing.assert_allclose(score, knows.novelty(features), rtol=1e-4)  # a float32 difference
    limits = json.loads(session.get_modelmeta().custom_metadata_map["calibration"])
    assert limits["novelty_limit"] == knows.novelty_limit


def test_a_changed_calibration_is_refused(run, tmp_path):
    folder, *_ = run
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    file = tmp_path / "calibration.safetensors"
    file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(InputError, match=r"was changed.*Copy the model's folder again"):
        load_classifier(tmp_path)
    file.unlink()
    with pytest.raises(InputError, match="is not what the model's card says"):
        load_classifier(tmp_path)
    card = read_json(folder / "model.json")
    (tmp_path / file.name).write_bytes((folder / file.name).read_bytes())
    del card["calibration"]["sure_from"]
    write_card(tmp_path, card)
    with pytest.raises(InputError, match="sure_from"):
        load_classifier(tmp_path)


def test_too_few_validation_images_are_refused(run, dataset, monkeypatch):
    few = dataset.with_parts({"val": dataset.parts["val"][:9]})
    monkeypatch.setattr(calibrating, "open_dataset", lambda *_: few)
    with pytest.raises(InputError, match=r"9 validation images of .* too few"):
        calibrate(run[0])


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["tf", "pt"])
def test_the_twins_judge_alike(run, dataset, framework):
    folder, _, calibrated = run
    images = [*pictures(dataset)[:6], *foreign("ct", 2)]
    ours, theirs = calibrated.predict(images), load_classifier(folder, framework).predict(images)
    assert [a.not_mri for a in ours] == [a.not_mri for a in theirs]
    for a, b in zip(ours, theirs):
        assert b.probabilities == pytest.approx(a.probabilities, abs=1e-5)
        assert (a.label, a.unsure) == (b.label, b.unsure)
