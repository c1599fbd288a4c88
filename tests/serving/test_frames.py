"""DICOM and NIfTI files through the classifier: every frame an answer, and one for the file."""

import json
import weakref

import numpy as np
import pytest
from image_folders import picture
from made_medical import NAME, dicom, nifti
from made_weights import quick_weights
from PIL import Image

from src import load_classifier
from src.__main__ import main
from src.common.errors import InputError
from src.config import preset
from src.serving.classifier import Answer
from src.serving.medical_files import join_series, read_frames
from src.serving.rows import with_series
from src.training.checkpoint import write_model

FRAMES = np.stack([np.asarray(picture(k)).astype(np.int16) for k in range(5)])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder, config = tmp_path_factory.mktemp("run"), preset("smoke")
    write_model(folder, quick_weights(config), config, "pt")
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("series")
    dicom(folder / "many", FRAMES)  # as scanners write it: without a suffix
    dicom(folder / "one.dcm", FRAMES[:1])
    dicom(folder / "ct.dcm", FRAMES, Modality="CT")
    nifti(folder / "head.nii.gz", np.moveaxis(FRAMES, 0, 2))
    picture(7).save(folder / "plain.png")
    return folder


def test_each_frame_is_asked_about(run, files):
    classifier = load_classifier(run)
    answers = classifier.predict(files / "many")
    assert [answer.name for answer in answers] == [f"{files / 'many'}#{k}" for k in range(1, 6)]
    shown = [Image.fromarray(frame.gray) for frame in read_frames(files / "many")]
    assert [a.probabilities for a in answers] == [
        a.probabilities for a in classifier.predict(shown)
    ]
    assert classifier.predict(files / "many", frame=4) == answers[3]
    assert classifier.predict(files / "one.dcm").frame is None
    assert len(classifier.predict(files / "head.nii.gz")) == 5
    (missing,) = [classifier.predict(files / "many", frame=6)]
    assert missing.label is None and "no frame 6" in missing.why


def test_a_series_has_one_answer(run, files):
    classifier = load_classifier(run)
    answers = classifier.predict(files / "many")
    probs = np.array([[*answer.probabilities.values()] for answer in answers])
    whole = classifier.series(answers)
    assert [*whole.probabilities.values()] == pytest.approx(join_series(probs), abs=1e-9)
    assert whole.name == str(files / "many") and whole.frame is None
    broken = [classifier.predict(files / "many", frame=9)]
    assert classifier.series(broken).label is None


