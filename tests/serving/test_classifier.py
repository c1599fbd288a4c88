"""Images in, answers out: what may be given, what is refused, and that nothing heavy is loaded."""

import importlib.metadata
import itertools
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from image_folders import claim_size, picture, truncate
from made_weights import quick_weights
from packaging.requirements import Requirement
from PIL import Image

from src import load_classifier
from src.__main__ import main
from src.common.errors import InputError
from src.config import preset
from src.data.pixels import decode_gray
from src.serving.backends import BATCH, MAP_BATCH
from src.training.checkpoint import write_card, write_model

ROOT = Path(__file__).parents[2]


def save(folder, **fields):
    config = preset("smoke", test_size=73, **fields)  # px; predicted at another side than trained
    write_model(folder, quick_weights(config), config, "pt")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def classifier(model):
    return load_classifier(model)


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "scans"
    (folder / "deeper").mkdir(parents=True)
    picture(1).save(folder / "a.png")
    picture(2).convert("RGB").save(folder / "b.PNG")
    picture(3).save(folder / "deeper" / "c.png")
    (folder / ".hidden.png").write_text("not looked at")
    (folder / "notes.txt").write_text("no image")
    return folder


def probabilities(answers) -> np.ndarray:
    return np.array([[*answer.probabilities.values()] for answer in answers])


def test_every_way_to_give_an_image_gives_one_answer(classifier, scans):
    path, image = scans / "a.png", picture(1)
    array = np.asarray(image)
    every = [path, str(path), image, array, array[..., None], np.stack([array] * 3, axis=-1)]
    every += [array.astype(np.uint16) * 257, array.astype(np.int16), (array / 255).astype("f4")]
    answers = [classifier.predict(one) for one in every]
    assert [answer.name for answer in answers[:4]] == [str(path), str(path), "image 0", "image 0"]
    assert all(answer.label == answers[0].label for answer in answers)
    np.testing.assert_array_equal(probabilities(answers), probabilities(answers[:1] * len(every)))
    assert sum(answers[0].probabilities.values()) == pytest.approx(1, abs=1e-6)
    assert tuple(answers[0].probabilities) == classifier.classes


def test_many_images_give_a_list(classifier, scans):
    array = np.asarray(picture(1))
    assert [Path(each.name).name for each in classifier.predict(scans)] == [
        "a.png",
        "b.PNG",
        "c.png",
    ]
    names = [each.name for each in classifier.predict([scans / "a.png", picture(2), array])]
    assert names == [str(scans / "a.png"), "image 0", "image 1"]
    assert len(classifier.predict(np.stack([array] * 5))) == 5
    assert len(classifier.predict(np.zeros((3, 20, 30, 3), np.uint8))) == 3
    assert [each.name for each in classifier.predict([scans / "a.png"])] == [str(scans / "a.png")]
    assert classifier.predict([]) == []


@pytest.mark.parametrize(
    "given, sentence",
    [
        (np.zeros((3, 40, 40), np.uint8), r"channels\s+come first"),
        (np.zeros((4, 40, 40), np.uint8), "gray ones as a list"),
        (np.zeros(40, np.uint8), r"Received: \(40,\)"),
        (np.zeros((2, 3, 40, 40), np.uint8), "come first"),
        (np.zeros((0, 40), np.uint8), "with pixels"),
        (np.full((40, 40), -1), "Received: int64, -1 to -1"),
        (np.zeros((40, 40), bool), "Received: bool"),
        (np.full((40, 40), None), "Received: object"),
        (np.full((40, 40), "a"), "Received: <U1"),
        (np.full((40, 40), 200.0), "Received: 200 to 200"),
        (np.full((40, 40), -0.5), "Received: -0.5"),
        (np.full((40, 40), np.nan), "Received: nan"),
        ([np.full((40, 40), 70000, np.int32)], "Received: int32, 70000 to"),
        (7, "Received: int"),
        (b"bytes", "Received: bytes"),
    ],
)
def test_what_may_mean_several_things_is_refused(classifier, given, sentence):
    with pytest.raises(InputError, match=sentence):
        classifier.predict(given)


