"""What the page's handlers say of each kind of file; no browser."""

import base64
import csv
import importlib.metadata
import io
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from image_folders import claim_size, picture, truncate, write_flat
from made_medical import NAME, dicom, nifti
from made_weights import quick_weights
from PIL import Image

from src import load_classifier
from src.__main__ import main
from src.common.errors import InputError
from src.config import CLASS_NAMES, preset
from src.evaluation.localisation import STRONGEST
from src.serving import page as page_module
from src.serving.calibration import Calibration
from src.serving.examples import make_examples
from src.serving.overlay import draw_overlay, heat_layer
from src.serving.page import Handlers
from src.training.checkpoint import write_model

FRAMES = np.stack([np.asarray(picture(k)).astype(np.int16) for k in range(5)])
ANY = {"temperature": 1.0, "corner_limit": 256.0, "border_limit": 256.0, "contrast_limit": 0.0}
ANY |= {"sure_from": 0.0, "novelty_limit": 9.0, "operating_points": {}}  # refuses nothing


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder, config = tmp_path_factory.mktemp("run"), preset("smoke")
    write_model(folder, quick_weights(config), config, "pt")
    return folder


@pytest.fixture
def handlers(run):
    return Handlers({"onnx": load_classifier(run)})


@pytest.fixture
def calibrated(handlers, monkeypatch):
    """Return a function that calibrates the classifier with these limits."""

    def calibrate(**limits):
        made = Calibration(mean=np.zeros(2048), components=np.eye(1, 2048), **ANY | limits)
        monkeypatch.setattr(handlers.first, "_calibration", made)
        monkeypatch.setattr(handlers.first, "calibrated", True)

    return calibrate


def save(path, image=None):
    (image or picture(1)).save(path)
    return str(path)


def test_a_good_image_gets_label_bars_and_heat_map(handlers, tmp_path):
    path = save(tmp_path / "scan.png")
    answer = handlers.first.predict(path)
    html = handlers.show(path)
    assert f"<h2>{answer.label} <small>" in html and "scan.png" in html
    assert str(tmp_path) not in html and "not calibrated" in html
    for name, prob in answer.probabilities.items():
        assert f'<th>{name}</th><td class="bar"><div style="width: {prob:.1%}">' in html
    image, heat = (
        Image.open(io.BytesIO(base64.b64decode(data)))
        for data in re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    )
    with_map = handlers.first.predict(path, heatmap=True)
    np.testing.assert_array_equal(np.asarray(image), with_map.pixels)
    assert heat.mode == "RGBA" and heat.size == image.size
    assert handlers.open_file(path) == ("", 1, 1) and handlers.show(None) == ""


def test_the_layer_on_the_image_is_the_overlay_of_the_command():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (512, 512), np.uint8)  # of the size at which it is not enlarged
    heatmap = rng.random((512, 512), np.float32)
    layer = np.asarray(heat_layer(heatmap)).astype(float)
    opacity = STRONGEST * layer[..., 3:] / 255
    mixed = opacity * layer[..., :3] + (1 - opacity) * pixels[..., None]
    # Colour and opacity were each rounded to 8 bits.
    assert np.abs(mixed - np.asarray(draw_overlay(pixels, heatmap))).max() < 2


def test_unsure_and_no_mri_are_said_and_withheld(handlers, calibrated, tmp_path):
    path = save(tmp_path / "scan.png")
    calibrated()
    html = handlers.show(path)
    assert 'class="answer sure"' in html and "Calibrated probability" in html
    calibrated(sure_from=1.1)
    html = handlers.show(path)
    assert 'class="answer unsure"' in html and "<h2>Unsure: " in html and "is sure" in html
    calibrated(novelty_limit=-1.0)
    html = handlers.show(path)
    assert 'class="answer none"' in html and "Not a head MRI: no answer" in html
    assert not re.search("%|<img|<table", html + handlers.open_file(path)[0])
    (row,) = handlers.predict([path])
    assert (row["label"], row["probabilities"], row["not_mri"]) == (None, {}, True)


def test_bad_files_get_a_sentence(handlers, tmp_path):
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "empty.png").touch()
    save(tmp_path / "short.png")
    truncate(tmp_path / "short.png")
    claim_size(tmp_path / "huge.png", 20_000, 20_000)
    said = {"text.png": "not an image", "empty.png": "empty file", "short.png": "cannot be"}
    for name, why in (said | {"huge.png": "too large", "gone.png": "no such file"}).items():
        html = handlers.show(str(tmp_path / name))
        assert "<h2>No answer</h2>" in html and f"{name}: " in html and why in html