def write_slices(folder, *tags):
    """Write a DICOM file for each slice; their names are in the order of `FRAMES`."""
    folder.mkdir(exist_ok=True)
    for k, each in enumerate(tags):
        start = {"SeriesInstanceUID": "1.2.3", "ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}
        dicom(folder / f"{'abcde'[k]}.dcm", FRAMES[k : k + 1], **start | each)
    return folder


def at(y, number):
    """Return the tags of a coronal slice; the normal of these runs along y."""
    return {"ImagePositionPatient": [7 * y, y, 0], "InstanceNumber": number}


@pytest.mark.parametrize(
    "tags, order",
    [
        ([at(3, 1), at(-1, 2), at(2.5, 3)], "bca"),
        ([at(3, 5), at(-1, 40), at(2.5, 3) | {"ImagePositionPatient": None}], "cab"),
        ([at(3, 2), at(3, 1), at(1, 3)], "cba"),  # two echoes at one place
        ([at(1, 1), {"InstanceNumber": None}, at(0, 0)], "abc"),
    ],
)
def test_slices_in_files_of_their_own_are_one_series_in_its_order(run, tmp_path, tags, order):
    tags = [{key: value for key, value in each.items() if value is not None} for each in tags]
    folder = write_slices(tmp_path / "head", *tags)
    classifier = load_classifier(run)
    answers = classifier.predict(folder)
    assert [answer.name for answer in answers] == [f"{folder}/{k}.dcm" for k in order]
    for answer in answers:
        alone = classifier.predict(answer.name)
        assert alone.series is None and alone.probabilities == pytest.approx(
            answer.probabilities, abs=1e-6
        )
    *_, whole = with_series(classifier, answers)
    probs = np.array([[*answer.probabilities.values()] for answer in answers])
    assert [*whole.probabilities.values()] == pytest.approx(join_series(probs), abs=1e-9)
    assert whole.name == f"{folder}/{order[0]}.dcm to {order[-1]}.dcm"


def test_a_folder_of_two_series_has_two_answers_more(run, tmp_path, capsys):
    other = {"SeriesInstanceUID": "1.2.4"}
    tags = [at(5, 1), at(5, 1) | other, at(4, 2), at(4, 2) | other | {"Modality": "CT"}]
    folder = write_slices(tmp_path / "both", *tags)
    picture(7).save(folder / "plain.png")
    assert main(["predict", str(folder), "--model", str(run), "--json"]) == 3
    out, err = capsys.readouterr()
    rows = {row["name"].removeprefix(f"{folder}/"): row for row in json.loads(out)}
    first, second = ("c.dcm", "a.dcm", "c.dcm to a.dcm"), ("d.dcm", "b.dcm", "d.dcm to b.dcm")
    assert list(rows) == [*first, *second, "plain.png"]
    assert rows["d.dcm"]["label"] is None
    assert rows["d.dcm to b.dcm"]["probabilities"] == rows["b.dcm"]["probabilities"]
    assert NAME not in out + err and "1.2.3" not in out + err


def test_the_command_answers_frames_files_and_folders(run, files, tmp_path, capsys):
    paths = [str(files), "--model", str(run), "--heatmap", str(tmp_path)]
    assert main(["predict", *paths, "--json"]) == 3  # CT is refused
    out, err = capsys.readouterr()
    rows = {row["name"].removeprefix(f"{files}/"): row for row in json.loads(out)}
    slices = [f"head.nii.gz#{k}" for k in range(1, 6)]
    frames = [f"many#{k}" for k in range(1, 6)]  # it has no suffix, but DICOM's mark
    expected = ["ct.dcm", *slices, "head.nii.gz", *frames, "many", "one.dcm", "plain.png"]
    assert list(rows) == expected
    assert rows["ct.dcm"]["label"] is None and "Modality (0008,0060) is CT" in rows["ct.dcm"]["why"]
    assert all(rows[name]["label"] for name in expected[1:])
    assert (tmp_path / "head.nii.gz#2.png").is_file() and rows["many"]["heatmap"] is None
    assert NAME not in out + err + "".join(path.name for path in tmp_path.iterdir())
    assert main(["predict", *paths, "--json", "--frame", "2"]) == 3
    names = [row["name"] for row in json.loads(capsys.readouterr().out)]
    assert sum(name.endswith("#2") for name in names) == 2 and len(names) == 5


def test_a_frame_of_what_has_no_frames_is_refused(run, files, tmp_path, capsys):
    asked = [str(files / "plain.png"), "--model", str(run), "--frame", "3"]
    assert main(["predict", *asked, "--heatmap", str(tmp_path / "maps")]) == 2
    assert "Leave out --frame" in capsys.readouterr().err
    assert not (tmp_path / "maps").exists()


@pytest.mark.parametrize("series", [None, "head"])
def test_heat_maps_that_were_given_out_are_not_kept(run, series):
    made = []

    def answers():
        for number in range(9):
            heatmap = np.zeros((9, 9), np.float32)
            made.append(weakref.ref(heatmap))
            probs = dict.fromkeys(load_classifier(run).classes, 0.25)
            yield Answer(f"{number}", "glioma", probs, series=series, heatmap=heatmap)

    names = []
    for answer in with_series(load_classifier(run), answers()):
        names.append(answer.name)
        assert sum(ref() is not None for ref in made) <= 2
    assert names == [*"012345678", *(["head"] if series else [])]


@pytest.mark.parametrize("frame", ["2", 2.0])
def test_a_frame_that_is_no_whole_number_is_refused(run, files, frame):
    with pytest.raises(InputError, match="frame must be a whole number from 1"):
        load_classifier(run).predict(files / "many", frame=frame)
    assert load_classifier(run).predict(files / "many", frame=np.int64(2)).frame == 2
