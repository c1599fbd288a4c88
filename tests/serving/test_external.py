"""An external test: folders of other names, refusals that count as wrong, and what was seen."""

from types import SimpleNamespace

import numpy as np
import pytest
from fake_runs import fake_record
from image_folders import truncate, write_flat
from made_weights import made_weights
from PIL import Image
from sklearn.metrics import recall_score, roc_auc_score

from src.__main__ import main
from src.common.errors import InputError
from src.common.files import read_json, write_json
from src.config import CLASS_NAMES, preset
from src.data.catalog import read_catalog
from src.data.dataset import PHANTOM_NOTE
from src.data.phantom.write import MARKER, write_phantom
from src.serving import external
from src.serving.classifier import Answer
from src.serving.external import TUMOUR, external_test, external_text
from src.training.checkpoint import write_model
from src.xception.weight_files import PRETRAINED

CARD = {"calibration": {"operating_points": {"0.95": {"threshold": 0.6}}}}


class Asked:
    """A classifier that answers by chance; to the first image of a folder it gives no answer."""

    def __init__(self):
        self.given = {}

    def stream(self, paths):
        rng = np.random.default_rng(0)
        for path in paths:
            probs = rng.dirichlet(np.ones(4))
            self.given[path] = probs
            if path.stem.endswith("0"):
                yield Answer(str(path), None, {}, not_mri=True, why="no head MRI")
            else:
                label = CLASS_NAMES[probs.argmax()]
                yield Answer(str(path), label, dict(zip(CLASS_NAMES, probs.tolist())))


@pytest.fixture
def asked(monkeypatch):
    classifier = Asked()
    monkeypatch.setattr(external, "load_classifier", lambda *_: classifier)
    config = external.read_model_card(PRETRAINED)[1]
    monkeypatch.setattr(external, "read_model_card", lambda _: (CARD, config))
    monkeypatch.setattr(external, "is_pretrained", lambda _: False)
    monkeypatch.setattr(external, "_refuse_own", lambda *_: None)
    return classifier


def known(asked, tumour):
    """Return truth and the probability of any tumour of the images with an answer."""
    kept = {path: probs for path, probs in asked.given.items() if not path.stem.endswith("0")}
    truth = np.array([path.parent.name in tumour for path in kept])
    return truth, 1 - np.array([*kept.values()])[:, CLASS_NAMES.index("notumor")]


def test_yes_and_no_mean_any_tumour_and_none(asked, tmp_path):
    told = external_test(tmp_path, write_flat(tmp_path / "set", classes=("no", "yes")))
    assert told["classes"] == ["notumor", TUMOUR]
    truth, chances = known(asked, {"yes"})
    per_class = told["scores"]["per_class"]
    assert per_class[TUMOUR]["sensitivity"]["value"] == recall_score(truth, chances > 0.5)
    assert per_class["notumor"]["sensitivity"]["value"] == recall_score(~truth, chances <= 0.5)
    assert told["scores"]["macro_auroc"]["value"] == pytest.approx(roc_auc_score(truth, chances))
    point = told["points"]["0.95"]
    assert point["sensitivity"] == recall_score(truth, chances >= 0.6)


def test_no_answer_counts_as_wrong_among_all(asked, tmp_path):
    told = external_test(tmp_path, write_flat(tmp_path / "set", classes=("no", "yes")))
    assert told["images"] == 40 and told["refused"] == 4 and told["unreadable"] == 0
    answered = told["scores"]["accuracy"]["value"]
    assert told["right"]["value"] == pytest.approx(answered * 36 / 40)


def test_the_models_classes_are_told_apart(asked, tmp_path):
    names = ("Glioma_Tumor", "no tumour", "pituitary")  # one of the four is missing
    told = external_test(tmp_path, write_flat(tmp_path / "set", classes=names))
    assert told["classes"] == list(CLASS_NAMES)
    per_class = told["scores"]["per_class"]
    assert per_class["meningioma"]["sensitivity"]["value"] is None
    assert per_class["glioma"]["sensitivity"]["value"] is not None
    assert "meningioma" not in external_text(told) and "glioma" in external_text(told)


@pytest.mark.parametrize("names", [("healthy", "meningioma"), ("Normal", "Tumour")])
def test_other_names_for_the_same(asked, tmp_path, names):
    told = external_test(tmp_path, write_flat(tmp_path / "set", classes=names))
    assert told["classes"] == ["notumor", TUMOUR]