def test_a_file_name_is_text_and_no_html(handlers, tmp_path):
    path = str(tmp_path / "<b>&.png")  # Windows has no such file: then it is missing, and named
    html = handlers.show(path) + handlers.table([path])
    assert html.count("&lt;b&gt;&amp;.png") == 2 and "<b>" not in html


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_60_megapixels_are_answered(handlers, tmp_path):
    image = picture(1).resize((7746, 7746), Image.Resampling.NEAREST)
    image.save(tmp_path / "large.png", compress_level=1)
    assert '<img class="heat"' in handlers.show(str(tmp_path / "large.png"))


def test_frames_of_dicom_and_nifti(handlers, tmp_path):
    file = str(dicom(tmp_path / "series.dcm", FRAMES))
    answers = handlers.first.predict(file)
    whole = handlers.first.series(answers)
    html, count, shown = handlers.open_file(file)
    assert count == 5 and f"<h2>{whole.label} <small>" in html and "5 frames" in html
    support = [answer.probabilities[whole.label] for answer in answers]
    assert shown == 1 + int(np.argmax(support))
    assert "series.dcm#2<" in handlers.show(file, 2)
    top = f"{max(answers[1].probabilities.values()):.1%}"
    assert top in handlers.show(file, 2) and top not in handlers.show(file, 3)
    assert "no frame 6" in handlers.show(file, 6)
    volume = str(nifti(tmp_path / "head.nii.gz", np.moveaxis(FRAMES, 0, 2)))
    assert handlers.open_file(volume)[1] == 5
    ct = str(dicom(tmp_path / "ct.dcm", FRAMES, Modality="CT"))
    assert handlers.open_file(ct)[1] == 1 and "Modality (0008,0060) is CT" in handlers.show(ct)
    everything = handlers.table([file, volume, ct]) + html + handlers.show(file, 2)
    assert NAME not in everything


def test_too_many_frames_are_refused(handlers, monkeypatch, tmp_path):
    monkeypatch.setattr(page_module, "MOST", 4)
    file = str(dicom(tmp_path / "series.dcm", FRAMES))
    assert (
        handlers.open_file(file)[1:] == (1, 1) and "over 4 answers" in handlers.open_file(file)[0]
    )
    path = save(tmp_path / "scan.png")
    answered = [row["label"] is not None for row in handlers.predict([path, file, path])]
    assert answered == [True, False, True]


def test_several_files_are_those_of_the_command(handlers, run, tmp_path, capsys):
    files = [save(tmp_path / "a.png"), str(dicom(tmp_path / "b.dcm", FRAMES))]
    (tmp_path / "c.png").write_text("not an image")
    files.append(str(tmp_path / "c.png"))
    html = handlers.table(files)
    (data,) = re.findall(r'download="answers.csv" href="data:text/csv;base64,([^"]+)"', html)
    rows = [*csv.reader(io.StringIO(base64.b64decode(data).decode()))]
    main(["predict", *files, "--model", str(run), "--csv"])
    expected = capsys.readouterr().out.replace(f"{tmp_path}/", "")
    assert rows == [*csv.reader(io.StringIO(expected))]
    assert html.count("<tr>") == len(rows) == 9  # head, a, 5 frames, their file, c
    assert len(handlers.predict(files, 2)) == 3 and "no frame 0" in str(handlers.predict(files, 0))
    assert "Give some files" in handlers.table(None) and handlers.predict(None) == []


def test_two_at_once_get_their_own_answers(handlers, tmp_path):
    paths = [save(tmp_path / f"{k}.png", picture(k)) for k in range(4)]
    alone = [handlers.show(path) for path in paths]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(handlers.show, paths * 2)) == alone * 2


