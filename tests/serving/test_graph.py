"""The ONNX graph computes what both twins compute."""

import dataclasses
from functools import cache

import numpy as np
import onnx
import onnxruntime
import pytest
from image_folders import picture
from made_weights import made_weights, quick_weights

from src.common.errors import InputError
from src.comparison.agreement import relative_distance
from src.config import preset
from src.data.augment import as_input
from src.data.dataset import open_dataset
from src.evaluation.localisation import visible
from src.serving import graph_heat_map
from src.serving.backends import BATCH, OnnxBackend
from src.serving.classifier import load_classifier
from src.serving.graph import _Graph, build_graph
from src.training.checkpoint import write_model

# One forward pass in float32, summed in another order.
TOLERANCE = 1e-5
# Of maps, relative; measured: 0.006, and up to 0.009 between the twins.
MAP_TOLERANCE = 0.01
SMOKE = preset("smoke")


def run(weights, config, images: np.ndarray) -> dict[str, np.ndarray]:
    """Return every output of the graph."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    graph = build_graph(weights, config).SerializeToString()
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"images": images})))


def phantoms(size: int) -> np.ndarray:
    """Return (8, S, S) uint8: two of each class."""
    dataset = open_dataset(preset("smoke", image_size=size))
    return dataset.pixels[dataset.parts["test"][::10]]


@pytest.mark.slow
# At 71 px all pools have odd sides, at 96 px some have even ones.
@pytest.mark.parametrize("size, flip_average", [(71, True), (96, False)])
def test_it_agrees_with_both_twins(size, flip_average, tmp_path):
    config = preset("smoke", image_size=size, flip_average=flip_average)
    write_model(tmp_path, made_weights(), config, "pt")
    images = phantoms(size)
    assert len(images) == 8 < BATCH
    answers = {
        name: load_classifier(tmp_path, name).predict(images, heatmap=True)
        for name in ("onnx", "tf", "pt")
    }
    probs, maps = (
        {name: np.stack(list(map(of, some))) for name, some in answers.items()}
        for of in (lambda each: [*each.probabilities.values()], lambda each: each.heatmap)
    )
    assert np.ptp(probs["onnx"], axis=0).max() > 0.02  # else equal answers would prove nothing
    for twin in ("tf", "pt"):
        np.testing.assert_allclose(probs["onnx"], probs[twin], atol=TOLERANCE)
        # A ReLU's gate at 0, to rounding, may open on one side alone; so it does between the twins.
        assert relative_distance(maps["onnx"], maps[twin]) < MAP_TOLERANCE


@cache
def right(size: int) -> np.ndarray:
    """Return what a graph without a fault answers."""
    return run(quick_weights(), preset("smoke", image_size=size), pictures(size))["probabilities"]


def pictures(size: int) -> np.ndarray:
    return np.stack([np.asarray(picture(number, size=size)) for number in range(3)])


@pytest.mark.parametrize("fault", ["epsilon", "padding", "scale"])
def test_a_fault_shows(fault, monkeypatch):
    config, expected = preset("smoke", image_size=96), right(96)
    if fault == "epsilon":
        config = dataclasses.replace(config, bn_epsilon=1.1e-3)
    elif fault == "padding":  # timm's: one pixel on each side, though a side is even
        pool = _Graph.max_pool
        monkeypatch.setattr(_Graph, "max_pool", lambda graph, x, _: pool(graph, x, 1))
    else:
        monkeypatch.setattr("src.serving.graph.scale", lambda gray: gray / np.float32(255))
    found = run(quick_weights(), config, pictures(96))["probabilities"]
    assert np.abs(found - expected).max() > 10 * TOLERANCE


@pytest.mark.parametrize("fault", ["_through_relu", "_through_shortcut", "_through_pool"])
def test_a_fault_in_the_gradient_shows(fault, monkeypatch, noise):
    expected = run(quick_weights(), SMOKE, noise)["heat_map"]
    right = getattr(graph_heat_map, fault)
    faulty = {
        "_through_relu": lambda graph, gradient, positive: graph.add(
            "Add", [gradient, graph.add("Mul", [positive, graph.constant(0.0)])]
        ),
        "_through_shortcut": lambda graph, *rest: graph.add("Neg", [right(graph, *rest)]),
        "_through_pool": lambda graph, *rest: graph.add("Neg", [right(graph, *rest)]),
    }
    monkeypatch.setattr(graph_heat_map, fault, faulty[fault])
    found = run(quick_weights(), SMOKE, noise)["heat_map"]
    distance = relative_distance(visible(found), visible(expected))
    assert distance > 10 * MAP_TOLERANCE


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).integers(0, 256, (3, 71, 71), np.uint8)


_HALVES = (slice(0, 3), slice(3, 6))


def softmax(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def test_the_parts_add_up_and_mirror_images_are_averaged(noise):
    weights = quick_weights()
    pairs = run(weights, SMOKE, np.concatenate([noise, noise[..., ::-1]]))
    one, mirrored = ({name: each[k] for name, each in pairs.items()} for k in _HALVES)
    logits = one["features"] @ weights["head_logits/kernel"] + weights["head_logits/bias"]
    np.testing.assert_allclose(one["probabilities"], softmax(logits), atol=1e-6)
    assert one["heat_map"].shape == (3, 71, 71) and one["heat_map"].min() == 0
    both = run(weights, dataclasses.replace(SMOKE, flip_average=True), noise)
    mean = (one["probabilities"] + mirrored["probabilities"]) / 2
    assert np.abs(one["probabilities"] - mirrored["probabilities"]).max() > 1e-2
    np.testing.assert_allclose(both["probabilities"], mean, atol=1e-6)
    same = both["probabilities"].argmax(axis=1) == one["probabilities"].argmax(axis=1)
    np.testing.assert_allclose(both["features"][same], one["features"][same], atol=1e-5)
    assert same.any()
    turned = run(weights, dataclasses.replace(SMOKE, flip_average=True), noise[..., ::-1])
    maps, back = both["heat_map"], turned["heat_map"][..., ::-1]
    np.testing.assert_allclose(maps, back, atol=1e-6)
    assert np.abs(one["heat_map"] - maps).max() > 0.1  # the mirror image's counts, too


def test_what_computes_the_map_is_loaded_when_one_is_asked_for(noise, tmp_path):
    write_model(tmp_path, quick_weights(), SMOKE, "pt")
    backend = OnnxBackend(tmp_path)
    before = backend.run(noise)
    assert before.maps is None and len(backend._session.get_outputs()) == 2
    after = backend.run(noise, maps=True)
    assert after.maps.shape == (3, 71, 71) and len(backend._session.get_outputs()) == 3
    np.testing.assert_allclose(after.probabilities, before.probabilities, atol=1e-6)


def test_a_hidden_layer_leaves_no_maps(noise):
    config = dataclasses.replace(SMOKE, hidden_units=8, classes=("no", "yes"))
    weights = quick_weights(config)
    outputs = run(weights, config, noise)
    assert list(outputs) == ["probabilities", "features"]
    hidden = outputs["features"] @ weights["head_hidden/kernel"] + weights["head_hidden/bias"]
    logits = np.maximum(hidden, 0) @ weights["head_logits/kernel"] + weights["head_logits/bias"]
    np.testing.assert_allclose(outputs["probabilities"], softmax(logits), atol=1e-6)


def test_a_model_with_restored_defaults_is_refused_by_their_name():
    config = dataclasses.replace(SMOKE, restore_defaults=["pool_padding"])
    with pytest.raises(InputError, match=r"\(pool_padding\).*--framework"):
        build_graph({}, config)


def test_it_is_valid_and_scales_exactly_as_training_did():
    model = build_graph(quick_weights(), SMOKE)
    onnx.checker.check_model(model, full_check=True)
    levels = next(each for each in model.graph.initializer if list(each.dims) == [256])
    expected = as_input(np.arange(256, dtype=np.uint8)[:, None])[:, 0, 0]
    np.testing.assert_array_equal(np.frombuffer(levels.raw_data, np.float32), expected)