def test_folders_that_mean_nothing_are_refused_by_name(asked, tmp_path):
    folder = write_flat(tmp_path / "set", classes=("Cyst", "no", "stroke", "yes"))
    with pytest.raises(InputError, match=r"^The folders Cyst, stroke in .* --map healthy=notumor"):
        external_test(tmp_path, folder)


def test_a_model_without_notumor_is_offered_a_class_of_its_own():
    some = SimpleNamespace(classes=("b", "c", "no"), labels=np.arange(3), root="set")
    with pytest.raises(InputError, match=r"^The folders c, no in set .* --map healthy=a"):
        external._meaning(some, ("a", "b"))


def test_scores_on_the_phantom_say_that_it_is_one(asked, tmp_path):
    folder = write_phantom(tmp_path / "set", count=40, size=32)
    told = external_test(tmp_path, folder)
    assert told["note"] == PHANTOM_NOTE and PHANTOM_NOTE in external_text(told)
    (folder / MARKER).unlink()
    told = external_test(tmp_path, folder)
    assert told["note"] == "" and "PHANTOM" not in external_text(told)


def test_images_that_the_shipped_model_has_seen_are_refused(asked, tmp_path, monkeypatch):
    folder = write_flat(tmp_path / "set", classes=("no", "yes"))
    monkeypatch.setattr(external, "is_pretrained", lambda _: True)
    seen = np.arange(40) < 3
    monkeypatch.setattr(external, "seen_images", lambda *_: seen)
    with pytest.raises(InputError, match=r"^3 of the 40 images .* --allow-seen-test"):
        external_test(PRETRAINED, folder)
    assert not asked.given
    told = external_test(PRETRAINED, folder, allow_seen=True)
    assert "*** 3 images" in external_text(told)


def test_of_many_files_without_an_answer_ten_are_named(asked, tmp_path):
    told = external_test(tmp_path, write_flat(tmp_path / "set", 110, classes=("no", "yes")))
    assert len(told["unanswered"]) == 22 and told["skipped"] == []
    text = external_text(told)
    assert text.count(": no head MRI") == 10
    assert "22 files have no answer:\n" in text and "  and 12 more" in text


def test_the_command_prints_and_writes(asked, tmp_path, capsys):
    folder = write_flat(tmp_path / "set", classes=("no", "yes"))
    truncate(folder / "no" / sorted(path.name for path in (folder / "no").iterdir())[3])
    arguments = ["--part", "all", "--data", str(folder), "--json", str(tmp_path / "told.json")]
    assert main(["evaluate", str(PRETRAINED), *arguments]) == 0
    told = read_json(tmp_path / "told.json")
    assert capsys.readouterr().out.strip() == external_text(told)


def test_the_shipped_model_answers_and_a_torn_file_stops_nothing(tmp_path):
    folder = write_flat(tmp_path / "set", count=3, classes=("no", "yes"))
    truncate(sorted((folder / "no").iterdir())[1])
    (folder / "notes").mkdir()  # no class, and no file that could not be read
    frames = [Image.new("L", (64, 64), gray) for gray in (90, 120)]
    frames[0].save(folder / "yes" / "several.tif", save_all=True, append_images=frames[1:])
    told = external_test(PRETRAINED, folder)
    assert (told["images"], told["unreadable"], told["seen"]) == (6, 1, 0)
    assert told["answered"] + told["refused"] == 5  # of several pictures, none is meant
    text = external_text(told)
    assert "1 more files could not be read" in text
    (torn,) = (path for path, _ in told["skipped"] if path != "notes")
    assert torn.startswith("no/") and f"  {torn}: cannot be decoded" in text
    why = dict(told["unanswered"])["yes/several.tif"]
    assert f"  yes/several.tif: {why}" in text and "2 pictures" in why


def test_a_runs_own_images_are_not_external(tmp_path):
    folder = write_flat(tmp_path / "set", classes=("no", "yes"))
    record = fake_record("pt", np.zeros(4, int), np.eye(4)[[0, 1, 2, 3]])
    record["dataset"]["fingerprint"] = read_catalog(folder).fingerprint
    write_model(tmp_path / "run", made_weights(), preset("smoke"), "pt")
    write_json(tmp_path / "run" / "record.json", record)
    with pytest.raises(InputError, match=r"was trained on images of .*--part test"):
        external_test(tmp_path / "run", folder)
