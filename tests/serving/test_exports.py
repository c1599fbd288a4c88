"""Exported networks answer as the twin does; what does not is neither kept nor passed later."""

import ast
import dataclasses
import importlib.util
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from image_folders import picture, write_set
from made_weights import quick_weights
from onnx import numpy_helper

import src.serving.export
import src.serving.graph
from src.__main__ import main
from src.config import FRAMEWORKS, preset
from src.data.dataset import open_dataset
from src.serving.backends import cpu_session
from src.serving.classifier import load_classifier
from src.serving.export import TOLERANCES, check_export, export_graph, record_path, to_int8
from src.serving.graph import build_graph
from src.training.checkpoint import write_model

CONFIG = preset("smoke", flip_average=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    write_model(folder, quick_weights(), CONFIG, "pt")
    return folder


def export(run, to, file, *options) -> int:
    return main(["export", "--to", to, "--model", str(run), "--out", str(file), *options])


FORMATS = [
    ("onnx", "m.onnx", (), "pt"),
    ("onnx", "m.onnx", ("--precision", "float16"), "pt"),
    pytest.param("saved_model", "m", (), "tf", marks=pytest.mark.slow),
    pytest.param("torch_export", "m.pt2", (), "pt", marks=pytest.mark.slow),
    pytest.param("onnx", "m.onnx", ("--from", "tf"), "tf", marks=pytest.mark.slow),
    pytest.param("onnx", "m.onnx", ("--from", "pt"), "pt", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("to, name, options, twin", FORMATS)
def test_printed_lines_and_check_agree_with_the_twin(
    to, name, options, twin, run, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)  # where the lines look for scan.png
    picture(5, size=120).save("scan.png")
    assert export(run, to, name, *options) == 0
    lines = capsys.readouterr().out
    assert "src" not in lines
    exec(lines, {})
    answer = ast.literal_eval(capsys.readouterr().out.splitlines()[-1])
    expected = load_classifier(run, twin).predict("scan.png").probabilities
    assert list(answer) == list(expected) and np.ptp([*expected.values()]) > 0.05
    tolerance = TOLERANCES["float16" if "float16" in options else "float32"]
    np.testing.assert_allclose([*answer.values()], [*expected.values()], atol=tolerance)
    assert main(["export", "--check", name]) == 0
    said = capsys.readouterr().out
    assert "as exported" in said and ("on 4 phantom images" in said) == (to != "torch_export")
    if to == "onnx":
        check_graph(Path(name), dict(zip(options[::2], options[1::2])))


def check_graph(file, options):
    """Check that an ONNX graph and its record are what the options asked for."""
    made_by, precision = options.get("--from"), options.get("--precision", "float32")
    record, graph = json.loads(record_path(file).read_text()), onnx.load(file).graph
    assert record["made_by"] == FRAMEWORKS.get(made_by, "src.serving.graph")
    assert record["precision"] == precision
    types = {each.data_type for each in graph.initializer}
    assert (onnx.TensorProto.FLOAT16 in types) == (precision == "float16")
    # Only the graph from the block table has a map.
    assert ("heat_map" in [each.name for each in graph.output]) == (made_by is None)


def test_what_differs_from_the_twin_is_not_kept(run, tmp_path, monkeypatch, capsys):
    def faulty(weights, config, *_, **__):
        return build_graph(weights, dataclasses.replace(config, bn_epsilon=1.1e-3))

    monkeypatch.setattr(src.serving.graph, "build_graph", faulty)
    assert export(run, "onnx", tmp_path / "m.onnx") == 2
    assert "was not written: on a phantom image" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_check_refuses_what_was_changed(run, tmp_path):
    file = tmp_path / "m.onnx"
    export_graph(run, file, "onnx")
    record = json.loads(record_path(file).read_text())
    assert record["model"]["class_names"] == list(CONFIG.classes)
    record["check"]["probabilities"][2][0] += 1e-3
    record_path(file).write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"fails here: .* off by 1\.0e-03"):
        check_export(file)
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(ValueError, match="SHA-256 is another"):
        check_export(file)
    record_path(file).write_text("{}")
    with pytest.raises(ValueError, match="not an export's record"):
        check_export(file)
    record_path(file).unlink()
    with pytest.raises(ValueError, match=r"No such file: .*m\.onnx\.json"):
        check_export(file)


@pytest.mark.parametrize(
    "to, name, options, sentence",
    [
        ("onnx", "m.pt", (), "must name a .onnx file"),
        ("saved_model", "m", ("--from", "tf"), "are of --to onnx"),
        ("torch_export", "m.pt2", ("--precision", "int8"), "are of --to onnx"),
        ("keras", "m.keras", ("--precision", "int8"), "are of --to onnx"),
        ("timm", "m.safetensors", ("--from", "pt"), "are of --to onnx"),
        ("onnx", "m.onnx", ("--from", "pt", "--precision", "float16"), "leave --precision"),
        ("onnx", "m.onnx", ("--from", "tf"), "python -m pip install tf2onnx"),
    ],
)
def test_what_does_not_go_gets_a_sentence(
    to, name, options, sentence, run, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert export(run, to, tmp_path / name, *options) == 2
    assert sentence in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_int8_is_calibrated_and_scored_on_validation_images(run, tmp_path, monkeypatch, capsys):
    given = []
    monkeypatch.setattr(src.serving.export, "to_int8", lambda g, images: given.append(images) or g)
    monkeypatch.setattr(src.serving.export, "MAX_ACCURACY_LOSS", -0.001)  # no loss is too much
    data, out = write_set(tmp_path / "data"), tmp_path / "out" / "m.onnx"
    assert export(run, "onnx", out, "--precision", "int8", "--data", str(data)) == 2
    assert "int8 loses too much" in capsys.readouterr().err and not list(out.parent.iterdir())
    dataset = open_dataset(CONFIG, data)
    known = {image.tobytes() for image in dataset.test_pixels[dataset.parts["val"]]}
    calibrated = {image.tobytes() for image in given[0]}
    assert calibrated < known


@pytest.mark.slow
def test_int8_has_a_scale_for_each_channel():
    graph = build_graph(quick_weights(), preset("smoke"), with_heat_map=False)
    images = np.stack([np.asarray(picture(number, size=71)) for number in range(4)])
    expected, _ = cpu_session(graph.SerializeToString()).run(None, {"images": images})
    small = to_int8(graph, images)
    content = small.SerializeToString()
    assert len(content) < 25e6
    arrays = {each.name: numpy_helper.to_array(each) for each in small.graph.initializer}
    depthwise = [
        node.input[1]
        for node in small.graph.node
        for attribute in node.attribute
        if attribute.name == "group" and attribute.i > 1
    ]
    scales = [arrays[name.replace("_DequantizeLinear_Output", "_scale")] for name in depthwise]
    assert len(scales) == 34 and all(len(np.unique(scale)) > 60 for scale in scales)
    found, _ = cpu_session(content).run(None, {"images": images})
    np.testing.assert_allclose(found, expected, atol=0.2)