def write_bad_files(folder: Path) -> dict[str, str]:
    """Write one file of each bad kind; return what must be said of each."""
    (folder / "text.png").write_text("not an image")
    (folder / "empty.png").touch()
    picture(4).save(folder / "short.png")
    truncate(folder / "short.png")
    frames = [picture(number) for number in range(3)]
    frames[0].save(folder / "moving.webp", save_all=True, append_images=frames[1:], lossless=True)
    claim_size(folder / "huge.png", 20_000, 20_000)
    said = {
        "text": "not an image",
        "empty": "empty file",
        "short": "cannot be",
        "huge": "too large",
    }
    said |= {"moving": "holds 3 pictures"}
    try:
        (folder / "loop.png").symlink_to(folder / "loop.png")
        (folder / "circle").symlink_to(folder, target_is_directory=True)
        said["loop"] = "symbolic links"
    except OSError:  # Windows without the right to make links
        pass
    return said


def test_a_bad_file_gets_a_sentence_and_stops_no_other(classifier, scans):
    said = write_bad_files(scans)
    gray = np.asarray(picture(5)).astype(np.uint16)
    Image.fromarray(gray * 257).save(scans / "sixteen.png")
    answers = {Path(each.name).stem: each for each in classifier.predict(scans)}
    assert set(answers) == {"a", "b", "c", "sixteen", *said}
    for name, answer in answers.items():
        assert (answer.label is None) == (name in said) == (not answer.probabilities), name
        assert said.get(name, "") in (answer.why or ""), name
    assert answers["sixteen"].probabilities == classifier.predict(picture(5)).probabilities


def test_folders_that_hold_nothing_or_cannot_be_read_get_a_sentence(
    classifier, scans, tmp_path, monkeypatch
):
    (tmp_path / "none").mkdir()
    (closed := scans / "closed").mkdir()
    scandir = os.scandir

    def deny(path):
        if Path(path) == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", deny)
    answers = classifier.predict([tmp_path / "none", tmp_path / "nowhere.png", scans])
    errors = [answer.why for answer in answers]
    assert "no images" in errors[0] and "no such file" in errors[1]
    assert errors[2:5] == [None] * 3 and "Permission denied" in errors[5]


def test_a_stream_reads_no_further_than_it_must(classifier):
    given = []

    def endless():
        while True:
            given.append(picture(len(given)))
            yield given[-1]

    answers = classifier.stream(endless())
    assert next(answers).label in classifier.classes
    assert len(given) == BATCH


def test_eight_threads_get_what_one_gets(classifier):
    images = [np.asarray(picture(number)) for number in range(8)]
    alone = [classifier.predict(image).probabilities for image in images]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda image: classifier.predict(image).probabilities, images * 4))
    assert together == alone * 4


def test_calls_share_a_model_until_its_files_change(tmp_path):
    first = load_classifier(save(tmp_path))
    assert load_classifier(str(tmp_path)) is first
    picture_1 = first.predict(picture(1))
    other = load_classifier(save(tmp_path, seed=1))
    assert other is not first and other.predict(picture(1)) != picture_1


def test_a_heat_map_is_the_share_of_its_maximum(classifier, scans, tmp_path):
    answer = classifier.predict(scans / "a.png", heatmap=True)
    assert answer.heatmap.shape == (73, 73) and answer.heatmap.dtype == np.float32
    assert answer.heatmap.min() >= 0 and answer.heatmap.max() in (0, 1)
    np.testing.assert_array_equal(answer.pixels, decode_gray(scans / "a.png", 73))
    assert classifier.predict(scans / "a.png").heatmap is None
    hidden = load_classifier(save(tmp_path / "hidden", hidden_units=8))
    assert hidden.predict(picture(1)).label
    with pytest.raises(InputError, match=r"hidden layer.*--framework"):
        hidden.predict(picture(1), heatmap=True)


def test_each_of_many_gets_its_own_heat_map(classifier):
    images = [picture(number) for number in range(MAP_BATCH + 2)]
    together = [answer.heatmap for answer in classifier.predict(images, heatmap=True)]
    alone = [classifier.predict(image, heatmap=True).heatmap for image in images]
    np.testing.assert_allclose(together, alone, atol=1e-3)
    assert all(heat.max() == 1 for heat in together)
    for one, other in itertools.combinations(alone, 2):
        assert np.abs(one - other).max() > 0.1


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)


