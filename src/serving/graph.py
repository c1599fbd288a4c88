"""Xception as an ONNX graph, made from the block table and a saved model's weights.

Nothing but `onnx` is needed: no TensorFlow, no PyTorch. The rules are Keras's, as the exact twins
follow them. An inference BatchNorm is a factor and an addend for each channel: both are folded into
the convolution before it.
"""

import json
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from src.common.errors import InputError
from src.config import ExperimentConfig
from src.data.augment import scale
from src.serving.calibration import Calibration
from src.serving.graph_heat_map import heat_map
from src.xception.blocks import (
    BACKBONE_LAYERS,
    FEATURES,
    STRIDED,
    Layer,
    block_sides,
    head_layers,
    tensors,
)

INPUT = "images"
PROBABILITIES, FEATURE_OUTPUT, HEAT_MAP, NOVELTY = (
    "probabilities",
    "features",
    "heat_map",
    "novelty",
)
OPSET, IR_VERSION = 17, 8  # old enough for browsers and for what is installed on servers


def build_graph(
    weights: Mapping[str, np.ndarray],
    config: ExperimentConfig,
    calibration: Calibration | None = None,
    *,
    with_heat_map: bool = True,
) -> onnx.ModelProto:
    """Return the network as an ONNX model that computes in float32.

    Input, of any number N of images, at the side S that the config tests at:
        images: (N, S, S) uint8, gray; see `src.data.pixels` for how they are made.
    Outputs, float32:
        probabilities: (N, K), in the order of `config.classes`; with `flip_average` the mean over
            the image and its mirror image; with a calibration calibrated.
        features: (N, 2048), pooled, of the image itself.
        heat_map: (N, S, S), what speaks for the likeliest class, as `joint_maps` of
            `src.evaluation.localisation` gives it. Not there if the head has a hidden layer.
        novelty: (N,), with a calibration: above `novelty_limit` the image is unlike those of
            training (`src.serving.calibration.novelty`).

    Args:
        weights: arrays by Keras's names, as `read_model` returns them.
        config: the saved model's.
        calibration: the saved model's; its limits become metadata of the ONNX model.
        with_heat_map: it takes longer than all the rest, in programs that take every output.
    Raises:
        InputError: the model computes with restored framework defaults.
    Source: Chollet 2017, arXiv:1610.02357.
    """
    if config.restore_defaults:
        raise InputError(
            "The model computes with restored framework defaults "
            f"({', '.join(config.restore_defaults)}), which the ONNX graph does not know. Use the "
            "framework that trained it: --framework tf or pt."
        )
    graph = _Graph(weights, config)
    last_map = graph.backbone(graph.images())  # (N, 2048, s, s)
    features = graph.add("ReduceMean", [last_map], axes=[2, 3], keepdims=0)  # (N, 2048)
    *hidden, last = head_layers(config.hidden_units, len(config.classes))
    answer = features
    for layer in hidden:
        answer = graph.add("Relu", [graph.dense(answer, layer)])
    probabilities = graph.add("Softmax", [graph.dense(answer, last)], axis=1)  # (N, K)
    if config.flip_average:
        halves = graph.add("Reshape", [probabilities, graph.constant([2, -1, last.outputs])])
        probabilities = graph.add("ReduceMean", [halves], axes=[0], keepdims=0)
        features, _ = graph.halves(features)
    if calibration:
        probabilities = graph.tempered(probabilities, calibration.temperature)
        novelty = graph.novelty(features, calibration)
        graph.output(novelty, NOVELTY)
    graph.output(probabilities, PROBABILITIES, last.outputs)
    graph.output(features, FEATURE_OUTPUT, FEATURES)
    if with_heat_map and not hidden:
        chosen = graph.add("ArgMax", [probabilities], axis=1, keepdims=0)  # (N,)
        kernel, _ = graph.tensors(last)
        side = config.eval_size
        graph.output(heat_map(graph, graph.seen, kernel, chosen), HEAT_MAP, side, side)
    return graph.model(calibration.limits() if calibration else {})