def test_several_backends_stand_side_by_side(handlers, tmp_path):
    write_model(tmp_path, quick_weights(config := preset("smoke", seed=1)), config, "pt")
    pair, path = (handlers.first, load_classifier(tmp_path)), save(tmp_path / "scan.png")
    html = Handlers(dict(zip(("onnx", "pt"), pair))).show(path)
    assert "<th>ONNX</th><th>PyTorch</th>" in html
    first, second = (each.predict(path).probabilities for each in pair)
    expected = [(f"{first[name]:.1%}", f"{second[name]:.1%}") for name in CLASS_NAMES]
    assert re.findall(r"<td>([\d.]+%)</td><td>([\d.]+%)</td>", html) == expected
    assert len({*zip(*expected)}) == 2  # else one's answers could be the other's


def test_a_model_without_heat_maps_answers_all_the_same(handlers, monkeypatch, tmp_path):
    compute = handlers.first._backend.run

    def without_maps(images, *, features=False, maps=False):
        if maps:
            raise InputError("The head of this model has a hidden layer.")
        return compute(images, features=features)

    monkeypatch.setattr(handlers.first._backend, "run", without_maps)
    html = handlers.show(save(tmp_path / "scan.png"))
    assert "<table>" in html and "<img" not in html


def test_examples_are_drawn_or_the_users_own(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("src.serving.examples.find_own_images", lambda _: None)
        drawn = make_examples(tmp_path / "drawn")
    assert [caption for _, caption in drawn] == [*(f"{k} (drawn)" for k in CLASS_NAMES), "no MRI"]
    own = write_flat(tmp_path / "set", 2, ("yes", "no"))
    copied = make_examples(tmp_path / "own", own)
    assert [caption for _, caption in copied] == ["no", "yes", "no MRI"]
    for path, _ in [*drawn, *copied]:
        with Image.open(path) as image:
            image.load()


@pytest.mark.parametrize("version", [None, "5.49.1"])
def test_without_gradio_6_the_command_says_what_to_install(run, monkeypatch, capsys, version):
    def installed(name, found=importlib.metadata.version):
        if name == "gradio" and not version:
            raise importlib.metadata.PackageNotFoundError(name)
        return version if name == "gradio" else found(name)

    monkeypatch.setattr(importlib.metadata, "version", installed)
    assert main(["app", "--model", str(run)]) == 2
    asked = "The page needs gradio 6 or newer. Run python -m pip install -r"
    assert asked in capsys.readouterr().err


def test_without_a_model_the_command_says_so(tmp_path, capsys):
    assert main(["app", "--model", str(tmp_path)]) == 2
    assert "No saved model in" in capsys.readouterr().err


def test_the_files_of_a_dicom_series_have_one_answer_more(handlers, tmp_path):
    here = {"SeriesInstanceUID": "1.2.3", "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    tags = [here | {"ImagePositionPatient": [0, 0, z]} for z in range(3)]
    files = [str(dicom(tmp_path / f"{z}.dcm", FRAMES[z : z + 1], **tags[z])) for z in (2, 0, 1)]
    rows = handlers.predict([*files, save(tmp_path / "scan.png")])
    names = ["0.dcm", "1.dcm", "2.dcm", "0.dcm to 2.dcm", "scan.png"]
    assert [row["name"] for row in rows] == names
    assert rows[3]["label"] and rows[3]["probabilities"]


def test_two_files_of_one_name_are_two_series(handlers, tmp_path):
    files = []
    for folder, frames in (("a", FRAMES[:2]), ("b", FRAMES[2:])):
        (tmp_path / folder).mkdir()
        files.append(str(dicom(tmp_path / folder / "scan.dcm", frames)))
    names = [row["name"] for row in handlers.predict(files)]
    assert names == ["scan.dcm#1", "scan.dcm#2", "scan.dcm", *names[3:]]
    assert names[3:] == ["scan.dcm#1", "scan.dcm#2", "scan.dcm#3", "scan.dcm"]


@pytest.mark.parametrize("frame", ["x", 1.7, float("nan"), [2]])
def test_a_frame_that_is_no_whole_number_gets_a_sentence(handlers, tmp_path, frame):
    files = [save(tmp_path / "scan.png"), str(dicom(tmp_path / "series.dcm", FRAMES))]
    rows = handlers.predict(files, frame)
    assert [(row["name"], row["label"]) for row in rows] == [
        ("scan.png", None),
        ("series.dcm", None),
    ]
    assert all("frame must be a whole number from 1" in row["why"] for row in rows)
    assert "frame must be a whole number from 1" in handlers.show(files[1], frame)
    assert handlers.predict(files, 2.0) == handlers.predict(files, 2)