def test_a_model_that_was_changed_or_is_missing_gets_a_sentence(tmp_path):
    with pytest.raises(InputError, match="No saved model in"):
        load_classifier(tmp_path / "nowhere")
    flip_a_byte(save(tmp_path) / "model.safetensors")
    with pytest.raises(InputError, match="is not the file that was saved"):
        load_classifier(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match="lacks its weights"):
        load_classifier(tmp_path)
    with pytest.raises(InputError, match="Unknown backend 'jax'"):
        load_classifier(tmp_path, "jax")


def test_weights_of_other_classes_are_refused(tmp_path):
    save(tmp_path)
    card = json.loads((tmp_path / "model.json").read_text())
    card["class_names"] = card["config"]["classes"] = ["no", "yes"]
    write_card(tmp_path, card)
    with pytest.raises(InputError, match=r"head_logits/kernel has the shape \(2048, 4\)"):
        load_classifier(tmp_path)


def test_what_predicts_takes_less_than_200_mb():
    """By the sizes of the installed files, without pip's and what Python compiles."""
    text = (ROOT / "src/serving/requirements/predict.txt").read_text()
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    wanted = [Requirement(line) for line in lines if line]
    sizes = {}
    while wanted:
        one = wanted.pop()
        if one.name in sizes or (one.marker and not one.marker.evaluate({"extra": ""})):
            continue
        distribution = importlib.metadata.distribution(one.name)
        files = [Path(each.locate()) for each in distribution.files if each.suffix != ".pyc"]
        sizes[one.name] = sum(file.stat().st_size for file in files)
        wanted += map(Requirement, distribution.requires or ())
    assert 100e6 < sum(sizes.values()) < 200e6, sizes


HEAVY = [
    "tensorflow",
    "keras",
    "torch",
    "timm",
    "h5py",
    "scipy",
    "sklearn",
    "matplotlib",
    "pandas",
    "psutil",
]
PROBE = """
import sys
from src.__main__ import main
code = main(sys.argv[2:])
print(code, *sorted(set(sys.argv[1].split()) & set(sys.modules)), file=sys.stderr)
"""


def start(heavy, *arguments, **environment):
    """Predict in a new process; return exit code, what it loaded of `heavy`, and its answer."""
    command = [sys.executable, "-c", PROBE, " ".join(heavy), "predict", *map(str, arguments)]
    env = os.environ | environment
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    code, *loaded = result.stderr.splitlines()[-1].split()
    return int(code), loaded, result.stdout


@pytest.mark.slow
def test_a_start_loads_nothing_heavy_and_believes_no_changed_file(model, scans, tmp_path):
    path, cache = scans / "a.png", {"BRAIN_TUMOR_CACHE": str(tmp_path / "cache")}
    code, loaded, answer = start([*HEAVY, "onnx"], path, "--model", model, **cache)
    assert (code, loaded) == (0, ["onnx"])  # which makes the graph
    (kept,) = (tmp_path / "cache" / "onnx").iterdir()
    again = start([*HEAVY, "onnx", "tqdm"], path, "--model", model, **cache)
    assert again == (0, [], answer)
    flip_a_byte(kept / "weights.bin")
    assert start(["onnx"], path, "--model", model, **cache) == (0, ["onnx"], answer)
    assert start(["onnx"], path, "--model", model, **cache) == (0, [], answer)
    (tmp_path / "file").write_text("no folder")  # a cache that cannot be written
    nowhere = {"BRAIN_TUMOR_CACHE": str(tmp_path / "file")}
    assert start(["onnx"], path, "--model", model, **nowhere) == (0, ["onnx"], answer)