class _Graph:
    """Nodes and constants in the order in which they are added. A value is known by its name."""

    def __init__(self, weights: Mapping[str, np.ndarray], config: ExperimentConfig):
        self.weights, self.config = weights, config
        self.sides = block_sides(config.eval_size)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.kernels: dict[str, list[str]] = {}  # of each convolution, with its BatchNorm's factor
        # What each convolution and pool was given, and what each block gave: for the heat map.
        self.seen: dict[str, str] = {}

    def add(self, operation: str, inputs: list[str], **attributes) -> str:
        """Add a node; return the name of its output."""
        name = f"{operation.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, inputs, [name], name, **attributes))
        return name

    def constant(self, value) -> str:
        """Add numbers, as float32 or int64; return their name."""
        array = np.asarray(value)
        array = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def images(self) -> str:
        """(N, S, S) uint8 -> (N, 1, S, S) in [-1, 1]; with `flip_average` (2 N, 1, S, S)."""
        images = INPUT
        if self.config.flip_average:  # the mirror images are the second half
            images = self.add("Concat", [images, self.mirrored(images)], axis=0)
        levels = self.constant(scale(np.arange(256, dtype=np.uint8)))
        scaled = self.add("Gather", [levels, self.add("Cast", [images], to=TensorProto.INT32)])
        return self.add("Unsqueeze", [scaled, self.constant([1])])

    def backbone(self, x: str) -> str:
        """(N, 1, S, S) -> (N, 2048, s, s): blocks 1 to 14."""
        pairs = list(zip(BACKBONE_LAYERS[::2], BACKBONE_LAYERS[1::2]))  # convolution, BatchNorm
        before = 0  # the side of what the block is given
        for block, side in self.sides.items():
            start, ends = x, block in ("block1", "block14")
            for layer, batch_norm in (pair for pair in pairs if pair[0].block == block):
                if layer.kind == "conv" and not ends:
                    start = self.convolution(start, layer, batch_norm)  # the shortcut comes last
                    continue
                # ReLU stands after the convolutions of block1 and block14, and before all others
                # but block2's first, whose input has passed one.
                if not ends and layer.name != "block2_sepconv1":
                    x = self.add("Relu", [x])
                self.seen[layer.name] = x
                x = self.convolution(x, layer, batch_norm)
                if ends:
                    x = self.add("Relu", [x])
            if block in STRIDED:
                self.seen[f"{block}_pool"] = x
                x = self.max_pool(x, before % 2)
            if not ends:
                x = self.add("Add", [x, start])
            self.seen[block] = x
            before = side
        return x

    def max_pool(self, x: str, odd: int) -> str:
        """3 x 3, of stride 2, with Keras's `same` padding.

        An odd side is padded by one pixel at each end, an even one at its end only.
        """
        pads = [odd, odd, 1, 1]
        return self.add("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=pads)

    def max_pool_places(self, x: str, odd: int) -> str:
        """Return where `max_pool` finds its maxima: int64, into the flat `x`."""
        self.max_pool(x, odd)
        places = f"{self.nodes[-1].name}_places"
        self.nodes[-1].output.append(places)
        return places

    def convolution(self, x: str, layer: Layer, batch_norm: Layer) -> str:
        """Convolve as `layer` does, and normalise as `batch_norm` does in inference."""
        gamma, beta, mean, variance = (each.astype(np.float64) for each in self.tensors(batch_norm))
        factor = gamma / np.sqrt(variance + self.config.bn_epsilon)
        *depthwise, kernel = self.tensors(layer)  # (out, in, h, w)
        kernel = kernel.astype(np.float64) * factor[:, None, None, None]
        if layer.name == "block1_conv1":
            kernel = kernel.sum(axis=1, keepdims=True)  # its three input channels are equal
        self.kernels[layer.name] = [*map(self.constant, (*depthwise, kernel))]
        *depthwise, kernel = self.kernels[layer.name]
        for each in depthwise:
            pads = [layer.kernel // 2] * 4
            x = self.add("Conv", [x, each], group=layer.inputs, pads=pads)
        strided = layer.name == "block1_conv1" or "residual" in layer.name
        inputs = [x, kernel, self.constant(beta - mean * factor)]
        return self.add("Conv", inputs, strides=[2, 2] if strided else [1, 1])

    def dense(self, x: str, layer: Layer) -> str:
        """(N, inputs) -> (N, outputs)."""
        kernel, bias = self.tensors(layer)  # (out, in), (out,)
        return self.add("Gemm", [x, self.constant(kernel), self.constant(bias)], transB=1)

    def tempered(self, probabilities: str, temperature: float) -> str:
        """(N, K) -> (N, K), as `src.evaluation.temperature.tempered`."""
        floor = self.constant(np.finfo(np.float32).tiny)
        logits = self.add("Log", [self.add("Max", [probabilities, floor])])
        return self.add("Softmax", [self.add("Div", [logits, self.constant(temperature)])], axis=1)

    def novelty(self, features: str, calibration: Calibration) -> str:
        """(N, 2048) -> (N,), as `src.serving.calibration.novelty`."""
        centred = self.add("Sub", [features, self.constant(calibration.mean)])
        known = self.add("MatMul", [centred, self.constant(calibration.components.T)])
        sums = [
            self.add("ReduceSumSquare", [each], axes=[1], keepdims=0)
            for each in (centred, known, features)
        ]
        left = self.add("Relu", [self.add("Sub", sums[:2])])
        return self.add("Div", [left, self.add("Max", [sums[2], self.constant(1e-30)])])

    def halves(self, x: str) -> tuple[str, str]:
        """(2 N, ...) -> (N, ...) twice: what belongs to the images, and to their mirror images."""
        both = f"{x}_images", f"{x}_mirrored"
        self.nodes.append(helper.make_node("Split", [x], [*both], axis=0))
        return both

    def mirrored(self, x: str) -> str:
        """(N, S, S) -> (N, S, S), flipped left to right."""
        begin, end, axis, step = (self.constant([each]) for each in (-1, -(2**31), 2, -1))
        return self.add("Slice", [x, begin, end, axis, step])

    def tensors(self, layer: Layer) -> list[np.ndarray]:
        """Return the arrays of `layer`, with their axes as ONNX and PyTorch order them."""
        return [tensor.to_torch(self.weights[tensor.name]) for tensor in tensors((layer,))]

    def output(self, value: str, name: str, *shape: int) -> None:
        """Give `value`, of (N, *shape), out as `name`."""
        self.nodes.append(helper.make_node("Identity", [value], [name], name))
        info = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])
        self.outputs.append(info)

    def model(self, limits: Mapping) -> onnx.ModelProto:
        """Return the whole, with `limits` among its metadata."""
        side = self.config.eval_size
        images = helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["N", side, side])
        graph = helper.make_graph(self.nodes, "xception", [images], self.outputs, self.constants)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
        helper.set_model_props(
            model,
            {
                "class_names": json.dumps(self.config.classes),
                **({"calibration": json.dumps(limits)} if limits else {}),
                "note": "Not a medical device: for research and teaching only.",
            },
        )
        return model