def test_the_command_answers_in_every_form(model, classifier, scans, capsys):
    write_bad_files(scans)
    good, everything = [str(scans / "a.png"), str(scans / "deeper")], [str(scans)]
    assert main(["predict", *good, "--model", str(model)]) == 0
    printed = capsys.readouterr()
    assert [line.split()[0] for line in printed.out.splitlines()[1:]] == [
        str(scans / "a.png"),
        str(scans / "deeper" / "c.png"),
    ]
    for text in (str(model), "ONNX Runtime", "not recorded", "Not a medical device"):
        assert text in printed.err
    assert main(["predict", *everything, "--model", str(model), "--json"]) == 3
    rows = json.loads(capsys.readouterr().out)
    first = classifier.predict(scans / "a.png")
    assert rows[0] == {
        "name": first.name,
        "label": first.label,
        "probabilities": first.probabilities,
        "unsure": False,
        "not_mri": False,
        "why": None,
    }
    assert sum(row["label"] is None for row in rows) == sum(bool(row["why"]) for row in rows) > 4
    assert main(["predict", *everything, "--model", str(model), "--csv"]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"name,label,{','.join(classifier.classes)},unsure,not_mri,why"
    assert len(lines) == len(rows) + 1
    assert main(["predict", str(scans / "nowhere.png"), "--model", str(model)]) == 2
    (scans / "none").mkdir()
    assert main(["predict", str(scans / "none"), "--model", str(model)]) == 2
    assert "no images in this folder" in capsys.readouterr().err


def test_a_text_file_alone_gives_no_table(model, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("not an image")
    assert main(["predict", str(tmp_path / "notes.txt"), "--model", str(model)]) == 3
    out, err = capsys.readouterr()
    assert out == "" and "notes.txt: not an image in a format that can be read\n" in err


def test_heat_maps_keep_equal_names_apart_and_overwrite_no_image(model, scans, capsys):
    picture(9).save(scans / "deeper" / "a.png")
    before = (scans / "a.png").read_bytes()
    arguments = [str(scans), "--model", str(model), "--json", "--heatmap", str(scans)]
    assert main(["predict", *arguments]) == 0
    rows = json.loads(capsys.readouterr().out)
    drawn = {Path(row["name"]).name: Path(row["heatmap"]) for row in rows}
    assert len({row["heatmap"] for row in rows}) == len(rows) == 4
    assert (scans / "a.png").read_bytes() == before
    assert {path.name for path in drawn.values()} <= {"a-2.png", "a-3.png", "b-2.png", "c.png"}
    with Image.open(drawn["c.png"]) as overlay:
        assert (overlay.mode, overlay.size) == ("RGB", (512, 512))


def test_a_heat_map_overwrites_only_heat_maps(model, scans, capsys):
    before = (scans / "a.png").read_bytes()  # the user's, and not asked about
    picture(1).save(scans / "a.jpg")
    asked = [str(scans / "a.jpg"), str(scans / "deeper" / "c.png")]
    arguments = [*asked, "--model", str(model), "--json", "--heatmap", str(scans)]
    for _ in range(2):  # a second run overwrites the maps of the first
        assert main(["predict", *arguments]) == 0
        rows = json.loads(capsys.readouterr().out)
        assert [Path(row["heatmap"]).name for row in rows] == ["a-2.png", "c.png"]
        assert (scans / "a.png").read_bytes() == before


def test_a_folder_of_heat_maps_in_the_folder_that_is_read_adds_no_answer(model, tmp_path, capsys):
    for number in range(MAP_BATCH + 1):  # the last is read after the first maps are written
        picture(number).save(tmp_path / f"{number}.png")
    (maps := tmp_path / "z").mkdir()
    picture(99).save(maps / "own.png")  # the user's
    asked = [str(tmp_path), "--model", str(model), "--json"]
    for heatmap in (["--heatmap", str(maps)], ["--heatmap", str(tmp_path / "zz")], []):
        assert main(["predict", *asked, *heatmap]) == 0
        assert len(json.loads(capsys.readouterr().out)) == MAP_BATCH + 2


def test_a_gif_in_a_folder_is_read(model, tmp_path, capsys):
    picture(1).save(tmp_path / "one.GIF")
    picture(1).save(tmp_path / "two.gif", save_all=True, append_images=[picture(2)])
    asked = [str(tmp_path), "--model", str(model), "--json", "--heatmap", str(tmp_path / "maps")]
    assert main(["predict", *asked]) == 3
    one, two = json.loads(capsys.readouterr().out)
    assert one["label"] and Path(one["heatmap"]).name == "one.png"
    assert "holds 2 pictures" in two["why"]


def test_csv_keeps_the_bytes_of_a_name_that_is_no_text(model, tmp_path, capfdbinary):
    name = os.fsdecode(b"\xe9.png")
    try:
        picture(1).save(tmp_path / name)
    except OSError:
        pytest.skip("this file system takes text only")
    assert main(["predict", str(tmp_path / name), "--model", str(model), "--csv"]) == 0
    assert b"/\xe9.png," in capfdbinary.readouterr().out
